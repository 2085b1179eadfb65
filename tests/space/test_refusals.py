from pathlib import Path

import numpy as np
import pytest
import soundfile

from escoita.errors import AudioError, EscoitaError
from escoita.recipe.schema import Space
from escoita.space.client_limits import MEGABYTE, limits
from tests.space.stub import CLIP, FORMATS, heard, write_clip


def message(path: Path | None, settings: Space | None = None) -> str:
    with pytest.raises(EscoitaError) as caught:
        heard(path, settings)
    return str(caught.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_heard(tmp_path: Path, kind: str) -> None:
    transcript = heard(write_clip(tmp_path / f"clip.{kind}"))
    assert transcript.text == "salom"
    assert transcript.audio_seconds == pytest.approx(1.0, abs=0.1)


def test_nothing_recorded() -> None:
    assert message(None) == "Nothing to transcribe yet: record something, or choose a file."


def test_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(16_000, np.float32), 16_000)
    assert message(tmp_path / "quiet.wav") == "quiet.wav: nothing can be heard in it"


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "nothing.wav").touch()
    assert message(tmp_path / "nothing.wav") == "nothing.wav: the file is empty"


def test_an_upload_that_was_deleted_meanwhile(tmp_path: Path) -> None:
    assert message(tmp_path / "old.wav") == "old.wav: deleted here meanwhile; record or choose it again"


def test_no_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(0, np.float32), 16_000)
    assert message(tmp_path / "short.wav") == "short.wav: holds no samples"


@pytest.mark.parametrize("content", [b"%PDF-1.7\n1 0 obj\n", b"RIFF\x24\x00\x00\x00WAVE", b"\x00" * 99])
def test_unreadable_files_are_named_without_their_folder(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.wav"
    path.write_bytes(content)
    assert message(path).startswith("letter.wav: not a recording that can be read")


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "half.m4a"
    path.write_bytes(write_clip(tmp_path / "whole.m4a").read_bytes()[:400])
    assert message(path).startswith("half.m4a: ")


def test_too_many_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "big.wav"
    path.write_bytes(b"x" * (MEGABYTE + MEGABYTE // 2))
    assert message(path, Space(max_megabytes=1)) == "big.wav: 1.5 MB is over the 1 MB that this page takes"


@pytest.mark.parametrize("kind", FORMATS)
def test_too_many_minutes(tmp_path: Path, kind: str) -> None:
    path = write_clip(tmp_path / f"long.{kind}", 7)
    assert message(path, Space(max_minutes=0.1)) == f"long.{kind}: longer than the 6 seconds that this page takes"
    assert heard(path, Space(max_minutes=0.15)).audio_seconds == pytest.approx(7, abs=0.2)


def test_longer_than_the_model_hears_at_once(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.flac", 31)
    assert heard(path, Space(max_minutes=5)).audio_seconds == 31.0


def test_a_small_file_that_holds_hours_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.space.stub.read_audible", lambda path, limit: pytest.fail("decoded"))
    with soundfile.SoundFile(tmp_path / "bomb.flac", "w", 16_000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(60 * 16_000, np.float32))
    assert (tmp_path / "bomb.flac").stat().st_size < MEGABYTE
    with pytest.raises(AudioError, match=r"^bomb\.flac: longer than the 30 seconds that this page takes$"):
        heard(tmp_path / "bomb.flac")


def test_limits_as_one_says_them() -> None:
    assert limits(Space(max_minutes=5)) == "5 minutes and 10 MB"
    assert limits(Space(max_minutes=0.2, max_megabytes=0.5)) == "12 seconds and 0.5 MB"
    assert limits(Space(max_minutes=0.5), "gl") == "30 segundos e 10 MB"


def test_a_real_clip() -> None:
    assert heard(CLIP).audio_seconds == pytest.approx(0.77, abs=0.01)
