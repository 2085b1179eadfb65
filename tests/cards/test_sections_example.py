from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from huggingface_hub import ModelCard

from escoita.cards.build import build_card
from escoita.cards.sections import example
from escoita.evaluation.predictions import (
    SCHEMA,
    Provenance,
    described,
    public,
    read_predictions,
    replaced,
    write_predictions,
)
from escoita.records.evaluation import CorpusResult, EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.cards.card_samples import MARKDOWN
from tests.cards.samples import evaluation, recipe, result, system, write_run


TWO = {"test": [{"name": "clips", "path": "a.jsonl", "title": "Some clips"}, {"name": "more", "path": "b.jsonl"}]}


def add_predictions(
    run: RunDirectory, rows: list[tuple[str, str, float]], corpus: str = "clips", **changes: str
) -> None:
    """Write predictions of the adapter: reference, hypothesis and seconds of each clip."""
    texts = dict.fromkeys(("language", "speaker", "gender", "accent"), "")
    numbers = {"compute_seconds": 1.0, "tokens": 3, "truncated": False}
    table = pa.Table.from_pylist(
        [
            {"id": f"c-{row}", "reference": reference, "hypothesis": text, "audio_seconds": seconds} | texts | numbers
            for row, (reference, text, seconds) in enumerate(rows)
        ],
        schema=SCHEMA,
    )
    made = Provenance.model_validate({"corpus": corpus, "rejected": 0, "system": system()} | changes)
    write_predictions(described(table, made), run.eval / corpus / "predictions.parquet")


ROWS = [("one", "one", 1.0), ("two", "to", 2.0), ("three.", "Three", 2.5), ("four", "four", 9.0)]


def test_correct_clip_with_a_duration_near_the_median(tmp_path: Path) -> None:
    run, chosen = write_run(tmp_path, recipe()), recipe()
    assert example(run, chosen, evaluation()) is None
    add_predictions(run, ROWS)
    found = example(run, chosen, evaluation())
    assert found and (found.id, found.right, found.audio_seconds) == ("c-0", True, 1.0)
    found = example(run, chosen, evaluation(normalizer="basic"))
    assert found and (found.id, found.reference, found.hypothesis) == ("c-2", "three.", "Three")
    card = build_card(run, chosen, "user/base", "user/adapter")
    assert "clip `c-0` of Some clips (1.0 seconds)" in card and ":\n\n> one\n" in card and "Reference:" not in card


def test_both_texts_are_shown_without_a_correct_clip(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe())
    add_predictions(run, [("one", "won", 1.0), ("*two*", "", 2.0), ("three", "tree", 3.0)])
    card = build_card(run, recipe(), "user/base", "user/adapter")
    assert "clip `c-1` of Some clips (2.0 seconds); " in card and "1,234 clips" in card
    assert "\n> (empty)\n\nReference: \\*two\\*\n" in card


@pytest.mark.parametrize("form, silence", [("basic", "(laughs)"), ("raw", " ")])
def test_empty_reference_is_not_a_correct_example(tmp_path: Path, form: str, silence: str) -> None:
    run = write_run(tmp_path, recipe())
    add_predictions(run, [(silence, silence, 1.0), ("one", "one", 9.0)])
    found = example(run, recipe(), evaluation(normalizer=form))
    assert found and (found.reference, found.right) == ("one", True)


def test_corpus_with_a_correct_clip_comes_first(tmp_path: Path) -> None:
    chosen = recipe(corpora=TWO)
    run, record = write_run(tmp_path, chosen), evaluation(result(), result("more"))
    add_predictions(run, ROWS[1:2])
    add_predictions(run, ROWS, "more")
    found = example(run, chosen, record)
    assert found and (found.corpus, found.id) == ("more", "c-0")


def test_private_transcripts_are_not_used(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe())
    add_predictions(run, ROWS, references="hashed")
    assert example(run, recipe(), evaluation()) is None
    add_predictions(run, ROWS)
    secret = recipe(corpora={"test": [{"name": "clips", "path": "a.jsonl", "publish_references": False}]})
    assert example(run, secret, evaluation()) is None
    assert "Expected output" not in build_card(run, secret, "user/base", "user/adapter")


