import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escoita.audio.loading import Recording
from escoita.data import clips
from escoita.data.clips import CACHE, Measure, SimilarFiles, check_clips, measure_clips, read_clip
from escoita.data.rows import Utterance, Utterances
from escoita.errors import AudioError
from escoita.utils.files import cache_folder
from tests.samples import pitch, tone, write_clip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the cache, in an empty folder."""
    monkeypatch.setenv("ESCOITA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / CACHE


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the names of decoded recordings."""
    names: list[str] = []
    read = clips.decode_clip

    def listed(utterance: Utterance) -> Recording:
        names.append(Path(utterance.audio).name)
        return read(utterance)

    monkeypatch.setattr(clips, "decode_clip", listed)
    return names


def clip(audio: str | Path, row: int = 1, **fields: Any) -> Utterance:
    return Utterance(str(row), str(audio), fields.pop("text", "un"), "voices", "gl", "m.jsonl", row, **fields)


def lengths(*rows: Utterance) -> list[float]:
    return [measure.seconds for measure in measure_clips(Utterances.of(rows))]


def test_a_clip_is_decoded_once(tmp_path: Path, decoded: list[str]) -> None:
    rows = [clip(write_clip(tmp_path / f"{name}.wav", tone(seconds=size))) for name, size in (("a", 0.5), ("b", 0.9))]
    first = list(measure_clips(Utterances.of(rows)))
    assert [measure.seconds for measure in first] == [0.5, 0.9] and sorted(decoded) == ["a.wav", "b.wav"]
    assert all(measure.fingerprint for measure in first)
    again = list(measure_clips(Utterances.of(reversed(rows))))
    assert again == first[::-1] and len(decoded) == 2


def test_a_clip_that_changes_is_decoded_again(tmp_path: Path, decoded: list[str]) -> None:
    path = write_clip(tmp_path / "a.wav")
    before = path.stat()
    assert lengths(clip(path)) == [0.5]
    write_clip(path, tone(seconds=0.8))
    assert lengths(clip(path)) == [0.8]
    write_clip(path, tone(880, seconds=0.8))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert lengths(clip(path)) == [0.8]
    assert decoded == ["a.wav"] * 3


