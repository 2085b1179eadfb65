from pathlib import Path

import pytest

from escoita.data.rows import Utterances
from escoita.errors import EscoitaError
from escoita.evaluation.compare import copy_earlier_predictions
from escoita.evaluation.errors import OtherClipsError
from escoita.evaluation.predictions import predictions_path, public, read_predictions, write_predictions
from escoita.hub.files import MissingFileError
from tests.evaluation.samples import Row, clip, write_rows


CLIPS = {"clips": Utterances.of([clip("bir")])}


def test_an_earlier_revision_is_named_by_its_source(tmp_path: Path) -> None:
    write_rows(tmp_path / "old/eval", [("bir", "bit")], systems=["adapter"])
    copy_earlier_predictions(str(tmp_path / "old"), CLIPS, tmp_path / "new/eval")
    table, provenance = read_predictions(predictions_path(tmp_path / "new/eval", "clips", "earlier"))
    assert table["hypothesis"].to_pylist() == ["bit"]
    assert (provenance.system.name, provenance.system.adapter) == ("earlier", "old")


@pytest.mark.parametrize(
    "rows, error",
    [
        ([("bir", "bir")] * 2, OtherClipsError),
        ([("ikki", "bir")], OtherClipsError),
        ([], MissingFileError),
    ],
)
def test_an_earlier_revision_needs_the_same_clips(tmp_path: Path, rows: list[Row], error: type[EscoitaError]) -> None:
    (tmp_path / "old").mkdir()
    if rows:
        write_rows(tmp_path / "old/eval", rows, systems=["adapter"])
    with pytest.raises(error) as refusal:
        copy_earlier_predictions(str(tmp_path / "old"), CLIPS, tmp_path / "new/eval")
    assert refusal.value.path == str(tmp_path / "old")


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    """After an interruption it would compare its own new predictions with themselves."""
    write_rows(tmp_path / "run/eval", [("bir", "bit")], systems=["adapter"])
    with pytest.raises(EscoitaError) as refusal:
        copy_earlier_predictions(str(tmp_path / "run"), CLIPS, tmp_path / "run/../run/eval")
    assert (refusal.value.key, refusal.value.value) == ("--against", str(tmp_path / "run"))


@pytest.mark.parametrize("withheld", [True, False])
def test_published_predictions_get_their_names_and_references_again(tmp_path: Path, withheld: bool) -> None:
    known = [{"speaker": "clips"}]  # also a part of the id of the clip
    (path,) = write_rows(tmp_path / "old/eval", [("bir", "bit")], systems=["adapter"], known=known)
    table, made = public(*read_predictions(path), withheld)
    write_predictions(table, path)
    clips = Utterances.of([clip("bir", speaker="clips")])
    copy_earlier_predictions(str(tmp_path / "old"), {"clips": clips}, tmp_path / "new/eval")
    table, provenance = read_predictions(predictions_path(tmp_path / "new/eval", "clips", "earlier"))
    assert made.references == ("hashed" if withheld else "open") and provenance.references == "open"
    row = table.select(["id", "speaker", "reference", "hypothesis"]).to_pylist()[0]
    assert list(row.values()) == ["clips-1", "clips", "bir", "bit"]
    with pytest.raises(OtherClipsError):
        copy_earlier_predictions(
            str(tmp_path / "old"), {"clips": Utterances.of([clip("ikki")])}, tmp_path / "new/eval"
        )
