import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from escoita.data.clips import check_clips
from escoita.data.readers import read_corpus
from escoita.data.readers.base import SelectionError
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from tests.samples import write_clip


TABLE = """\
1660\t101.wav\tEla dixo: "Si.\tela dixo si\te l a | d i x o |\t8000\tFEMALE
1660\t102.wav\tEla dixo: "Si.\tela dixo si\te l a | d i x o |\t8000\tMALE
1661\t103.wav\tO 3 de maio\to 3 de maio\to | 3 |\t8000\tMALE
"""


def pack(archive: Path, members: dict[str, bytes | None]) -> None:
    """Write an archive; a member without content is a link to /etc."""
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc"
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content or b""))


@pytest.fixture
def wav(tmp_path: Path) -> bytes:
    return write_clip(tmp_path / "clip.wav").read_bytes()


@pytest.fixture
def tables(tmp_path: Path, wav: bytes) -> Path:
    """Return tables and archives as in the repository, without the third recording."""
    folder = tmp_path / "fleurs"
    for config in ("gl_es", "pt_br"):
        (folder / "data" / config / "audio").mkdir(parents=True)
        (folder / "data" / config / "test.tsv").write_text(TABLE, "utf-8")
        (folder / "data" / config / "dev.tsv").write_text("", "utf-8")
    pack(folder / "data/gl_es/audio/test.tar.gz", {"test/101.wav": wav, "test/102.wav": wav, "test/notes.txt": b"x"})
    return folder


@pytest.fixture
def parquet(tmp_path: Path, wav: bytes) -> Path:
    """Return parquet files as the Hub converts them."""
    labels = '{"info": {"features": {"gender": {"names": ["male", "female", "other"], "_type": "ClassLabel"}}}}'
    rows = {
        "id": [1660, 1660, 1661],
        "num_samples": [8000, 8000, 8000],
        "path": ["/gone/101.wav", "/gone/102.wav", "/gone/103.wav"],
        "audio": [{"bytes": wav, "path": f"10{number}.wav"} for number in (1, 2, 3)],
        "transcription": ["ela dixo si", "ela dixo si", ""],
        "raw_transcription": ["Ela dixo: Si.", "Ela dixo: Si.", "O 3 de maio"],
        "gender": [1, 0, -1],
        "lang_id": [28, 28, 28],
        "language": ["Galician", "Galician", "Galician"],
    }
    table = pa.table(rows).replace_schema_metadata({"huggingface": labels})
    for name in ("gl_es/test/0000.parquet", "parquet-data/pt_br/test-00000-of-00001.parquet"):
        (tmp_path / name).parent.mkdir(parents=True)
        pq.write_table(table, tmp_path / name)
    return tmp_path


def read(folder: Path, **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="fleurs", path=str(folder), reader="fleurs", **keys), "uz")


def test_tables_and_an_archive(tables: Path) -> None:
    utterances, rejected = read(tables, config="gl_es", split="test")
    assert not rejected and [row.id for row in utterances] == ["101", "102", "103"]
    assert [row.text for row in utterances] == ["ela dixo si", "ela dixo si", "o 3 de maio"]
    assert [row.gender for row in utterances] == ["female", "male", "male"]
    assert {(row.language, row.split, row.duration) for row in utterances} == {("gl", "test", 0.5)}
    usable, (missing,) = check_clips(utterances, 30.0)
    assert len(usable) == 2 and missing.row == 3
    assert missing.audio == str(tables / "data/gl_es/audio/test/103.wav")


def test_the_transcript_with_capitals_and_punctuation(tables: Path) -> None:
    utterances, _ = read(tables, config="gl_es", split="test", columns={"text": "raw_transcription"}, limit=1)
    assert [row.text for row in utterances] == ['Ela dixo: "Si.']


def test_recordings_that_are_already_unpacked_are_used(tables: Path, wav: bytes) -> None:
    loose = tables / "data/pt_br/audio/test"
    loose.mkdir()
    (loose / "103.wav").write_bytes(wav)
    utterances, _ = read(tables / "data/pt_br", split="test")
    usable, missing = check_clips(utterances, 30.0)
    assert [row.audio for row in usable] == [str(loose / "103.wav")] and len(missing) == 2
    assert usable[0].language == "pt"


