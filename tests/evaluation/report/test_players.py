import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from escoita.data.rows import Utterance
from escoita.evaluation.report.elements import MAX_RECORDING_BYTES, media_type, player
from tests.evaluation.report_samples import quickstart_clips
from tests.samples import pitch, tone, write_clip


def utterance(path: Path) -> Utterance:
    return Utterance("1", str(path), "bir", "clips", "uz", "test.jsonl", 1)


def shipped(uri: str | None) -> tuple[str, bytes]:
    assert uri is not None
    kind, _, encoded = uri.removeprefix("data:").partition(";base64,")
    return kind, base64.b64decode(encoded, validate=True)


def test_a_recording_that_browsers_play_is_shipped_as_it_is() -> None:
    clip = quickstart_clips(1)[0]
    assert shipped(player(clip)) == ("audio/ogg", Path(clip.audio).read_bytes())


@pytest.mark.parametrize("name, kind", [("a.wav", "wav"), ("a.flac", "flac"), ("a.mp3", "mpeg"), ("a.ogg", "ogg")])
def test_its_type_is_what_it_holds_whatever_it_is_called(tmp_path: Path, name: str, kind: str) -> None:
    path = write_clip(tmp_path / name)
    disguised = path.rename(tmp_path / "a.bin")
    assert shipped(player(utterance(disguised)))[0] == f"audio/{kind}"


def test_a_recording_inside_the_corpus_is_shipped_too(tmp_path: Path) -> None:
    encoded = write_clip(tmp_path / "a.flac").read_bytes()
    row = replace(utterance(Path("gone.flac")), embedded=encoded)
    assert shipped(player(row)) == ("audio/flac", encoded)


def test_of_a_long_recording_only_the_part_is_shipped(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "day.wav", np.concatenate([tone(300, 1), tone(900, 1)]))
    kind, encoded = shipped(player(replace(utterance(path), offset=1.0, duration=0.5)))
    samples, rate = soundfile.read(io.BytesIO(encoded))
    assert (kind, rate, len(samples)) == ("audio/flac", 16_000, 8000)
    assert pitch(samples) == pytest.approx(900, abs=2)


def test_what_is_too_large_or_unknown_to_browsers_becomes_what_the_model_hears(tmp_path: Path) -> None:
    large = write_clip(tmp_path / "large.wav", tone(seconds=5, rate=48_000), 48_000)
    assert large.stat().st_size > MAX_RECORDING_BYTES
    odd = write_clip(tmp_path / "odd.au")
    for path in (large, odd):
        kind, encoded = shipped(player(utterance(path)))
        assert kind == "audio/flac" and len(encoded) <= MAX_RECORDING_BYTES
        assert soundfile.info(io.BytesIO(encoded)).samplerate == 16_000


def test_without_a_recording_or_with_one_that_stays_too_large_there_is_no_player(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 30 * 16_000).astype(np.float32)
    broken = tmp_path / "letter.ogg"
    broken.write_bytes(b"%PDF-1.7 Dear Sir")
    assert player(utterance(write_clip(tmp_path / "noise.wav", noise))) is None
    assert player(utterance(tmp_path / "gone.ogg")) is None
    assert player(utterance(broken)) is None


@pytest.mark.parametrize("start", [b"", b"\xff", b"RIFF", b"RIFF0000AVI ", b"\xff\xd8\xff\xe0", b"\x1aE\xdf\xa3"])
def test_what_is_no_sound_that_browsers_play_has_no_type(start: bytes) -> None:
    assert media_type(start) is None


def test_the_same_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    row = replace(utterance(write_clip(tmp_path / "a.ogg", tone(seconds=2))), offset=0.5, duration=1.0)
    assert player(row) == player(row)
