import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.cards.metadata import citation, entry, text
from tests.cards.samples import recipe, training


def keys(bibtex: str) -> list[str]:
    return re.findall(r"^@\w+\{(.*),$", bibtex, re.MULTILINE)


def test_adapter_base_and_tools_are_cited() -> None:
    cited = citation(recipe(card={"developers": "A & B"}), training(), "user/base", "user/adapter")
    assert keys(cited) == ["small", "small-base", "transformers", "peft", "trl", "jiwer"]
    assert cited.startswith(
        "@misc{small,\n  author = {{A \\& B}},\n  title = {A small adapter},\n  year = {2026},\n"
        "  url = {https://huggingface.co/user/adapter},\n}\n\n"
    )


def test_the_paper_of_a_base_is_cited() -> None:
    phi4 = training(family="phi4_multimodal", engine="unsloth")
    assert keys(citation(recipe(), phi4, "/models/phi4", "runs/small/adapter")) == [
        "small",
        "phi4-multimodal",
        "transformers",
        "peft",
        "trl",
        "unsloth",
        "jiwer",
    ]


def test_the_citation_of_the_recipe_is_used() -> None:
    own = "@article{ours,\n  title = {Ours},\n}"
    cited = citation(recipe(card={"citation": f"\n{own}\n"}), training(), "user/base", "user/adapter")
    assert cited.startswith(f"{own}\n\n@misc{{small-base,")


def test_empty_fields_are_omitted() -> None:
    assert entry("key", {"author": "", "title": "T"}) == "@misc{key,\n  title = {T},\n}"


@pytest.mark.parametrize(
    "value, tex", [("a_b {c}", r"a\_b \{c\}"), ("\\x ~^", r"\textbackslash{}x \textasciitilde{}\textasciicircum{}")]
)
def test_text_contains_no_tex_commands(value: str, tex: str) -> None:
    assert text(value) == tex


@given(st.text())
def test_braces_in_text_do_not_break_the_entry(value: str) -> None:
    bare = re.sub(r"\\[{}]", "", text(value))
    assert bare.count("{") == bare.count("}") and "\n" not in bare
