import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from escoita.data.clips import check_clips, read_clip
from escoita.data.readers import parquet, read_corpus
from escoita.data.readers.base import SelectionError
from escoita.data.readers.recordings import CountError, UnpackedSizeError
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError, RecordError
from escoita.recipe.schema import Corpus
from escoita.utils import untrusted
from tests.fuzz.inputs import no_text
from tests.samples import pitch, tone, write_clip


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),  # as Polars writes texts
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]


@pytest.fixture
def wav(tmp_path: Path) -> bytes:
    return write_clip(tmp_path / "clip.wav").read_bytes()


@pytest.fixture
def mp3(tmp_path: Path) -> bytes:
    return write_clip(tmp_path / "clip.mp3", tone(rate=32_000, seconds=1), 32_000).read_bytes()


def write(target: Path, **columns: Any) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), target)
    return target


def read(path: Path | str, **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="voices", path=str(path), reader="parquet", **keys), "gl")


def test_audio_as_the_hub_stores_it(tmp_path: Path, wav: bytes, mp3: bytes) -> None:
    (tmp_path / "data").mkdir()
    write_clip(tmp_path / "data/loose.flac")
    audio: list[dict | None] = [{"bytes": wav, "path": "a.wav"}, {"bytes": mp3, "path": None}]
    audio += [{"bytes": None, "path": "loose.flac"}, {"bytes": None, "path": None}, None]
    audio += [{"bytes": wav, "path": "b.wav"}, {"bytes": b"junk", "path": "c.wav"}, {"bytes": wav, "path": "d.wav"}]
    path = write(
        tmp_path / "data/voices.parquet",
        audio=audio,
        path=["x.wav"] * 8,
        sentence=["un", "dous", "tres", "catro", "cinco", None, "sete", " oito "],
        speaker_id=[1, 2, 3, 4, 5, 6, 7, None],
        duration=[0.5, 1.0, float("nan"), 1, 1, 1, 1, 1],
    )
    utterances, rejected = read(path)
    assert [(row.row, row.audio) for row in rejected] == [(4, ""), (5, ""), (6, "b.wav")]
    assert "'sentence'" in rejected[2].reason
    assert [(row.row, row.id, row.audio) for row in utterances] == [
        (1, "a", "a.wav"),
        (2, "row 2", "row 2"),
        (3, "loose", str(tmp_path / "data/loose.flac")),
        (7, "c", "c.wav"),
        (8, "d", "d.wav"),
    ]
    assert [row.speaker for row in utterances] == ["1", "2", "3", "7", ""] and utterances[4].text == "oito"
    assert [row.embedded for row in utterances] == [wav, mp3, None, b"junk", wav]
    assert utterances[2].duration is None and {row.source for row in utterances} == {str(path)}
    usable, (broken,) = check_clips(utterances, 30.0)
    assert [row.audio_seconds for row in usable] == [0.5, 1.0, 0.5, 0.5]
    assert (broken.source, broken.row, broken.audio) == (str(path), 7, "c.wav")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_binary_column_of_any_name(tmp_path: Path, wav: bytes, kind: pa.DataType) -> None:
    path = write(tmp_path / "m.parquet", son=pa.array([wav, wav], kind), frase=["un", "dous"], id=["x", "x"])
    utterances, rejected = read(path, columns={"text": "frase"})
    assert not rejected and [(row.id, row.embedded) for row in utterances] == [("x#1", wav), ("x#2", wav)]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64())])
def test_decoded_samples_with_a_column_of_rates(tmp_path: Path, kind: pa.DataType) -> None:
    samples = [tone(rate=8_000).tolist(), tone(880).tolist(), None, tone().tolist()]
    rates = [8_000, 16_000, 16_000, None]
    path = write(tmp_path / "a.parquet", audio=pa.array(samples, kind), sampling_rate=rates, text=["un"] * 4)
    utterances, rejected = read(path)
    assert [row.row for row in rejected] == [3, 4]
    usable, broken = check_clips(utterances, None)
    assert not broken and usable.column("audio_seconds") == [0.5, 0.5]
    np.testing.assert_allclose(read_clip(usable[1]), tone(880), atol=1e-6)
    assert pitch(read_clip(usable[0])) == pytest.approx(440, abs=5)


def test_decoded_audio_as_datasets_returns_it(tmp_path: Path) -> None:
    audio = [{"path": "a.wav", "array": tone().tolist(), "sampling_rate": 16_000}]
    utterances, rejected = read(write(tmp_path / "a.parquet", audio=audio, text=["un"]))
    assert not rejected and [row.audio for row in utterances] == ["a.wav"]
    np.testing.assert_allclose(read_clip(utterances[0]), tone(), atol=1e-6)


