from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escoita.data.rows import Utterances
from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.counts import MOST_VALUES, By, slices, warn_of_characters, write_counts
from escoita.evaluation.errors import HashedReferencesError, OtherPredictionsError
from escoita.evaluation.predictions import (
    Provenance,
    counts_path,
    hashed,
    parquet,
    predictions_table,
    public,
    read_predictions,
    write_predictions,
)
from escoita.evaluation.report.render import report_run, write_report
from escoita.recipe.schema import Corpus, Recipe
from escoita.records.evaluation import EvaluationRecord, Slice
from escoita.records.transcript import Transcript
from escoita.run_directory import RunDirectory
from tests.cards.samples import evaluation, recipe
from tests.evaluation.samples import Row, clip, system, write_rows


ROWS: list[Row] = [("chiroqni yoq", "chiroqni yoq", "a b c"), ("oshxona-da yoq", "chiroqni och", "")]
WORDS = st.text("abʻ-Aя ", max_size=12)
LOOPS = st.sampled_from(["a " * 9, "Sure, here is the transcription: a", "if the of and is that"])
SPEAKERS = st.text("abÁя12 _", max_size=3)
CORPORA = st.lists(
    st.lists(st.tuples(WORDS, WORDS | LOOPS, WORDS | LOOPS, SPEAKERS), min_size=1, max_size=25), min_size=1, max_size=2
)


def corpus(name: str = "clips", publish: bool = False) -> Corpus:
    return Corpus(name=name, path="test.jsonl", publish_references=publish)


def publish(folder: Path, withheld: bool = True) -> None:
    """Replace predictions by their published form."""
    for path in folder.glob("*/predictions*.parquet"):
        write_predictions(public(*read_predictions(path), withheld)[0], path)


