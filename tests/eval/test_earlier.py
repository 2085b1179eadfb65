from pathlib import Path

import pytest

from escoita.corpora.rows import Utterances
from escoita.errors import EscoitaError
from eval.earlier import take_earlier
from eval.predictions import predictions_path, read_predictions
from tests.eval.samples import Row, clip, write_rows


CLIPS = {"clips": Utterances.of([clip("bir")])}


def test_an_earlier_revision_is_told_by_where_it_was(tmp_path: Path) -> None:
    write_rows(tmp_path / "old/eval", [("bir", "bit")], systems=["adapter"])
    take_earlier(str(tmp_path / "old"), CLIPS, tmp_path / "new/eval")
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
        take_earlier(str(tmp_path / "old"), CLIPS, tmp_path / "new/eval")


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    """Killed and started again, it would find what it had just heard where the earlier predictions were."""
    write_rows(tmp_path / "run/eval", [("bir", "bit")], systems=["adapter"])
    with pytest.raises(EscoitaError, match=r"run: is what is evaluated here"):
        take_earlier(str(tmp_path / "run"), CLIPS, tmp_path / "run/../run/eval")