def test_decoded_samples_without_a_rate_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", audio=[tone().tolist()], text=["un"])
    with pytest.raises(CorpusError) as error:
        read(path)
    assert error.value.path == path


def test_a_column_of_paths(tmp_path: Path) -> None:
    path = write(tmp_path / "m.parquet", file=["a.wav", "/b.wav"], text=["un", "dous"])
    utterances, _ = read(path)
    assert [row.audio for row in utterances] == [str(tmp_path / "a.wav"), "/b.wav"]


def test_files_of_a_split_are_found_by_name_or_folder(tmp_path: Path, wav: bytes) -> None:
    for name, text in {
        "train-00000-of-00001": "un",
        "test-00000-of-00002": "dous",
        "test-00001-of-00002": "tres",
    }.items():
        write(tmp_path / f"data/{name}.parquet", audio=[wav], text=[text])
    write(tmp_path / "extra/other/0000.parquet", audio=[wav], text=["catro"])
    utterances, _ = read(tmp_path, split="test")
    assert [(row.text, row.split, row.row) for row in utterances] == [("dous", "test", 1), ("tres", "test", 1)]
    assert [row.text for row in read(tmp_path, split="other")[0]] == ["catro"]
    assert [row.text for row in read(tmp_path / "data/test-*.parquet")[0]] == ["dous", "tres"]
    assert [row.text for row in read(tmp_path / "**/0*.parquet")[0]] == ["catro"]
    assert [row.text for row in read(tmp_path, split="test", limit=1)[0]] == ["dous"]
    with pytest.raises(SelectionError) as error:
        read(tmp_path)
    assert (error.value.key, error.value.value, error.value.available) == ("split", None, ("test", "train"))
    with pytest.raises(SelectionError) as error:
        read(tmp_path, split="dev")
    assert (error.value.key, error.value.value, error.value.available) == ("split", "dev", ("test", "train"))


def test_rows_of_a_split_are_found_by_column(tmp_path: Path, wav: bytes) -> None:
    for number, splits in enumerate([["train", "train"], ["test", "train"]]):
        write(tmp_path / f"{number}.parquet", audio=[wav, wav], text=[f"a{number}", f"b{number}"], split=splits)
    (utterance,), _ = read(tmp_path, split="test")
    assert (utterance.text, utterance.split, utterance.embedded) == ("a1", "test", wav)
    with pytest.raises(SelectionError) as error:
        read(tmp_path, split="dev")
    assert (error.value.key, error.value.value, error.value.available) == ("split", "dev", ("test", "train"))


def test_recordings_are_mapped_and_written_to_the_cache_once(tmp_path: Path) -> None:
    recordings = [os.urandom(50_000) for _ in range(200)]
    texts = ["" if number % 7 == 3 else f"frase {number}" for number in range(200)]
    path = write(tmp_path / "m.parquet", audio=[{"bytes": one, "path": None} for one in recordings], text=texts)
    before = pa.total_allocated_bytes()
    utterances, rejected = read(path)
    assert pa.total_allocated_bytes() - before < 1_000_000
    assert len(rejected) == 29 and len(utterances) == 171
    for usable in (utterances, utterances.take([5, 3]), Utterances.concatenated([utterances, utterances])[150:]):
        assert all(row.embedded == recordings[row.row - 1] for row in usable)
    (mapped,) = [
        item for item in Path(os.environ["ESCOITA_CACHE"], "recordings").iterdir() if item.stat().st_size > 9e6
    ]
    status = mapped.stat()
    read(path)
    assert mapped.stat() == status


def test_the_cache_distinguishes_the_columns_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "m.parquet", near=[b"near"], far=[b"far"], text=["un"])
    for column in ("near", "far"):
        assert read(path, columns={"audio": column})[0][0].embedded == column.encode()
    with pytest.raises(SelectionError) as error:
        read(path)
    assert (error.value.path, error.value.key) == (path, "columns.audio")
    assert error.value.available == ("near", "far")