def without_names(record: EvaluationRecord) -> dict[str, Any]:
    """Return a record without the names of speakers."""
    fields = record.model_dump()
    for result in fields["corpora"]:
        for part in result["slices"]:
            if part["by"] == "speaker":
                part["value"] = ""
    return fields


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a folder with hashed references and their counts."""
    write_rows(tmp_path, ROWS)
    write_counts(tmp_path, [corpus()], "uzbek")
    publish(tmp_path)
    return tmp_path


@settings(max_examples=60)
@given(CORPORA, st.sampled_from(["raw", "basic", "uzbek-latin"]), st.sets(st.integers(0, 1)))
def test_hashed_references_score_as_open_ones(
    tmp_path_factory: pytest.TempPathFactory, corpora: list[list[tuple[str, ...]]], name: str, withheld: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("predictions")
    known: list[dict[str, Any]]
    for place, rows in enumerate(corpora):
        known = [{"speaker": who, "audio_seconds": float(len(text))} for text, *_, who in rows]
        write_rows(folder, [row[:3] for row in rows], f"c{place}", known=known)
    before = score(folder, name, resamples=20)
    write_counts(folder, [corpus(f"c{place}", place not in withheld) for place in range(len(corpora))], name)
    for place in range(len(corpora)):
        for path in (folder / f"c{place}").glob("predictions*.parquet"):
            write_predictions(public(*read_predictions(path), place in withheld)[0], path)
    after = score(folder, name, resamples=20)
    assert without_names(before) == without_names(after)


def test_raw_rates_can_be_scored_too(published: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_folder = tmp_path_factory.mktemp("open")
    write_rows(open_folder, ROWS)
    assert score(published, "raw", resamples=5) == score(open_folder, "raw", resamples=5)


def test_another_normalizer_is_refused(published: Path) -> None:
    with pytest.raises(HashedReferencesError) as refusal:
        score(published, "basic")
    assert (refusal.value.path, refusal.value.value) == (counts_path(published, "clips"), "basic")


def test_missing_counts_are_reported(published: Path) -> None:
    (path := counts_path(published, "clips")).unlink()
    with pytest.raises(HashedReferencesError) as refusal:
        score(published, "uzbek")
    assert (refusal.value.path, refusal.value.value) == (path, None)


@pytest.mark.parametrize("column", ["hypothesis", "reference"])
def test_counts_of_other_predictions_are_refused(published: Path, column: str) -> None:
    for path in published.glob("*/predictions*.parquet"):
        table, _ = read_predictions(path)
        place = table.schema.get_field_index(column)
        other = pa.array([hashed("a"), *table[column].to_pylist()[1:]])
        write_predictions(table.set_column(place, table.schema.field(column), other), path)
    with pytest.raises(OtherPredictionsError) as refusal:
        score(published, "uzbek")
    assert refusal.value.path == counts_path(published, "clips")


def test_some_of_the_systems_can_be_scored(published: Path) -> None:
    assert [system.name for system in score(published, "uzbek", 5, systems=["adapter"]).systems] == ["adapter"]


@pytest.mark.parametrize(
    "change, key",
    [
        (lambda table: table.drop_columns(["raw/words"]), "raw/words"),
        (lambda table: table.slice(1), "normalized/words"),
        (
            lambda table: table.set_column(0, table.column_names[0], pa.array([-1, 1])),
            "normalized/words",
        ),
        (
            lambda table: table.set_column(0, table.column_names[0], pa.array([None, 1])),
            "normalized/words",
        ),
        (
            lambda table: table.set_column(0, table.column_names[0], pa.array([1 << 62, 1])),
            "normalized/words",
        ),
        (lambda table: table.replace_schema_metadata(None), None),
        (lambda table: table.replace_schema_metadata({b"escoita": b"{"}), None),
    ],
)
def test_invalid_counts_are_refused(published: Path, change: Any, key: str | None) -> None:
    path = counts_path(published, "clips")
    path.write_bytes(parquet(change(pq.read_table(path))))
    with pytest.raises(RecordError) as refusal:
        score(published, "uzbek")
    assert str(path) in str(refusal.value) and refusal.value.key == key


def test_counts_are_written_only_for_withheld_references(tmp_path: Path) -> None:
    write_rows(tmp_path, ROWS)
    write_counts(tmp_path, [corpus()], "raw")
    assert counts_path(tmp_path, "clips").is_file()
    write_counts(tmp_path, [corpus(publish=True)], "raw")
    assert not counts_path(tmp_path, "clips").exists()


def test_counts_of_published_predictions_stay(published: Path) -> None:
    before = counts_path(published, "clips").read_bytes()
    write_counts(published, [corpus()], "raw")
    assert counts_path(published, "clips").read_bytes() == before


def test_a_report_needs_the_references(published: Path) -> None:
    with pytest.raises(HashedReferencesError) as refusal:
        write_report(published, score(published, "uzbek", 5))
    assert refusal.value.path == published / "clips"


def test_the_report_writes_the_counts_of_newly_withheld_references(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    write_rows(run.eval, ROWS)
    score(run.eval, "uzbek", 5).write(run.results)
    document = recipe().model_dump(mode="json")
    document["corpora"]["test"][0]["publish_references"] = False
    Recipe.model_validate(document).write(run.recipe)
    report_run(tmp_path)
    before = score(run.eval, "uzbek", 5)
    publish(run.eval)
    assert score(run.eval, "uzbek", 5) == before


@pytest.mark.parametrize(
    "characters, normalizer, expected",
    [
        (None, "basic", None),
        ("aekst", "basic", None),
        ("AEKST", "basic", None),  # the capital letters are normalized
        ("aekst", "raw", ("2 characters", "'K' ×1", "14.3%")),
        ("aeks", "basic", ("1 characters", "'t' ×4", "28.6%")),
    ],
)
def test_characters_that_a_vocabulary_lacks_are_printed(
    characters: str | None, normalizer: str, expected: tuple[str, ...] | None, capfd: pytest.CaptureFixture[str]
) -> None:
    described = system("adapter", characters=characters)
    record = evaluation(normalizer=normalizer).model_copy(update={"systems": [described]})
    warn_of_characters(record, {"clips": ["Kat akta", "eset Tes"]})
    output = capfd.readouterr().err
    assert all(part in output for part in expected) if expected else output == ""


def cut(known: list[dict], by: By, words: list[int] | None = None, edits: list[int] | None = None) -> list[Slice]:
    """Return the slices of clips, by default of three words with one edit each."""
    clips = Utterances.of(clip("bir", row, **fields) for row, fields in enumerate(known, start=1))
    transcripts = [Transcript("bir", seconds, 1.0) for seconds in clips.column("audio_seconds")]
    table = predictions_table(clips, transcripts, Provenance(corpus="clips", rejected=0, system=system("adapter")))
    counts = np.array(words or [3] * len(known))
    return slices(table, counts, {"adapter": np.array(edits or [1] * len(known)), "base": counts}, (by,))


def test_durations_are_sorted() -> None:
    lengths = [31, 0.4, 2, 2.01, 5, 30, 30.001, 12]
    found = cut([{"audio_seconds": seconds} for seconds in lengths], "duration", [4, 1, 1, 2, 2, 10, 4, 0])
    assert [(part.value, part.n, part.reference_words) for part in found] == [
        ("0-2 s", 2, 2),
        ("2-5 s", 2, 4),
        ("10-20 s", 1, 0),
        ("20-30 s", 1, 10),
        ("over 30 s", 2, 8),
    ]
    assert [part.wer for part in found][1:4] == [
        {"adapter": 2 / 4, "base": 1.0},
        {"adapter": 1.0, "base": 0.0},  # no reference words: the edits themselves
        {"adapter": 1 / 10, "base": 1.0},
    ]


def test_values_with_the_most_words_first() -> None:
    known = [{"gender": gender} for gender in ("female", "male", "", "female", "other")]
    found = cut(known, "gender", [1, 3, 5, 1, 3], [1, 0, 5, 0, 3])
    assert [(part.by, part.value, part.n, part.reference_words, part.wer["adapter"]) for part in found] == [
        ("gender", "male", 1, 3, 0.0),
        ("gender", "other", 1, 3, 1.0),
        ("gender", "female", 2, 2, 0.5),
        ("gender", "not stated", 1, 5, 1.0),
    ]


@pytest.mark.parametrize("known", [[], [{}, {}], [{"speaker": "m6"}]])
def test_without_values_there_is_no_slice(known: list[dict]) -> None:
    assert cut(known, "accent") == []


@pytest.mark.parametrize("speakers, others", [(MOST_VALUES, 0), (MOST_VALUES + 1, 1), (MOST_VALUES + 7, 7)])
def test_the_remaining_values_become_one_slice(speakers: int, others: int) -> None:
    known = [{"speaker": f"s{index:03d}"} for index in range(speakers)]
    found = cut(known, "speaker", list(range(speakers, 0, -1)))
    assert [part.value for part in found[:2]] == ["s000", "s001"]
    last = found[MOST_VALUES:]
    assert [(part.value, part.n, part.reference_words) for part in last] == (
        [(f"others ({others})", others, others * (others + 1) // 2)] if others else []
    )


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "ñ", "a\n"]), st.floats(0, 40))))
def test_slices_contain_every_clip(rows: list[tuple[str, float]]) -> None:
    known = [{"accent": accent, "audio_seconds": seconds} for accent, seconds in rows]
    assert sum(part.n for part in cut(known, "duration")) == len(rows)
    named = any(accent for accent, _ in rows)
    assert sum(part.n for part in cut(known, "accent")) == named * len(rows)
