from pathlib import Path
from typing import Any

import pytest

from escoita.data.clips import check_clips
from escoita.data.readers import read_corpus
from escoita.data.readers.base import SelectionError
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from tests.samples import tone, write_clip, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for suffix in ("flac", "ogg"):
            write_clip(tmp_path / split / f"1.{suffix}", tone())
    return tmp_path


def read(folder: Path, **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="voices", path=str(folder), reader="audiofolder", **keys), "gl")


def test_one_table_for_all_splits(folder: Path) -> None:
    rows = ["file_name,transcription,speaker_id", "train/1.flac,un,f1", "test/1.ogg,dous,m1", "test/2.ogg,tres,m1"]
    (folder / "metadata.csv").write_text("\n".join([*rows, "test/1.flac,,m1"]))
    utterances, (empty,) = read(folder)
    assert [row.text for row in utterances] == ["un", "dous", "tres"] and empty.row == 5
    assert (utterances[0].speaker, utterances[0].split) == ("f1", "")
    utterances, _ = read(folder, split="test")
    assert [(row.text, row.split) for row in utterances] == [("dous", "test"), ("tres", "test")]
    usable, (missing,) = check_clips(utterances, 30.0)
    assert len(usable) == 1 and missing.audio == str(folder / "test/2.ogg") and missing.row == 4
    with pytest.raises(SelectionError) as error:
        read(folder, split="dev")
    assert (error.value.key, error.value.value, error.value.available) == ("split", "dev", ("test", "train"))


def test_a_table_for_each_split(folder: Path) -> None:
    write_manifest(folder / "train/metadata.jsonl", [{"file_name": "1.flac", "text": "un"}])
    (utterance,), _ = read(folder)
    assert utterance.split == "train"
    (folder / "test/metadata.csv").write_text("file_name,frase,text\n1.flac,dous,-\n1.ogg,tres,-\n")
    with pytest.raises(SelectionError) as error:
        read(folder)
    assert (error.value.key, error.value.value, error.value.available) == ("split", None, ("test", "train"))
    with pytest.raises(SelectionError) as error:
        read(folder, split="dev")
    assert (error.value.key, error.value.value, error.value.available) == ("split", "dev", ("test", "train"))
    utterances, _ = read(folder, split="test", columns={"text": "frase"}, limit=1)
    usable, rejected = check_clips(utterances, 30.0)
    assert not rejected and [(row.text, row.split, row.audio) for row in usable] == [
        ("dous", "test", str(folder / "test/1.flac"))
    ]


def test_metadata_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(CorpusError) as error:
        read(folder)
    assert (error.value.path, error.value.key) == (folder, "reader")
    (folder / "metadata.csv").write_text("audio,text\ntrain/1.flac,un\n")
    with pytest.raises(SelectionError) as selection:
        read(folder)
    assert (selection.value.key, selection.value.value) == ("columns.audio", "file_name")
    assert (selection.value.path, selection.value.available) == (folder / "metadata.csv", ("audio", "text"))
    assert len(read(folder, columns={"audio": "audio"})[0]) == 1
