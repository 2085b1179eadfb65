import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from cards.build import build_card, write_card
from cards.metadata import metadata
from escoita.errors import RecordError
from escoita.recipe import Recipe
from escoita.records import EvaluationRecord, TrainingRecord
from tests.cards.samples import evaluation, recipe, result, training, write_run


MARKDOWN = MarkdownIt("commonmark").enable("table")
TWO = {
    "test": [
        {"name": "clips", "manifest": "a.jsonl", "title": "Some clips"},
        {"name": "more", "manifest": "b.jsonl", "title": "More"},
    ]
}
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


def card_of(
    path: Path,
    chosen: Recipe | None = None,
    training_record: TrainingRecord | None = None,
    evaluation_record: EvaluationRecord | None = None,
    base: str = "user/base",
    adapter: str = "user/adapter",
) -> str:
    chosen = chosen or recipe()
    return build_card(write_run(path, chosen, training_record, evaluation_record), chosen, base, adapter)


def table_rows(card: str, heading: str) -> list[list[str]]:
    """Cells of the first table under a heading, as Markdown shows them."""
    tokens = MARKDOWN.parse(ModelCard(card).text)
    start = next(i for i, token in enumerate(tokens) if token.type == "inline" and token.content == heading)
    rows: list[list[str]] = []
    for token in tokens[start + 1 :]:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def headings(card: str) -> list[str]:
    tokens = MARKDOWN.parse(ModelCard(card).text)
    return [after.content for token, after in zip(tokens, tokens[1:], strict=False) if token.type == "heading_open"]


def code_blocks(card: str) -> list[str]:
    return [token.content for token in MARKDOWN.parse(ModelCard(card).text) if token.type == "fence"]


def numbers(value: Any) -> set[float]:
    """Every number of a record."""
    if isinstance(value, dict):
        return numbers(list(value.values()))
    if isinstance(value, list):
        return set().union(*map(numbers, value))
    return {value} if isinstance(value, int | float) else set()


def test_built_twice_it_is_the_same(tmp_path: Path) -> None:
    assert card_of(tmp_path / "a") == card_of(tmp_path / "b")


def test_every_percentage_stands_in_a_record(tmp_path: Path) -> None:
    record = evaluation(result(), result("more", wer=0.5, wer_ci95=(0.45678, 0.5432), base_wer=None, base_cer=None))
    body = ModelCard(card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record)).text
    figures = set(re.findall(r"[\d.]+(?= %)", body)) | set(re.findall(r"[\d.]+(?= to [\d.]+ %)", body))
    known = {f"{100 * number:.2f}" for number in numbers(json.loads(record.model_dump_json()))}
    assert len(figures) == 12
    assert figures - known == {"95", "100"}  # of the interval, and of the remark that a rate may be over 100 %


def test_the_table_of_results(tmp_path: Path) -> None:
    record = evaluation(result(), result("more", base_wer=None, base_cer=None))
    first, second, pooled = table_rows(card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record), "Results")[1:]
    assert first == ["Some clips", "1,234", "125.17 %", "7.12 %", "6.51 to 7.73 %", "81.24 %", "2.34 %"]
    assert (second[0], second[2], second[5]) == ("More", "–", "–")
    assert (pooled[0], pooled[1], pooled[3]) == ("All, pooled by words", "2,468", "10.99 %")


def test_one_corpus_needs_no_pool(tmp_path: Path) -> None:
    assert len(table_rows(card_of(tmp_path), "Results")) == 2


def test_the_table_of_training_data(tmp_path: Path) -> None:
    assert table_rows(card_of(tmp_path), "Training data")[1:] == [["clips", "train", "800", "30.0", "cc0-1.0"]]


def test_what_happened_is_told(tmp_path: Path) -> None:
    card = card_of(tmp_path, training_record=training(sessions=3, rejected=["a", "b"]))
    assert "audio tower 12,345, language tower 54,321" in card and "vision" not in card
    assert "600 steps, 12 epochs, 12.6 minutes on `cpu` in 3 sessions, peak memory 1.5 GB." in card
    assert "from 2.5 at step 25 to 0.125 at step 600" in card
    assert "2 rows could not be used" in card
    assert "ab" * 32 in card and "torch 2.13.0, peft 0.21.2." in card


