import ast
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from escoita.cards.build import OtherWeightsError, build_card, write_card
from escoita.cards.front_matter import blocks
from escoita.cards.metadata import metadata
from escoita.errors import RecordError
from escoita.models.families import BY_MODEL_TYPE
from escoita.records.plots import training_plot
from tests.cards.card_samples import MARKDOWN, code_blocks, headings, make_card, table_rows
from tests.cards.samples import (
    data,
    evaluation,
    leak,
    recipe,
    result,
    system,
    system_result,
    training,
    validated_training,
    write_run,
)


HOSTILE = [
    "a | b || c",
    "--- \n---\nlicense: mit",
    "{{ 7 * 7 }} {% raw %} {# #}",
    "```\n# Owned\n```",
    "'\": [}, & *b* <script>alert(1)</script>",
    "key: value # comment",
    "\\",
    "| --- | --- |",
    "${{x}} \u2028 ñ ʻ 字 😀",
    "yes",
    "1e3",
]


def test_a_card_is_reproducible(tmp_path: Path) -> None:
    assert make_card(tmp_path / "a") == make_card(tmp_path / "b")


def test_the_table_of_training_data(tmp_path: Path) -> None:
    rows = table_rows(make_card(tmp_path / "a"), "Data")
    assert rows[0] == ["Corpus", "Split", "Clips", "Audio", "License"]
    assert rows[1:] == [
        ["Some clips", "train", "800", "30.0 min", "cc0-1.0"],
        ["Some clips", "test", "1,234", "57.6 min", "cc0-1.0"],
    ]
    custom = {"name": "clips", "path": "a.jsonl", "url": "https://example.org/a b", "description": "Read | aloud."}
    card = make_card(tmp_path / "b", recipe(corpora={"train": [custom], "test": [custom]}))
    assert "| [clips](<https://example.org/a%20b>) | train | 800 | 30.0 min | not stated |" in card
    assert card.count("- clips: Read \\| aloud.\n") == 1


@pytest.mark.parametrize("split_by", ["speaker", "clip", None])
def test_the_card_states_how_the_data_were_divided(split_by: str | None, tmp_path: Path) -> None:
    corpus = {"name": "clips", "path": "a.jsonl"}
    card = make_card(tmp_path, recipe(corpora={"train": [corpus], "test": [corpus], "split_by": split_by}))
    assert [f"validation and test by {by}:" in card for by in ("speaker", "clip")] == [
        split_by == "speaker",
        split_by == "clip",
    ]


def test_headings_without_a_value_are_omitted(tmp_path: Path) -> None:
    plain = headings(make_card(tmp_path / "a"))
    custom = ("intended_use", "out_of_scope", "limitations", "base_terms", "contact", "acknowledgements", "funding")
    names = {"Uses", "Intended use", "Out of scope", "Limitations", "License", "Contact", "Acknowledgements"}
    assert not names & set(plain)
    full = make_card(tmp_path / "b", recipe(card=dict.fromkeys(custom, "Something.")))
    assert names <= set(headings(full)) and "**Funding:** Something." in full
    assert "Funding" not in make_card(tmp_path / "c", recipe(card={"acknowledgements": "Thanks."}))
    assert "### Intended use" not in make_card(tmp_path / "d", recipe(card={"out_of_scope": "All else."}))


def test_no_heading_without_text(tmp_path: Path) -> None:
    tokens = MARKDOWN.parse(ModelCard(make_card(tmp_path)).text)
    shown = [token for token in tokens if token.type != "html_block"]
    for token, after in zip(shown, shown[3:], strict=False):
        if token.type == "heading_open":
            assert after.type != "heading_open" or after.tag > token.tag
    assert shown[-1].type != "heading_close"


def test_each_section_is_a_block(tmp_path: Path) -> None:
    card = make_card(tmp_path, recipe(card={"limitations": "Few words."}), validated_training())
    made = blocks(card)
    names = ["summary", "results", "usage", "limitations", "evaluation", "data", "architecture", "training"]
    assert [block.name for block in made] == [*names, "citation", "provenance"]
    assert not any(block.edited for block in made)
    assert all("## " in block.text or block.text.startswith("# ") for block in made)


def test_published_card_has_the_command_of_verify(tmp_path: Path) -> None:
    assert "`escoita verify user/adapter` recomputes" in make_card(tmp_path / "a")
    assert "escoita verify" not in make_card(tmp_path / "b", adapter="runs/small/adapter")


def test_architecture_of_the_family_or_of_the_recipe(tmp_path: Path) -> None:
    assert BY_MODEL_TYPE["gemma4"].architecture in make_card(tmp_path / "a")
    assert "Architecture" not in headings(make_card(tmp_path / "b", training_record=training(family="strange")))
    custom = make_card(tmp_path / "c", recipe(card={"architecture": "Two tins and a *string*."}))
    assert "Two tins and a \\*string\\*." in custom and "Conformer" not in custom


