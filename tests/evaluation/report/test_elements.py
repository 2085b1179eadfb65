import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from escoita.data.rows import Utterance
from escoita.evaluation.aggregate import score
from escoita.evaluation.report import elements as module
from escoita.evaluation.report.data import ScoredPredictions, read_scored_predictions
from escoita.evaluation.report.elements import (
    MAX_RECORDING_BYTES,
    WorstUtterance,
    media_type,
    player,
    share,
    with_players,
    worst_utterances,
)
from tests.evaluation.report_samples import clips_of, quickstart_clips, write_hypotheses
from tests.samples import pitch, tone, write_clip


def scored(
    folder: Path, references: Sequence[str], hypotheses: Sequence[str], corpus: str = "clips", normalizer: str = "raw"
) -> list[ScoredPredictions]:
    write_hypotheses(folder, clips_of(references, corpus), {"adapter": hypotheses})
    return read_scored_predictions(folder, score(folder, normalizer, 20))["adapter"]


def test_utterances_are_sorted_by_edits_and_then_by_rate(tmp_path: Path) -> None:
    references = ["a b c d", "a b", "right", "a b c", "x"]
    found = worst_utterances(scored(tmp_path, references, ["a", "c d", "right", "q", "y"]), 4)
    assert [(utterance.id, utterance.edits, utterance.words) for utterance in found] == [
        ("clips-4", 3, 3),
        ("clips-1", 3, 4),
        ("clips-2", 2, 2),
        ("clips-5", 1, 1),
    ]
    assert found[2].rate == 1.0


def test_utterances_of_several_corpora_are_sorted_together(tmp_path: Path) -> None:
    scored(tmp_path, ["a b", "c"], ["a x", "c"], "first")
    parts = scored(tmp_path, ["d", "e f g"], ["d", ""], "second")
    assert [(utterance.corpus, utterance.id) for utterance in worst_utterances(parts, 20)] == [
        ("second", "second-2"),
        ("first", "first-1"),
    ]


def test_utterances_without_errors_are_excluded(tmp_path: Path) -> None:
    assert worst_utterances(scored(tmp_path, ["a b"], ["a b"]), 20) == []


def test_texts_that_the_normalizer_changed_are_kept(tmp_path: Path) -> None:
    references, hypotheses = ["Salom, dunyo!", " salom  dunyo"], ["salom", "Salom."]
    found = worst_utterances(scored(tmp_path, references, hypotheses, normalizer="basic"), 20)
    first, second = sorted(found, key=lambda utterance: utterance.id)
    assert (first.reference, first.hypothesis) == ("Salom, dunyo!", None)
    assert (second.reference, second.hypothesis) == (None, "Salom.")


def test_faults_are_listed(tmp_path: Path) -> None:
    (found,) = worst_utterances(scored(tmp_path, ["salom dunyo"], [""]), 20)
    assert found.faults == ["empty"]


@pytest.fixture
def worst(tmp_path: Path) -> list[WorstUtterance]:
    clips = quickstart_clips(3)
    write_hypotheses(tmp_path, clips, {"adapter": ["x"] * 3})
    return worst_utterances(read_scored_predictions(tmp_path, score(tmp_path, resamples=20))["adapter"], 20)


def test_clips_that_may_be_published_get_a_player(worst: list[WorstUtterance]) -> None:
    shown, missing = with_players(worst, {"quickstart-uz": quickstart_clips(3)}, {"quickstart-uz"})
    assert all(utterance.player and utterance.player.startswith("data:audio/ogg;base64,") for utterance in shown)
    assert len({utterance.player for utterance in shown}) == 3
    assert missing == []


def test_clips_that_may_not_be_published_are_reported(worst: list[WorstUtterance]) -> None:
    shown, missing = with_players(worst, {"quickstart-uz": quickstart_clips(3)}, ())
    assert [utterance.player for utterance in shown] == [None] * 3
    assert len(missing) == 1 and ": 3." in missing[0] and "publish_audio" in missing[0]


def test_clips_that_are_not_available_are_reported(worst: list[WorstUtterance]) -> None:
    _, missing = with_players(worst, {}, {"quickstart-uz"})
    assert len(missing) == 1 and ": 3." in missing[0]
    _, missing = with_players(worst, {"quickstart-uz": quickstart_clips(2)}, {"quickstart-uz"})
    assert len(missing) == 1 and ": 1." in missing[0]