def test_a_damaged_file_is_not_reported_as_a_cache_error(tmp_path: Path) -> None:
    path = tmp_path / "voices.parquet"
    pq.write_table(
        pa.table({"audio": [b"RIFF" * 10_000], "text": ["un"]}), path, compression="zstd", use_dictionary=False
    )
    content = bytearray(path.read_bytes())
    start = content.index(b"\x28\xb5\x2f\xfd")  # the start of a zstd page
    content[start + 4 : start + 12] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(CorpusError) as error:
        read(path)
    assert error.value.path == path and "ESCOITA_CACHE" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path, wav: bytes) -> None:
    (tmp_path / "junk.parquet").write_bytes(b"junk")
    write(tmp_path / "text.parquet", text=["un"])
    write(tmp_path / "audio.parquet", audio=[wav], frase=["un"])
    for path, key in {
        tmp_path / "no.parquet": None,
        tmp_path / "junk.parquet": None,
        tmp_path / "text.parquet": "columns.audio",
        tmp_path / "audio.parquet": "columns.text",
    }.items():
        with pytest.raises(CorpusError) as error:
            read(path)
        assert (str(error.value.path), error.value.key) == (str(path), key) and "\n" not in str(error.value)


@pytest.mark.parametrize("column", ["text", "speaker", "path"])
def test_text_that_is_not_utf_8_is_refused(tmp_path: Path, wav: bytes, column: str) -> None:
    columns = {"path": pa.array(["a.wav", "b.wav"]), "text": ["un", "dous"], "speaker": ["a", "b"]}
    columns[column] = no_text(2)
    audio = pa.StructArray.from_arrays([pa.array([wav, wav]), columns.pop("path")], ["bytes", "path"])
    path = write(tmp_path / "voices.parquet", audio=audio, **columns)
    with pytest.raises(CorpusError) as error:
        read(path)
    assert error.value.path == path and "\n" not in str(error.value)


@pytest.mark.parametrize("rate", [0.5, 2.5, -1.0, float("nan"), float("inf"), 1e12])
def test_samples_with_an_impossible_rate_are_rejected(tmp_path: Path, rate: float) -> None:
    write(tmp_path / "a.parquet", audio=[[0.1] * 800] * 2, sampling_rate=[16_000.0, rate], text=["un", "dous"])
    utterances, rejected = read(tmp_path / "a.parquet")
    assert (len(utterances), [row.row for row in rejected]) == (1, [2])


def _repeated(path: Path, wav: bytes, text: str, count: int, kind: pa.DataType = TEXT_TYPES[0]) -> Path:
    audio_kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = pa.array([{"bytes": wav, "path": "a.wav"}], audio_kind).take(pa.array([0] * count))
    if pa.types.is_dictionary(kind):
        indices = pa.array([0] * count, kind.index_type)
        texts = pa.DictionaryArray.from_arrays(indices, pa.array([text], kind.value_type))
    else:
        texts = pa.array([text] * count, kind)
    pq.write_table(pa.table({"audio": audio, "text": texts}), path, compression="zstd")
    return path


def test_rows_that_repeat_one_value_are_refused_before_they_are_decoded(tmp_path: Path, wav: bytes) -> None:
    path = _repeated(tmp_path / "a.parquet", wav, "ola", 50_000)
    assert path.stat().st_size < 50_000
    with pytest.raises(CountError) as refused:
        read(path)
    assert (refused.value.path, refused.value.items, refused.value.limit) == (path, "rows", path.stat().st_size)


def test_recordings_that_grow_when_they_are_copied_are_refused(
    tmp_path: Path, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _repeated(tmp_path / "a.parquet", wav, "ola", 500)
    monkeypatch.setattr(parquet, "ALWAYS_BYTES", 100_000)
    monkeypatch.setattr(parquet, "MOST_GROWTH", 20)
    with pytest.raises(UnpackedSizeError):
        read(path)
    assert not list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_texts_are_not_decoded_if_they_do_not_fit_into_memory(
    tmp_path: Path, wav: bytes, monkeypatch: pytest.MonkeyPatch, kind: pa.DataType
) -> None:
    path = _repeated(tmp_path / "a.parquet", wav, "x" * 1000, 20, kind)
    assert len(read(path)[0]) == 20
    monkeypatch.setattr(untrusted, "DECODED_BYTES", 10_000)
    with pytest.raises(RecordError):
        read(path)


def test_a_negative_size_of_a_column_does_not_hide_the_others(
    tmp_path: Path, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Column:
        def __init__(self, size: int):
            self.total_uncompressed_size = size

    class Group:
        num_columns = 2

        def column(self, number: int) -> Column:
            return Column([1 << 40, -(1 << 40)][number])

    class Metadata:
        num_rows = num_row_groups = 1

        def row_group(self, number: int) -> Group:
            return Group()

    path = _repeated(tmp_path / "a.parquet", wav, "ola", 1)
    monkeypatch.setattr(parquet.pq, "read_metadata", lambda path: Metadata())
    with pytest.raises(UnpackedSizeError):
        read(path)
