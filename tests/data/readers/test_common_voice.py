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


HEADER = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
).split()
CLIP = "common_voice_gl_{}.mp3"


def line(number: int, sentence: str, gender: str = "", accents: str = "") -> str:
    row = [f"client{number}", CLIP.format(number), f"s{number}", sentence, "", "2", "0", "thirties", gender, accents]
    return "\t".join([*row, "", "gl", ""])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a language folder in which the third clip of the test split is missing."""
    folder = tmp_path / "cv-corpus-23.0/gl"
    (folder / "clips").mkdir(parents=True)
    for number in (1, 2, 4):
        write_clip(folder / "clips" / CLIP.format(number), tone(rate=32_000), 32_000)
    test = [line(1, '"Ola, dixo.', "female_feminine", "Galego occidental"), line(2, "Bo día"), line(3, "Tres"), ""]
    tables = {"test": test, "train": [line(4, "Catro"), line(4, "  ")], "other": []}
    for split, lines in tables.items():
        (folder / f"{split}.tsv").write_text("\n".join(["\t".join(HEADER), *lines]), "utf-8")
    durations = ["clip\tduration[ms]", f"{CLIP.format(1)}\t504", f"{CLIP.format(2)}\t-", f"{CLIP.format(9)}\t1"]
    (folder / "clip_durations.tsv").write_text("\n".join(durations))
    return folder


def read(folder: Path, **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="cv", path=str(folder), reader="common_voice", **keys), "uz")


def test_a_split_is_read_with_its_speakers(folder: Path) -> None:
    utterances, rejected = read(folder, split="test")
    assert not rejected and [row.text for row in utterances] == ['"Ola, dixo.', "Bo día", "Tres"]
    first = utterances[0]
    assert (first.id, first.audio) == ("common_voice_gl_1", str(folder / "clips" / CLIP.format(1)))
    assert (first.speaker, first.gender, first.accent) == ("client1", "female", "Galego occidental")
    assert (first.language, first.split, first.corpus) == ("gl", "test", "cv")
    assert (first.source, first.row) == (str(folder / "test.tsv"), 2)
    assert [row.duration for row in utterances] == [0.504, None, None]
    usable, (missing,) = check_clips(utterances, 30.0)
    assert len(usable) == 2 and missing.row == 4


def test_an_empty_sentence_is_rejected(folder: Path) -> None:
    (utterance,), (rejected,) = read(folder, split="train")
    assert utterance.text == "Catro" and (rejected.row, rejected.reason) == (3, "empty transcript")


@pytest.mark.parametrize("name", ["../../../secret.wav", "{}/secret.wav"])
def test_recordings_outside_of_the_folder_are_not_read(folder: Path, tmp_path: Path, name: str) -> None:
    write_clip(tmp_path / "secret.wav")
    (folder / "dev.tsv").write_text(f"client_id\tpath\tsentence\nabc\t{name.format(tmp_path)}\tola\n", "utf-8")
    usable, (rejected,) = check_clips(read(folder, split="dev")[0], 30.0)
    assert not usable and Path(rejected.audio) == folder / "clips/secret.wav"


def test_an_older_release_with_fewer_columns_and_names_without_suffix(folder: Path) -> None:
    (folder / "clip_durations.tsv").unlink()
    name = CLIP.format(1).removesuffix(".mp3")
    (folder / "dev.tsv").write_text(f"client_id\tpath\tsentence\taccent\nabc\t{name}\tola\tA Mariña\n", "utf-8")
    usable, rejected = check_clips(read(folder, split="dev")[0], 30.0)
    assert not rejected and (usable[0].speaker, usable[0].accent, usable[0].language) == ("abc", "A Mariña", "uz")


def test_a_limit_and_another_column(folder: Path) -> None:
    utterances, _ = read(folder, split="test", limit=1, columns={"text": "sentence_id"})
    assert [row.text for row in utterances] == ["s1"]


@pytest.mark.parametrize(
    "keys, key, value, available",
    [
        ({}, "split", None, ("other", "test", "train")),
        ({"split": "dev"}, "split", "dev", ("other", "test", "train")),
        ({"split": "clip_durations"}, "columns.audio", None, ("clip", "duration[ms]")),
    ],
)
def test_a_split_that_cannot_be_read(
    folder: Path, keys: dict, key: str, value: str | None, available: tuple[str, ...]
) -> None:
    with pytest.raises(SelectionError) as error:
        read(folder, **keys)
    assert (error.value.key, error.value.value, error.value.available) == (key, value, available)
    assert Path(str(error.value.path)).is_relative_to(folder)


def test_an_empty_split(folder: Path) -> None:
    with pytest.raises(CorpusError) as error:
        read(folder, split="other")
    assert (error.value.path, error.value.key, error.value.value) == (str(folder), "split", "other")


def test_spontaneous_speech_is_read_by_the_column_of_the_split(tmp_path: Path) -> None:
    (tmp_path / "audios").mkdir()
    header = (
        "client_id audio_id audio_file duration_ms prompt_id prompt transcription votes age gender language split"
        " char_per_sec quality_tags"
    ).split()
    lines = ["\t".join(header)]
    for number, split, text in ((1, "train", "bo día"), (2, "test", 'ata "mañá'), (3, "", "")):
        clip = write_clip(tmp_path / "audios" / f"spontaneous-speech-gl-{number}.wav").name
        fields = [f"c{number}", str(number), clip, "500", "1", "Que tal?", text, "0", "", "", "gl", split, "8.0", ""]
        lines.append("\t".join(fields))
    (tmp_path / "ss-corpus-gl.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    (row,), rejected = read(tmp_path, split="test")
    assert (row.text, row.speaker, row.split, row.duration, row.language) == ('ata "mañá', "c2", "test", 0.5, "gl")
    assert not rejected and row.audio == str(tmp_path / "audios/spontaneous-speech-gl-2.wav")
    with pytest.raises(SelectionError) as caught:  # train and test would be read together
        read(tmp_path)
    assert (caught.value.key, caught.value.available) == ("split", ("test", "train"))
    with pytest.raises(SelectionError) as caught:
        read(tmp_path, split="dev")
    assert caught.value.available == ("test", "train")
    (tmp_path / "ss-corpus-es.tsv").write_text("", "utf-8")
    with pytest.raises(CorpusError):
        read(tmp_path, split="test")