def test_an_archive_is_unpacked_once_until_it_changes(tables: Path, wav: bytes) -> None:
    archive = tables / "data/gl_es/audio/test.tar.gz"
    first = read(tables, config="gl_es", split="test")[0][0].audio
    Path(first).write_bytes(b"old")
    assert read(tables, config="gl_es", split="test")[0][0].audio == first and Path(first).read_bytes() == b"old"
    pack(archive, {"test/101.wav": wav, "test/102.wav": wav, "test/103.wav": wav})
    usable, rejected = check_clips(read(tables, config="gl_es", split="test")[0], 30.0)
    assert len(usable) == 3 and not rejected


def test_parquet_files(parquet: Path) -> None:
    utterances, (rejected,) = read(parquet, config="gl_es", split="test")
    assert (rejected.row, rejected.reason) == (3, "empty transcript")
    assert [(row.id, row.audio) for row in utterances] == [("101", "101.wav"), ("102", "102.wav")]
    assert [row.gender for row in utterances] == ["female", "male"]
    assert {(row.language, row.split) for row in utterances} == {("gl", "test")}
    usable, broken = check_clips(utterances, 30.0)
    assert [row.audio_seconds for row in usable] == [0.5, 0.5] and not broken


def test_parquet_files_with_other_names_and_the_raw_transcript(parquet: Path) -> None:
    columns = {"text": "raw_transcription"}
    utterances, _ = read(parquet, config="pt_br", split="test", columns=columns, language="gl")
    assert [row.text for row in utterances] == ["Ela dixo: Si.", "Ela dixo: Si.", "O 3 de maio"]
    assert [row.gender for row in utterances] == ["female", "male", ""] and utterances[0].language == "gl"


@pytest.mark.parametrize(
    "keys, key, value, available",
    [
        ({"split": "test"}, "config", None, ("gl_es", "pt_br")),
        ({"split": "test", "config": "gl"}, "config", "gl", ("gl_es", "pt_br")),
        ({"config": "gl_es"}, "split", None, ("dev", "test")),
        ({"config": "gl_es", "split": "train"}, "split", "train", ("dev", "test")),
    ],
)
def test_a_selection_that_is_missing_lists_the_choices(
    tables: Path, keys: dict, key: str, value: str | None, available: tuple[str, ...]
) -> None:
    with pytest.raises(SelectionError) as error:
        read(tables, **keys)
    assert (error.value.key, error.value.value, error.value.available) == (key, value, available)
    assert "\n" not in str(error.value)


def test_recordings_outside_of_the_folder_are_not_read(tables: Path, tmp_path: Path) -> None:
    table = tables / "data/gl_es/test.tsv"
    table.write_text(TABLE.replace("101.wav", str(tmp_path / "clip.wav")), "utf-8")
    rows, _ = read(tables, split="test", config="gl_es")
    assert all(Path(row.audio) != tmp_path / "clip.wav" for row in rows)


def test_a_missing_archive_is_named(tables: Path) -> None:
    with pytest.raises(CorpusError) as error:
        read(tables, config="pt_br", split="test")
    assert error.value.path == tables / "data/pt_br/audio/test.tar.gz"


@pytest.mark.parametrize("language, folder", [("gl", "gl"), ("glg", "glg"), ("pt-BR", "pt-BR")])
def test_the_language_of_the_recipe_selects_the_configuration(parquet: Path, language: str, folder: str) -> None:
    utterances, _ = read(parquet, split="test", language=language)
    assert {row.language for row in utterances} == {folder}
    assert utterances[0].source.endswith("0000.parquet") is (language != "pt-BR")


@pytest.mark.parametrize("samples", ["9" * 400, "9" * 5000, "²", "-1", "nan"])
def test_an_impossible_number_of_samples_is_not_used(tables: Path, samples: str) -> None:
    table = tables / "data/gl_es/test.tsv"
    first, *others = table.read_text("utf-8").splitlines()
    fields = first.split("\t")
    table.write_text("\n".join(["\t".join([*fields[:5], samples, *fields[6:]]), *others]), "utf-8")
    utterances, _ = read_corpus(
        Corpus(name="f", path=str(tables), reader="fleurs", config="gl_es", split="test"), "gl"
    )
    assert utterances[0].duration is None
