"""Test that text from data does not break YAML, Markdown, HTML or Jinja anywhere on a card."""

import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from escoita.cards.build import build_card
from escoita.cards.front_matter import blocks
from escoita.recipe.schema import Recipe
from escoita.records.data import Missing
from escoita.records.evaluation import Slice
from escoita.records.training import CorpusUse
from tests.cards.samples import (
    data,
    evaluation,
    leak,
    recipe,
    result,
    system,
    system_result,
    validated_training,
    write_run,
)
from tests.cards.test_sections_example import add_predictions


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
PIECES = [
    *(
        "\n",
        " ",
        "|",
        "`",
        "```",
        "#",
        "---",
        "===",
        "*",
        "_",
        "[a](https://x.example)",
        "![",
        "]: https://x.example",
        "<",
    ),
    *(
        ">",
        "<!--",
        "-->",
        "<script>",
        "</td>",
        "<https://x.example>",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "{#",
        "$",
        "\\",
        "&lt;",
    ),
    *("1.", "- ", "\t", '"', "'", ":", "@misc{", "}", "\r\n", "\u2028", "\x85", "a", "ʻ", "😀"),
    *("<!-- escoita:begin results 000000000000 -->", "<!-- escoita:end results -->", "<!-- escoita:made summary -->"),
]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1
)
CARD = (
    *("title", "description", "license", "developers", "architecture", "base_terms", "intended_use", "out_of_scope"),
    *("limitations", "contact", "acknowledgements", "funding", "citation"),
)


def hostile_recipe(text: str, kind: str) -> Recipe:
    """Return a recipe with the text in every free field."""
    corpus = {"name": "clips", "path": "a.jsonl"} | dict.fromkeys(("title", "license", "description"), text)
    method = {"target_modules": ".*_proj|" + re.escape(text)}
    document = recipe(
        card=dict.fromkeys(CARD, text) | {"tags": [text]},
        corpora={split: [corpus | {"url": f"https://example.org/{text}"}] for split in ("train", "test")},
        training={"optim": text, f"x{text}": text},
        prompt={"user": text, "system": text},
    ).model_dump()
    document["method"] = {"kind": "modules", "modules": [text]} if kind == "modules" else method
    return Recipe.model_validate(document | {"base_revision": text})


def hostile_card(text: str, kind: str) -> tuple[Recipe, str]:
    """Return a card of records with the text in every free field."""
    chosen = hostile_recipe(text, kind)
    trained = validated_training(
        device=text,
        engine=text,
        base_sha256=text,
        adapter_sha256=text,
        finished=text,
        versions={text: text},
        trainable_parameters={text: 1},
        rejected=[text],
        corpora=[
            CorpusUse(name=name, split="train", utterances=8, audio_seconds=18.0, rejected=0)
            for name in ("clips", text)
        ],
    )
    systems = [system_result(loop=1), system_result("base"), system_result("whisper")]
    slices = [
        Slice.model_validate(
            {"by": "gender", "value": value, "n": 9, "reference_words": 900, "wer": {"adapter": wer, "base": 1.0}}
        )
        for value, wer in (("f", 0.1), (text, 0.2))
    ]
    same = {"base_sha256": text, "adapter_sha256": text, "device": text, "dtype": text}
    record = evaluation(result(systems=systems, slices=slices), normalizer="basic").model_copy(
        update={"systems": [system(**same), system("base"), system("whisper", base=text)]}
    )
    leaks = leak("transcript", 40)
    clip = leaks.examples[0].clip.model_copy(update={"text": text, "id": text})
    pair = leaks.examples[0].model_copy(update={"clip": clip, "like": clip})
    shared = data(leaks.model_copy(update={"examples": [pair]})).model_copy(
        update={"missing": [Missing(split="train", name=text)]}
    )
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder), chosen, trained, record, shared)
        add_predictions(run, [(text, f"{text} x", 1.0)])
        return chosen, build_card(run, chosen, text, text)


def tokens_of(card: str) -> list[Token]:
    """Return all tokens of the body, including inline ones."""
    body = card.split("\n---\n", 1)[1]
    return [inner for token in MARKDOWN.parse(body) for inner in (token, *(token.children or []))]


def shape(card: str) -> dict[str, Any]:
    """Return the structure of a card, which no text may change."""
    tokens = tokens_of(card)
    counts = {kind: sum(token.type == kind for token in tokens) for kind in ("heading_open", "tr_open", "td_open")}
    return counts | {
        "comments": [re.sub(" [0-9a-f]{12}", "", token.content) for token in tokens if token.type == "html_block"][
            :-1
        ],
        "html": {token.content for token in tokens if token.type == "html_inline"} - {"<br>"},
        "fences": sum(token.type == "fence" for token in tokens),
        "images": [token.attrs["src"] for token in tokens if token.type == "image"],
        "blocks": [block.name for block in blocks(card)],
        # The text of a link is its address; prose of the recipe may contain links.
        "links": sum(token.type == "link_open" and token.markup != "autolink" for token in tokens),
    }


@cache
def harmless_shape(kind: str) -> dict[str, Any]:
    """Return the structure of a card with harmless text."""
    return shape(hostile_card("harmless", kind)[1])


@given(TEXTS, st.sampled_from(["lora", "modules"]))
@settings(max_examples=40)
@example("<!-- escoita:end results -->\n\n# Owned", "lora")
@example("```\n<!-- escoita:end citation -->\n<script>alert(1)</script>", "modules")
@example("| --- | --- |\n| a | b |", "lora")
@example("- a\n- b\n\n1. c", "modules")
def test_no_text_changes_the_structure_of_a_card(text: str, kind: str) -> None:
    _, card = hostile_card(text, kind)
    assert shape(card) == harmless_shape(kind)
    assert not any(block.edited for block in blocks(card))
    if "\x85" not in text:  # PyYAML writes it unchanged, and reads it as a line break
        front = yaml.safe_load(card.split("\n---\n", 1)[0].removeprefix("---\n"))
        assert front["license"] == text and text in front["tags"]


def test_texts_are_shown_unchanged() -> None:
    text = "a | b *c* <d> [e](f) `g` {{ h }}"
    _, card = hostile_card(text, "lora")
    inlines = ["".join(child.content for child in token.children or []) for token in tokens_of(card) if token.children]
    assert inlines.count(text) > 8