def current(*results: CorpusResult, **changes: Any) -> EvaluationRecord:
    """Return an evaluation of this version."""
    known = [
        each.model_copy(update={"systems": [system.model_copy(update={"unusable": 0}) for system in each.systems]})
        for each in results or (result(),)
    ]
    return evaluation(*known, **changes)


MEDIAN = [("a b", "a b", 1.0), ("a b", "a c", 2.0), ("a b", "d c", 3.0), ("", "x", 4.0), ("a b", "a d", 5.0)]


def test_the_example_has_the_median_wer_and_the_first_id(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe(), evaluation_record=current())
    add_predictions(run, MEDIAN)  # WER 0, .5, 1, none, .5
    found = example(run, recipe(), current())
    assert found and (found.id, found.rate, found.right) == ("c-1", 0.5, False)
    card = build_card(run, recipe(), "user/base", "user/adapter")
    assert "whose WER of 50.00 % is the median" in card and "\n> a c\n\nReference: a b\n" in card
    add_predictions(run, [*MEDIAN, ("a", "a", 1.0), ("a", "a", 1.0)])
    found = example(run, recipe(), current())
    assert found and (found.id, found.rate) == ("c-6", 0.0)
    add_predictions(run, MEDIAN[:1] * 2 + MEDIAN[1:2] * 2)  # the first of two middle clips
    found = example(run, recipe(), current())
    assert found and (found.id, found.right) == ("c-1", True)


def test_the_example_does_not_depend_on_the_names_of_speakers(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe(), evaluation_record=current())
    add_predictions(run, [("a", "b", 1.0)] * 9)
    path = run.eval / "clips/predictions.parquet"
    table, provenance = read_predictions(path)
    names = [f"{'zoe' if row % 2 else 'ana'}-{row}" for row in range(9)]
    table = replaced(table, {"id": names, "speaker": [name.split("-")[0] for name in names]})
    write_predictions(described(table, provenance), path)
    local = example(run, recipe(), current())
    table, provenance = public(*read_predictions(path), withheld=False)
    write_predictions(described(table, provenance), path)
    published = example(run, recipe(), current())
    assert local and published and (local.id, published.id) == ("ana-8", "s001-8")


def test_an_example_needs_a_reference_with_words(tmp_path: Path) -> None:
    chosen = recipe(corpora=TWO)
    record = current(result(), result("more"))
    run = write_run(tmp_path, chosen, evaluation_record=record)
    add_predictions(run, [("", "x", 1.0)])
    assert example(run, chosen, record) is None
    add_predictions(run, MEDIAN, "more")
    found = example(run, chosen, record)
    assert found and found.corpus == "more"


@pytest.mark.parametrize("hypothesis, boxes", [("ئۇيغۇر تىلى", 1), ("ئۇيغۇر", 2)])
def test_a_right_to_left_example_has_its_direction(tmp_path: Path, hypothesis: str, boxes: int) -> None:
    run = write_run(tmp_path, recipe())
    add_predictions(run, [("ئۇيغۇر تىلى", hypothesis, 1.0)])
    card = build_card(run, recipe(), "user/base", "user/adapter")
    kinds = [(token.type, token.content.strip()) for token in MARKDOWN.parse(ModelCard(card).text)]
    opened = [place for place, token in enumerate(kinds) if token == ("html_block", '<div dir="rtl">')]
    assert len(opened) == boxes == sum(content.startswith("</div>") for _, content in kinds)
    assert all(kinds[place + 1][0] == "blockquote_open" for place in opened)
    texts = [kinds[place + 3][1] for place in opened]
    assert texts == [hypothesis, "ئۇيغۇر تىلى"][:boxes]


def test_examples_in_other_scripts_have_no_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe())
    add_predictions(run, ROWS)
    assert "dir=" not in build_card(run, recipe(), "user/base", "user/adapter")