def test_the_library_keeps_the_front_matter(tmp_path: Path) -> None:
    content = make_card(tmp_path)
    card = ModelCard(content)
    assert card.data.to_dict() == metadata(recipe(), evaluation(), "user/base", "user/adapter").to_dict()
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
    assert ModelCard(str(card)).text.strip() == card.text.strip() == content.split("\n---\n", 1)[1].strip()
    assert [(entry.metric_type, entry.metric_value) for entry in card.data.get("eval_results")] == [
        ("wer", 0.07118),
        ("cer", 0.02342),
    ]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles_do_not_break_a_card(tmp_path: Path, title: str) -> None:
    corpora = {
        split: [{"name": "clips", "path": "a.jsonl", "title": title, "license": title, "description": title}]
        for split in ("train", "test")
    }
    texts = dict.fromkeys(
        ("title", "description", "developers", "base_terms", "intended_use", "limitations", "license"), title
    )
    chosen = recipe(
        card=texts | {"tags": [title]},
        corpora=corpora,
        training={"optim": title, title: title},
        prompt={"user": title, "system": title},
    )
    leaks = leak("transcript", 40)
    pair = leaks.examples[0].model_copy(update={"clip": leaks.examples[0].clip.model_copy(update={"text": title})})
    record = data(leaks.model_copy(update={"examples": [pair]}))
    systems = [system(device=title, dtype=title), *evaluation().systems[1:], system("whisper", base=title)]
    hostile = evaluation(
        result(systems=[system_result(), system_result("base"), system_result("whisper")])
    ).model_copy(update={"systems": systems})
    content = make_card(tmp_path / "hostile", chosen, evaluation_record=hostile, data_record=record)
    shown = " ".join(title.split())
    plain = {"description": "a", "base_terms": "a", "intended_use": "a", "limitations": "a", "developers": "a"}

    card = ModelCard(content)
    assert card.data.to_dict() == metadata(chosen, evaluation(), "user/base", "user/adapter").to_dict()
    assert (card.data.get("license"), card.data.get("tags")) == (title, ["speech", "lora", title])
    tame = hostile.model_copy(update={"systems": [*evaluation().systems, system("whisper")]})
    harmless = make_card(
        tmp_path / "plain", recipe(card=plain), evaluation_record=tame, data_record=data(leak("transcript", 40))
    )
    assert len(headings(content)) == len(headings(harmless))
    assert {len(row) for row in table_rows(content, "Results")} == {7}
    assert table_rows(content, "Results")[1][0] == shown
    assert table_rows(content, "Train/test overlap")[1][-1] == f"“{shown}” (t-7; in train l-9)"
    assert table_rows(content, "Data")[1] == [shown, "train", "800", "30.0 min", shown]
    assert table_rows(content, "Hyperparameters")[-1] == [shown, shown]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_names_do_not_break_code_blocks(tmp_path: Path, title: str) -> None:
    chosen = recipe(prompt={"user": title, "system": title})
    ours, plain, _ = code_blocks(make_card(tmp_path, chosen, base=title, adapter=title))
    for block in (ours, plain):
        texts = [node.value for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Constant)]
        assert texts.count(title) >= 2
    assert sum(node.value == title for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.Constant)) == 4


def test_base_on_the_hub_is_a_link(tmp_path: Path) -> None:
    assert "[user/base](https://huggingface.co/user/base)" in make_card(tmp_path / "a")
    local = make_card(tmp_path / "b", base="/models/gemma4")
    assert "**Base model:** `/models/gemma4`" in local and "base_model:" not in local


def test_card_is_written_to_the_run_directory(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipe())
    assert write_card(run.path) == run.path / "README.md"
    assert run.card.read_text("utf-8") == build_card(run, recipe(), "quickstart/gemma4", str(run.adapter))
    assert not run.curve.exists()


def test_training_plot_is_drawn_from_the_record(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipe(), validated_training())
    write_card(run.path)
    assert run.curve.read_text("utf-8") == training_plot(validated_training())
    assert f"]({run.curve.name})" in run.card.read_text("utf-8")


@pytest.mark.parametrize("digest", ["base_sha256", "adapter_sha256"])
def test_results_of_other_weights_are_refused(tmp_path: Path, digest: str) -> None:
    record = evaluation(systems=[system(**{digest: "00" * 32}), system("base")])
    run = write_run(tmp_path / "run", recipe(), evaluation_record=record)
    with pytest.raises(OtherWeightsError) as error:
        write_card(run.path)
    assert error.value.path == run.results


@pytest.mark.parametrize("missing", ["training", "results"])
def test_missing_record_is_refused(tmp_path: Path, missing: str) -> None:
    run = write_run(tmp_path / "run", recipe())
    getattr(run, missing).unlink()
    with pytest.raises(RecordError) as error:
        write_card(run.path)
    assert str(getattr(run, missing)) in str(error.value)
    assert not run.card.exists()
