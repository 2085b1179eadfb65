from pathlib import Path

import pytest

from escoita.data.rows import Utterances
from escoita.errors import EscoitaError
from escoita.evaluation.compare import copy_earlier_predictions
from escoita.evaluation.predictions import predictions_path, public, read_predictions, write_predictions
from tests.evaluation.samples import Row, clip, write_rows


CLIPS = {"clips": Utterances.of([clip("bir")])}


def test_an_earlier_revision_is_told_by_where_it_was(tmp_path: Path) -> None:
    write_rows(tmp_path / "old/eval", [("bir", "bit")], systems=["adapter"])
    copy_earlier_predictions(str(tmp_path / "old"), CLIPS, tmp_path / "new/eval")
    table, provenance = read_predictions(predictions_path(tmp_path / "new/eval", "clips", "earlier"))
    assert table["hypothesis"].to_pylist() == ["bit"]
    assert (provenance.system.name, provenance.system.adapter) == ("earlier", "old")


@pytest.mark.parametrize(
    "heard, said",
    [
        ([("bir", "bir")] * 2, "old: heard other clips of clips; compare on the same test corpus"),
        ([("ikki", "bir")], "old: heard other clips of clips"),
        ([], "old: holds no eval/clips/predictions.parquet"),
    ],
)
def test_an_earlier_revision_must_have_heard_the_same(tmp_path: Path, heard: list[Row], said: str) -> None:
    (tmp_path / "old").mkdir()
    if heard:
        write_rows(tmp_path / "old/eval", heard, systems=["adapter"])
    with pytest.raises(EscoitaError, match=said):
        copy_earlier_predictions(str(tmp_path / "old"), CLIPS, tmp_path / "new/eval")


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    """Killed and started again, it would find what it had just heard where the earlier predictions were."""
    write_rows(tmp_path / "run/eval", [("bir", "bit")], systems=["adapter"])
    with pytest.raises(EscoitaError, match=r"run: is what is evaluated here"):
        copy_earlier_predictions(str(tmp_path / "run"), CLIPS, tmp_path / "run/../run/eval")


@pytest.mark.parametrize("withheld", [True, False])
def test_what_was_published_is_given_its_names_and_texts_again(tmp_path: Path, withheld: bool) -> None:
    known = [{"speaker": "clips"}]  # which stands in the id of the clip
    (path,) = write_rows(tmp_path / "old/eval", [("bir", "bit")], systems=["adapter"], known=known)
    table, made = public(*read_predictions(path), withheld)
    write_predictions(table, path)
    clips = Utterances.of([clip("bir", speaker="clips")])
    copy_earlier_predictions(str(tmp_path / "old"), {"clips": clips}, tmp_path / "new/eval")
    table, provenance = read_predictions(predictions_path(tmp_path / "new/eval", "clips", "earlier"))
    assert made.references == ("hashed" if withheld else "open") and provenance.references == "open"
    row = table.select(["id", "speaker", "reference", "hypothesis"]).to_pylist()[0]
    assert list(row.values()) == ["clips-1", "clips", "bir", "bit"]
    with pytest.raises(EscoitaError, match="old: heard other clips of clips"):
        copy_earlier_predictions(
            str(tmp_path / "old"), {"clips": Utterances.of([clip("ikki")])}, tmp_path / "new/eval"
        )