def test_a_file_is_decoded_once_for_all_its_paths(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    assert lengths(clip("a.wav")) + lengths(clip("./a.wav")) + lengths(clip(tmp_path / "a.wav")) == [0.5] * 3
    assert decoded == ["a.wav"]


def test_an_embedded_clip_is_identified_by_its_content(tmp_path: Path, decoded: list[str]) -> None:
    content = write_clip(tmp_path / "a.flac").read_bytes()
    other = write_clip(tmp_path / "b.flac", tone(seconds=0.7)).read_bytes()
    assert lengths(clip("first.flac", embedded=content)) == [0.5]
    assert lengths(clip("second.flac", embedded=content), clip("first.flac", embedded=other)) == [0.5, 0.7]
    assert decoded == ["first.flac", "first.flac"]


def test_each_segment_of_a_recording_is_measured(tmp_path: Path, decoded: list[str]) -> None:
    path = write_clip(tmp_path / "a.wav", np.concatenate([tone(440, 1.0), tone(880, 1.0)]))
    complete, first = clip(path), clip(path, offset=0.0, duration=0.4)
    second, rest = clip(path, offset=1.0, duration=0.6), clip(path, offset=0.5)
    for _ in range(2):
        assert lengths(complete, first, second, rest) == [2.0, 0.4, 0.6, 1.5]
    assert len(decoded) == 4
    assert pitch(read_clip(first)) == pytest.approx(440, abs=3) and pitch(read_clip(second)) == pytest.approx(
        880, abs=3
    )


def test_a_duration_without_an_offset_is_not_used(tmp_path: Path) -> None:
    assert lengths(clip(write_clip(tmp_path / "a.wav"), duration=0.2)) == [0.5]


def test_clips_that_cannot_be_read_are_decoded_again(tmp_path: Path, decoded: list[str]) -> None:
    path = tmp_path / "a.wav"
    missing, content = clip(path), clip("b.wav", embedded=b"junk")
    assert [bool(measure.reason) for measure in measure_clips(Utterances.of([missing, content]))] == [True, True]
    write_clip(path)
    (now, still) = measure_clips(Utterances.of([missing, content]))
    assert now.seconds == 0.5 and not now.reason
    assert still == Measure(0.0, b"", still.reason) and still.reason
    assert sorted(decoded) == ["a.wav", "a.wav", "b.wav", "b.wav"]


def test_an_invalid_path() -> None:
    (measure,) = measure_clips(Utterances.of([clip("nu\0ll.wav")]))
    assert measure.reason and measure.seconds == 0


def test_more_clips_than_a_block(tmp_path: Path, decoded: list[str]) -> None:
    paths = [write_clip(tmp_path / f"{size}.wav", tone(seconds=size / 10)) for size in range(1, 8)]
    indices = np.random.default_rng(1).integers(0, 7, 1_200)
    rows = [clip(paths[index]) for index in indices]
    for _ in range(2):
        assert lengths(*rows) == [(index + 1) / 10 for index in indices]
    assert len(decoded) < 600, "a recording may be decoded twice in one block, but not again in the next"


def blocked(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")


def damaged(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(b"this is not a database " * 100)


def with_another_schema(cache: Path) -> None:
    cache.parent.mkdir()
    with sqlite3.connect(cache) as database:
        database.execute("CREATE TABLE clips (key BLOB PRIMARY KEY)")


@pytest.mark.parametrize("damage", [blocked, damaged, with_another_schema])
def test_clips_are_measured_without_a_cache(
    tmp_path: Path, cache: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(cache)
    assert lengths(*[clip(write_clip(tmp_path / "a.wav"))] * 1_100) == [0.5] * 1_100
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "ESCOITA_CACHE" in line]
    assert warning.startswith(str(cache.parent))


def test_the_folder_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ESCOITA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_folder() == Path("/var/cache/escoita")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/escoita"


def test_a_clip_as_long_as_the_limit_is_used(tmp_path: Path) -> None:
    rows = Utterances.of([clip(write_clip(tmp_path / "good.wav"))])
    usable, rejected = check_clips(rows, max_audio_seconds=0.5)
    assert [each.audio_seconds for each in usable] == [0.5] and not rejected


def test_every_unusable_clip_is_rejected_with_a_reason(tmp_path: Path) -> None:
    good, nan = write_clip(tmp_path / "good.wav"), tone()
    nan[3] = np.nan
    write_clip(tmp_path / "nan.wav", nan, subtype="FLOAT")
    write_clip(tmp_path / "none.wav", np.zeros(0, np.float32))
    write_clip(tmp_path / "long.wav", tone(seconds=1.5))
    (tmp_path / "junk.wav").write_bytes(b"junk")
    bad = ["missing.wav", "nan.wav", "none.wav", "long.wav", "junk.wav"]
    rows = [clip(path, row) for row, name in enumerate(bad, 1) for path in (good, tmp_path / name)]
    usable, rejected = check_clips(Utterances.of(rows), max_audio_seconds=1.0)
    assert [each.row for each in usable] == [1, 2, 3, 4, 5] and {each.audio_seconds for each in usable} == {0.5}
    assert [(each.source, each.row, each.audio) for each in rejected] == [
        ("m.jsonl", row, str(tmp_path / name)) for row, name in enumerate(bad, 1)
    ]
    assert len({each.reason for each in rejected}) == len(bad) and "1.5 s" in rejected[3].reason


def test_without_a_limit_long_recordings_are_used(tmp_path: Path) -> None:
    rows = Utterances.of([clip(write_clip(tmp_path / "long.wav", tone(seconds=31)))])
    usable, rejected = check_clips(rows, max_audio_seconds=None)
    assert [each.audio_seconds for each in usable] == [31.0] and not rejected


def test_a_transcript_with_a_special_token_is_rejected(tmp_path: Path) -> None:
    good = write_clip(tmp_path / "good.wav")
    rows = Utterances.of([clip(good), clip(good, 2, text="un <|audio|> dous")])
    usable, (rejected,) = check_clips(rows, 30.0, ["<|turn>", "<|audio|>"])
    assert len(usable) == 1 and rejected.row == 2
    assert "<|audio|>" in rejected.reason


def test_a_clip_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, row in (
        (tmp_path / "a.wav", clip(tmp_path / "a.wav")),
        ("inside.flac", clip("inside.flac", embedded=b"junk")),
    ):
        with pytest.raises(AudioError) as error:
            read_clip(row)
        assert str(error.value.path) == str(path)


def test_a_missing_recording_is_found_in_another_folder_or_with_another_name(tmp_path: Path) -> None:
    (tmp_path / "more/deep").mkdir(parents=True)
    for name in ("more/deep/a.wav", "more/B.WAV", "c.flac", "d.txt"):
        (tmp_path / name).touch()
    find = SimilarFiles()

    def found(audio: str) -> str:
        row = Utterance("1", str(tmp_path / audio), "un", "c", "gl", str(tmp_path / "m.jsonl"), 1)
        return find(row)

    assert found("a.wav") == str(tmp_path / "more/deep/a.wav")
    assert found("clips/b.wav") == str(tmp_path / "more/B.WAV")
    assert found("c.mp3") == str(tmp_path / "c.flac")
    assert found("d.wav") == found("e.wav") == ""


def test_a_row_without_a_manifest_on_disk_has_no_similar_file() -> None:
    assert SimilarFiles()(Utterance("1", "a.wav", "un", "c", "gl", "user/dataset", 1)) == ""


def test_a_rejected_row_names_the_similar_file(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.wav").touch()
    rows = Utterances.of([Utterance("1", str(tmp_path / "a.wav"), "un", "c", "gl", str(tmp_path / "m.jsonl"), 1)])
    _, (rejected,) = check_clips(rows, None)
    assert rejected.similar == str(tmp_path / "clips/a.wav") and rejected.similar in str(rejected)
    assert str(tmp_path) not in rejected.public() and "a.wav" in rejected.public()
