"""Test the refusals of recordings, from real files to messages in each language."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from escoita.errors import AudioError, EscoitaError
from escoita.recipe.schema import Space
from escoita.space.client_limits import MEGABYTE
from escoita.space.refusals import RecordingRefusal, Refusal, refusal, translatable
from escoita.space.texts import LANGUAGES, placeholders, texts, translate
from tests.space.stub import FORMATS, transcribe, write_clip


def refused(path: Path | None, settings: Space | None = None) -> Refusal:
    """Return the refusal of a recording."""
    with pytest.raises(Refusal) as caught:
        transcribe(path, settings)
    return caught.value


def write_silence(path: Path) -> None:
    soundfile.write(path, np.zeros(16_000, np.float32), 16_000)


def write_nan(path: Path) -> None:
    soundfile.write(path, np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")


def write_cut_off(path: Path) -> None:
    whole = write_clip(path.with_name("whole.m4a"))
    path.write_bytes(whole.read_bytes()[:400])


def write_many_channels(path: Path) -> None:
    with soundfile.SoundFile(path, "w", 655_350, 8, format="FLAC") as file:
        for _ in range(29):
            file.write(np.zeros((655_350, 8), np.int16))


# A recording of each kind that is refused, by the key of the text.
BAD_RECORDINGS: list[tuple[str, str, Callable[[Path], object]]] = [
    ("deleted", ".wav", lambda path: None),
    ("empty", ".wav", lambda path: path.touch()),
    ("megabytes", ".wav", lambda path: path.write_bytes(b"x" * 3 * MEGABYTE)),
    ("minutes", ".wav", lambda path: write_clip(path, 31)),
    ("samples", ".flac", write_many_channels),
    ("silence", ".wav", write_silence),
    ("cut_off", ".m4a", write_cut_off),
    ("not_numbers", ".wav", write_nan),
    ("no_samples", ".wav", lambda path: soundfile.write(path, np.zeros(0, np.float32), 16_000)),
    ("too_short", ".wav", lambda path: write_clip(path, 0.01)),
    ("unreadable", ".wav", lambda path: path.write_bytes(b"%PDF-1.7")),
    ("unreadable", ".wav", lambda path: path.write_bytes(b"RIFF\x24\x00\x00\x00WAVE")),
    ("unreadable", ".wav", lambda path: path.write_bytes(bytes(99))),
]


@pytest.mark.parametrize("key, suffix, write", BAD_RECORDINGS)
def test_a_bad_recording_is_refused_in_every_language(
    tmp_path: Path, key: str, suffix: str, write: Callable[[Path], object]
) -> None:
    path = tmp_path / f"{{name}} {{0}}{suffix}"
    write(path)
    error = refused(path, Space(max_megabytes=2.5))
    assert isinstance(error, RecordingRefusal)
    assert (error.text_key, error.path) == (key, path.name)
    values = {name: error.values[name] for name in placeholders(texts("en")[f"refusal.{key}"])}
    for language in LANGUAGES:
        expected = {**values, "time": {"en": "30 seconds", "gl": "30 segundos", "uz": "30 soniya"}[language]}
        assert refusal(error, language) == f"{path.name}: {translate(f'refusal.{key}', language, **expected)}"
    assert str(error) == refusal(error, "en")


def test_no_recording() -> None:
    error = refused(None)
    assert (error.text_key, error.path) == ("no_recording", None)
    assert refusal(error, "gl") == translate("refusal.no_recording", "gl")


def test_a_large_file_is_refused_with_both_sizes(tmp_path: Path) -> None:
    (tmp_path / "big.wav").write_bytes(b"x" * (MEGABYTE + MEGABYTE // 2))
    error = refused(tmp_path / "big.wav", Space(max_megabytes=1))
    assert error.values == {"size": "1.5", "limit": "1"}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_length_of_a_recording_is_limited(tmp_path: Path, kind: str) -> None:
    path = write_clip(tmp_path / f"long.{kind}", 7)
    error = refused(path, Space(max_minutes=0.1))
    assert (error.text_key, error.values) == ("minutes", {"time": 6})
    assert transcribe(path, Space(max_minutes=0.15)).audio_seconds == pytest.approx(7, abs=0.2)


def test_a_small_file_with_hours_of_audio_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.space.stub.read_audible", lambda path, limit: pytest.fail("decoded"))
    with soundfile.SoundFile(tmp_path / "bomb.flac", "w", 16_000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(60 * 16_000, np.float32))
    assert (tmp_path / "bomb.flac").stat().st_size < MEGABYTE
    assert refused(tmp_path / "bomb.flac").text_key == "minutes"


def test_other_errors_are_not_translated() -> None:
    with pytest.raises(AudioError) as caught, translatable(Space()):
        raise AudioError("a new problem", path="/srv/uploads/a.wav", hint="do something")
    error = caught.value
    assert not isinstance(error, Refusal)
    assert (error.path, error.problem, error.hint) == ("a.wav", "a new problem", "do something")
    assert refusal(error, "gl") == str(error)


def test_a_device_without_memory_is_a_refusal() -> None:
    with pytest.raises(Refusal) as caught, translatable(Space()):
        raise EscoitaError("out of memory on a clip of 30.0 s")
    assert caught.value.text_key == "memory"
    with pytest.raises(EscoitaError) as other, translatable(Space()):
        raise EscoitaError("unknown")
    assert other.value.problem == "unknown"


@given(st.text(min_size=1))
def test_any_file_name_is_shown_on_one_line(name: str) -> None:
    error = RecordingRefusal("empty", path=name)
    message = refusal(error, "gl")
    assert message.endswith(f": {translate('refusal.empty', 'gl')}") and len(message.splitlines()) == 1


def test_every_refusal_is_translated() -> None:
    for key, text in texts("en").items():
        group, name = key.split(".")
        if group == "refusal":
            values: dict[str, Any] = dict.fromkeys(placeholders(text), 7)
            error = Refusal(name, **values)
            expected = {**values, "time": "7 segundos"}
            assert refusal(error, "gl") == translate(key, "gl", **expected)
