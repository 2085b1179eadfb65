from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.counts import write_counts
from escoita.evaluation.predictions import counts_path, hashed, parquet, public, read_predictions, write_predictions
from escoita.evaluation.report.render import report_run, write_report
from escoita.recipe.schema import Corpus, Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.cards.samples import recipe
from tests.evaluation.samples import Row, write_rows


ROWS: list[Row] = [("chiroqni yoq", "chiroqni yoq", "a b c"), ("oshxona-da yoq", "chiroqni och", "")]
WORDS = st.text("abʻ-Aя ", max_size=12)
LOOPS = st.sampled_from(["a " * 9, "Sure, here is the transcription: a", "if the of and is that"])
SPEAKERS = st.text("abÁя12 _", max_size=3)
CORPORA = st.lists(
    st.lists(st.tuples(WORDS, WORDS | LOOPS, WORDS | LOOPS, SPEAKERS), min_size=1, max_size=25), min_size=1, max_size=2
)


def asked(name: str = "clips", publish: bool = False) -> Corpus:
    return Corpus(name=name, path="test.jsonl", publish_references=publish)


def publish(folder: Path, withheld: bool = True) -> None:
    """Puts what is published of predictions in their place."""
    for path in folder.glob("*/predictions*.parquet"):
        write_predictions(public(*read_predictions(path), withheld)[0], path)


def without_names(record: EvaluationRecord) -> dict[str, Any]:
    """All that a record says, but what speakers are called."""
    told = record.model_dump()
    for result in told["corpora"]:
        for part in result["slices"]:
            if part["by"] == "speaker":
                part["value"] = ""
    return told


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder whose references are not in it."""
    write_rows(tmp_path, ROWS)
    write_counts(tmp_path, [asked()], "uzbek")
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
        known = [{"speaker": who, "audio_seconds": float(len(said))} for said, *_, who in rows]
        write_rows(folder, [row[:3] for row in rows], f"c{place}", known=known)
    before = score(folder, name, resamples=20)
    write_counts(folder, [asked(f"c{place}", place not in withheld) for place in range(len(corpora))], name)
    for place in range(len(corpora)):
        for path in (folder / f"c{place}").glob("predictions*.parquet"):
            write_predictions(public(*read_predictions(path), place in withheld)[0], path)
    after = score(folder, name, resamples=20)
    assert without_names(before) == without_names(after)


def test_raw_rates_can_be_had_too(published: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    open_folder = tmp_path_factory.mktemp("open")
    write_rows(open_folder, ROWS)
    assert score(published, "raw", resamples=5) == score(open_folder, "raw", resamples=5)


def test_under_another_normaliser_nothing_can_be_counted(published: Path) -> None:
    with pytest.raises(
        RecordError, match="counted under uzbek; nothing can be counted under basic, as the references"
    ):
        score(published, "basic")


def test_without_counts_nothing_can_be_counted(published: Path) -> None:
    counts_path(published, "clips").unlink()
    with pytest.raises(RecordError, match="counts.parquet: missing, and without it nothing can be counted"):
        score(published, "uzbek")


@pytest.mark.parametrize("column", ["hypothesis", "reference"])
def test_counts_belong_to_the_predictions_beside_them(published: Path, column: str) -> None:
    for path in published.glob("*/predictions*.parquet"):
        table, _ = read_predictions(path)
        place = table.schema.get_field_index(column)
        other = pa.array([hashed("a"), *table[column].to_pylist()[1:]])
        write_predictions(table.set_column(place, table.schema.field(column), other), path)
    with pytest.raises(RecordError, match="counts of other predictions than those beside it; evaluate again$"):
        score(published, "uzbek")


def test_some_of_the_systems_can_be_scored(published: Path) -> None:
    assert [system.name for system in score(published, "uzbek", 5, systems=["adapter"]).systems] == ["adapter"]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda table: table.drop_columns(["raw/words"]), "holds no whole column raw/words"),
        (lambda table: table.slice(1), "is no count of each of 2 utterances"),
        (
            lambda table: table.set_column(0, table.column_names[0], pa.array([-1, 1])),
            "is no count of each of 2 utterances",
        ),
        (
            lambda table: table.set_column(0, table.column_names[0], pa.array([None, 1])),
            "holds no whole column normalized/words",
        ),
        (
            lambda table: table.set_column(0, table.column_names[0], pa.array([1 << 62, 1])),
            "is no count of each of 2 utterances",
        ),
        (lambda table: table.replace_schema_metadata(None), "not a file of counts"),
        (lambda table: table.replace_schema_metadata({b"escoita": b"{"}), "not a file of counts"),
    ],
)
def test_broken_counts_are_refused(published: Path, change: Any, said: str) -> None:
    path = counts_path(published, "clips")
    path.write_bytes(parquet(change(pq.read_table(path))))
    with pytest.raises(RecordError, match=said):
        score(published, "uzbek")


def test_counts_are_there_only_where_references_are_withheld(tmp_path: Path) -> None:
    write_rows(tmp_path, ROWS)
    write_counts(tmp_path, [asked()], "raw")
    assert counts_path(tmp_path, "clips").is_file()
    write_counts(tmp_path, [asked(publish=True)], "raw")
    assert not counts_path(tmp_path, "clips").exists()


def test_counts_of_what_is_published_already_stay(published: Path) -> None:
    before = counts_path(published, "clips").read_bytes()
    write_counts(published, [asked()], "raw")
    assert counts_path(published, "clips").read_bytes() == before


def test_a_report_shows_references_and_so_needs_them(published: Path) -> None:
    with pytest.raises(RecordError, match="clips: its references were not published, and a report shows them$"):
        write_report(published, score(published, "uzbek", 5))


def test_a_recipe_that_withholds_references_only_now_gets_its_counts_with_the_report(tmp_path: Path) -> None:
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