def test_the_total_size_is_limited(worst: list[WorstUtterance], monkeypatch: pytest.MonkeyPatch) -> None:
    clips = {"quickstart-uz": quickstart_clips(3)}
    sizes = [len(utterance.player or "") for utterance in with_players(worst, clips, clips)[0]]
    monkeypatch.setattr(module, "MAX_TOTAL_BYTES", sizes[0] + 1)
    shown, missing = with_players(worst, clips, clips)
    assert shown[0].player and not shown[1].player
    assert len(missing) == 1 and ": 2." in missing[0]


def test_shares_are_percentages() -> None:
    assert share(1 / 3) == "33.3 %"


def utterance(path: Path) -> Utterance:
    return Utterance("1", str(path), "bir", "clips", "uz", "test.jsonl", 1)


def decoded(uri: str | None) -> tuple[str, bytes]:
    assert uri is not None
    kind, _, encoded = uri.removeprefix("data:").partition(";base64,")
    return kind, base64.b64decode(encoded, validate=True)


def test_a_recording_that_browsers_play_is_copied() -> None:
    clip = quickstart_clips(1)[0]
    assert decoded(player(clip)) == ("audio/ogg", Path(clip.audio).read_bytes())


@pytest.mark.parametrize("name, kind", [("a.wav", "wav"), ("a.flac", "flac"), ("a.mp3", "mpeg"), ("a.ogg", "ogg")])
def test_the_media_type_depends_on_the_content(tmp_path: Path, name: str, kind: str) -> None:
    path = write_clip(tmp_path / name)
    disguised = path.rename(tmp_path / "a.bin")
    assert decoded(player(utterance(disguised)))[0] == f"audio/{kind}"


def test_an_embedded_recording_is_copied(tmp_path: Path) -> None:
    encoded = write_clip(tmp_path / "a.flac").read_bytes()
    row = replace(utterance(Path("gone.flac")), embedded=encoded)
    assert decoded(player(row)) == ("audio/flac", encoded)


def test_only_the_segment_of_a_recording_is_included(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "day.wav", np.concatenate([tone(300, 1), tone(900, 1)]))
    kind, encoded = decoded(player(replace(utterance(path), offset=1.0, duration=0.5)))
    samples, rate = soundfile.read(io.BytesIO(encoded))
    assert (kind, rate, len(samples)) == ("audio/flac", 16_000, 8000)
    assert pitch(samples) == pytest.approx(900, abs=2)


def test_large_or_unsupported_recordings_are_converted_to_flac(tmp_path: Path) -> None:
    large = write_clip(tmp_path / "large.wav", tone(seconds=5, rate=48_000), 48_000)
    assert large.stat().st_size > MAX_RECORDING_BYTES
    odd = write_clip(tmp_path / "odd.au")
    for path in (large, odd):
        kind, encoded = decoded(player(utterance(path)))
        assert kind == "audio/flac" and len(encoded) <= MAX_RECORDING_BYTES
        assert soundfile.info(io.BytesIO(encoded)).samplerate == 16_000


def test_missing_broken_and_too_large_recordings_have_no_player(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 30 * 16_000).astype(np.float32)
    broken = tmp_path / "letter.ogg"
    broken.write_bytes(b"%PDF-1.7 Dear Sir")
    assert player(utterance(write_clip(tmp_path / "noise.wav", noise))) is None
    assert player(utterance(tmp_path / "gone.ogg")) is None
    assert player(utterance(broken)) is None


@pytest.mark.parametrize("start", [b"", b"\xff", b"RIFF", b"RIFF0000AVI ", b"\xff\xd8\xff\xe0", b"\x1aE\xdf\xa3"])
def test_other_content_has_no_media_type(start: bytes) -> None:
    assert media_type(start) is None


def test_the_same_recording_gives_the_same_player(tmp_path: Path) -> None:
    row = replace(utterance(write_clip(tmp_path / "a.ogg", tone(seconds=2))), offset=0.5, duration=1.0)
    assert player(row) == player(row)