def test_what_was_not_used_in_the_test_is_told(tmp_path: Path) -> None:
    assert "of the test manifests could not be used" not in card_of(tmp_path / "a")
    record = evaluation().model_copy(update={"pooled": result("pooled", rejected=7)})
    assert "7 rows of the test manifests could not be used" in card_of(tmp_path / "b", evaluation_record=record)


def test_an_absent_fact_leaves_no_heading(tmp_path: Path) -> None:
    plain = headings(card_of(tmp_path / "a"))
    assert not {"Intended use", "Limitations", "Licence"} & set(plain)
    said = {"intended_use": "Commands.", "limitations": "Few words.", "base_terms": "Terms."}
    assert {"Intended use", "Limitations", "Licence"} <= set(headings(card_of(tmp_path / "b", recipe(card=said))))


def test_the_front_matter_survives_the_library(tmp_path: Path) -> None:
    content = card_of(tmp_path)
    card = ModelCard(content)
    assert card.data.to_dict() == metadata(recipe(), evaluation(), "user/base").to_dict()
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
    assert ModelCard(str(card)).text.strip() == card.text.strip() == content.split("\n---\n", 1)[1].strip()
    assert [(entry.metric_type, entry.metric_value) for entry in card.data.get("eval_results")] == [
        ("wer", 0.0712),
        ("cer", 0.0234),
    ]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles_break_nothing(tmp_path: Path, title: str) -> None:
    corpora = {
        split: [{"name": "clips", "manifest": "a.jsonl", "title": title, "license": title, "description": title}]
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
    content, shown = card_of(tmp_path / "hostile", chosen), " ".join(title.split())
    plain = {"description": "a", "base_terms": "a", "intended_use": "a", "limitations": "a", "developers": "a"}

    card = ModelCard(content)
    assert card.data.to_dict() == metadata(chosen, evaluation(), "user/base").to_dict()
    assert (card.data.get("license"), card.data.get("tags")) == (title, ["speech", "lora", title])
    assert len(headings(content)) == len(headings(card_of(tmp_path / "plain", recipe(card=plain))))
    assert {len(row) for row in table_rows(content, "Results")} == {7}
    assert table_rows(content, "Results")[1][0] == shown
    assert table_rows(content, "Training data")[1] == [shown, "train", "800", "30.0", shown]
    assert table_rows(content, "Training procedure")[-1] == [shown, shown]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_names_leave_the_code_to_copy_whole(tmp_path: Path, title: str) -> None:
    chosen = recipe(prompt={"user": title, "system": title})
    ours, plain = code_blocks(card_of(tmp_path, chosen, base=title, adapter=title))
    for block in (ours, plain):
        texts = [node.value for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Constant)]
        assert texts.count(title) >= 2
    assert sum(node.value == title for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.Constant)) == 4


def test_the_base_is_a_link_only_when_it_is_of_the_hub(tmp_path: Path) -> None:
    assert "[user/base](https://huggingface.co/user/base)" in card_of(tmp_path / "a")
    local = card_of(tmp_path / "b", base="/models/gemma4")
    assert "**Base model:** `/models/gemma4`" in local and "base_model:" not in local


def test_the_card_of_a_run_is_written_beside_its_records(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipe())
    assert write_card(run.path) == run.path / "README.md"
    assert run.card.read_text("utf-8") == build_card(run, recipe(), "quickstart/gemma4", str(run.adapter))


@pytest.mark.parametrize("digest", ["base_sha256", "adapter_sha256"])
def test_figures_of_other_weights_make_no_card(tmp_path: Path, digest: str) -> None:
    run = write_run(tmp_path / "run", recipe(), evaluation_record=evaluation().model_copy(update={digest: "00" * 32}))
    with pytest.raises(RecordError, match="measured another base or adapter than was trained here; evaluate again$"):
        write_card(run.path)


@pytest.mark.parametrize("missing", ["training", "results"])
def test_without_its_records_there_is_no_card(tmp_path: Path, missing: str) -> None:
    run = write_run(tmp_path / "run", recipe())
    getattr(run, missing).unlink()
    with pytest.raises(RecordError, match="no such record yet; escoita (train|eval) writes it$"):
        write_card(run.path)
    assert not run.card.exists()
