from pathlib import Path
from typing import Any

import pytest

from escoita.data.clips import check_clips
from escoita.data.readers import read_corpus
from escoita.data.readers.base import SelectionError
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from tests.samples import tone, write_clip


FEMALE = 'glf_02484_01234567890\tO "bo día\nglf_02484_00000000002.wav\tDous\nglf_00610_00000000003\t \n'
MALE = "glm_04310_00000000004\tCatro\nglm_04310_00000000004\tCatro\nglm_04310_00000000005\tCinco\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder in which the fifth recording is missing."""
    (tmp_path / "wavs").mkdir()
    (tmp_path / "line_index_female.tsv").write_text(FEMALE, "utf-8")
    (tmp_path / "line_index_male.tsv").write_text(MALE, "utf-8")
    for name in ("glf_02484_01234567890", "glf_02484_00000000002", "glm_04310_00000000004"):
        write_clip(tmp_path / f"wavs/{name}.wav", tone(rate=48_000), 48_000)
    return tmp_path


def read(folder: Path, **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="slr77", path=str(folder), reader="openslr", **keys), "gl")


def test_both_indices_are_read(folder: Path) -> None:
    utterances, (empty,) = read(folder)
    assert (empty.source, empty.row, empty.reason) == (str(folder / "line_index_female.tsv"), 3, "empty transcript")
    assert [row.text for row in utterances] == ['O "bo día', "Dous", "Catro", "Catro", "Cinco"]
    assert [row.speaker for row in utterances] == ["glf_02484"] * 2 + ["glm_04310"] * 3
    assert [row.gender for row in utterances] == ["female"] * 2 + ["male"] * 3
    assert utterances[0].audio == str(folder / "wavs/glf_02484_01234567890.wav")
    assert len({row.id for row in utterances}) == 5 and {(row.language, row.split) for row in utterances} == {
        ("gl", "")
    }
    usable, (missing,) = check_clips(utterances, 30.0)
    assert len(usable) == 4
    assert missing.audio == str(folder / "glm_04310_00000000005.wav")


def test_one_index_one_gender_and_a_limit(folder: Path) -> None:
    female = [row.text for row in read(folder, split="female")[0]]
    assert female == [row.text for row in read(folder / "line_index_female.tsv")[0]] == ['O "bo día', "Dous"]
    assert [row.text for row in read(folder, limit=1)[0]] == ['O "bo día']
    with pytest.raises(SelectionError) as error:
        read(folder, split="test")
    assert (error.value.key, error.value.value, error.value.available) == ("split", "test", ("female", "male"))


def test_the_common_index_is_not_read_with_those_of_both_genders(folder: Path) -> None:
    (folder / "line_index.tsv").write_text(FEMALE + MALE, "utf-8")
    assert len(read(folder)[0]) == 5


def test_the_gender_in_a_common_index_is_in_the_names(folder: Path) -> None:
    for gender in ("female", "male"):
        (folder / f"line_index_{gender}.tsv").unlink()
    (folder / "line_index.tsv").write_text(FEMALE + MALE + "other_name\tOutro\n", "utf-8")
    assert [row.gender for row in read(folder)[0]] == ["female"] * 2 + ["male"] * 3 + [""]
    assert [row.text for row in read(folder, split="male")[0]] == ["Catro", "Catro", "Cinco"]
    with pytest.raises(SelectionError) as error:
        read(folder, split="test")
    assert (error.value.key, error.value.value, error.value.available) == ("split", "test", ("female", "male"))


def test_archives_that_are_unpacked_into_separate_folders(folder: Path) -> None:
    for gender, text in (("female", FEMALE), ("male", MALE)):
        (folder / f"line_index_{gender}.tsv").unlink()
        (folder / f"es_{gender}").mkdir()
        (folder / f"es_{gender}/line_index.tsv").write_text(text.replace("gl", "x"), "utf-8")
    write_clip(folder / "es_male/xm_04310_00000000004.wav")
    assert [row.gender for row in read(folder)[0]] == ["female"] * 2 + ["male"] * 3
    usable, _ = check_clips(read(folder, split="male")[0], 30.0)
    assert [row.audio for row in usable] == [str(folder / "es_male/xm_04310_00000000004.wav")] * 2


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as error:
        read(tmp_path)
    assert (error.value.path, error.value.key, error.value.value) == (tmp_path, "reader", "openslr")
