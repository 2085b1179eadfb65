import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from escoita.audio import fingerprint as fingerprints
from escoita.audio.fingerprint import (
    LARGEST_BUCKET,
    LEAST_CORRELATION,
    MAX_DISTANCE,
    correlation,
    duplicates,
    fingerprint,
    matches,
)
from escoita.audio.loading import read_audio


CORPORA = Path("quickstart/corpus")


def clips(language: str, count: int, text: str = "") -> list[tuple[str, np.ndarray]]:
    """Return voices and samples of test clips over one second, optionally only those with the transcript `text`."""
    rows = [json.loads(line) for line in (CORPORA / language / "test.jsonl").read_text("utf-8").splitlines()]
    chosen = [row for row in rows if row["duration"] > 1 and text in ("", row["text"])][:count]
    return [(row["speaker"], read_audio(CORPORA / language / row["audio_filepath"])) for row in chosen]


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    return [samples for language in ("uz", "gl") for _, samples in clips(language, 10)]


def encoded(samples: np.ndarray, rate: int, container: str, subtype: str) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(samples, 16_000, rate), rate, format=container, subtype=subtype)
    return read_audio(file.getvalue())


def padded(samples: np.ndarray, before: float, after: float) -> np.ndarray:
    return np.pad(samples, (int(before * 16_000), int(after * 16_000)))


def noisy(samples: np.ndarray, decibels: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(samples)) * samples.std() * 10 ** (-decibels / 20)
    return (samples + noise).astype(np.float32)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mp3": lambda samples: encoded(samples, 16_000, "MP3", "MPEG_LAYER_III"),
    "vorbis": lambda samples: encoded(samples, 16_000, "OGG", "VORBIS"),
    "opus": lambda samples: encoded(samples, 48_000, "OGG", "OPUS"),
    "flac": lambda samples: encoded(samples, 16_000, "FLAC", "PCM_16"),
    "telephone": lambda samples: encoded(samples, 8_000, "WAV", "ULAW"),
    "48 kHz mp3": lambda samples: encoded(samples, 48_000, "MP3", "MPEG_LAYER_III"),
    "a tenth as loud": lambda samples: encoded(samples * 0.1, 16_000, "WAV", "PCM_16"),
    "silence before": lambda samples: padded(samples, 0.5, 0),
    "silence after": lambda samples: padded(samples, 0, 0.5),
    "an offset": lambda samples: (samples + 0.1).astype(np.float32),
    "noise": lambda samples: noisy(samples, 30),
    "much at once": lambda samples: encoded(noisy(padded(samples * 0.3, 0.3, 0.5), 30), 8_000, "FLAC", "PCM_16"),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copies_match_only_their_recording(
    recordings: list[np.ndarray], copy: Callable[[np.ndarray], np.ndarray]
) -> None:
    originals, copies = map(fingerprint, recordings), map(fingerprint, map(copy, recordings))
    found = matches(list(originals), list(copies))
    assert [left for left, _ in found] == [right for _, right in found]
    assert len(found) >= 19  # of 20: a codec can prevent a match of one of these short clips


def test_two_voices_with_the_same_text_do_not_match() -> None:
    texts = {json.loads(line)["text"] for line in (CORPORA / "uz/test.jsonl").read_text("utf-8").splitlines()}
    compared = 0
    for text in sorted(texts):
        spoken_clips = clips("uz", 5, text)
        for first in range(len(spoken_clips)):
            for second in range(first):
                if spoken_clips[first][0] != spoken_clips[second][0]:
                    compared += 1
                    assert not matches([fingerprint(spoken_clips[first][1])], [fingerprint(spoken_clips[second][1])])
    assert compared >= 3


def test_other_text_of_the_same_speaker_does_not_match() -> None:
    by_voice: dict[str, list[bytes]] = {}
    for voice, samples in clips("gl", 100):
        by_voice.setdefault(voice, []).append(fingerprint(samples))
    assert max(map(len, by_voice.values())) > 3
    assert not any(duplicates(prints) for prints in by_voice.values())


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0),
        np.zeros(1),
        np.zeros(16_000),
        np.full(16_000, 0.25),
        np.random.default_rng(0).uniform(-1, 1, 16_000) / 2**16,  # the rounding error of 16 bits
    ],
    ids=["nothing", "one sample", "silence", "an offset", "rounding"],
)
def test_silence_has_no_fingerprint(samples: np.ndarray) -> None:
    assert fingerprint(samples.astype(np.float32)) == b""


@pytest.mark.parametrize(
    "samples",
    [
        np.sin(np.arange(800)),
        np.random.default_rng(0).uniform(-1, 1, 800),
        np.eye(1, 16_000, 15_999)[0],  # a click at the end
        np.eye(1, 2)[0],
        (-1.0) ** np.arange(16_000),  # above the highest band
        np.random.default_rng(0).uniform(-1, 1, 30 * 16_000),
    ],
    ids=["short tone", "short noise", "click", "two samples", "too high", "long"],
)
def test_fingerprints_of_short_and_unusual_clips(samples: np.ndarray) -> None:
    assert len(fingerprint(samples.astype(np.float32))) in (0, 64)


@given(arrays(np.float32, st.integers(0, 1200), elements=st.floats(-1, 1, width=32)))
def test_any_samples_are_accepted(samples: np.ndarray) -> None:
    print_ = fingerprint(samples)
    assert len(print_) in (0, 64)
    assert print_ == fingerprint(samples.copy())


def test_a_long_recording_needs_little_additional_memory() -> None:
    samples = np.random.default_rng(0).standard_normal(600 * 16_000, np.float32)
    tracemalloc.start()
    try:
        assert fingerprint(samples)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 * samples.nbytes


@pytest.mark.parametrize("at_once", [1, 7, 2048])
def test_fingerprints_do_not_depend_on_the_block_size(
    recordings: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    long = np.concatenate(recordings)
    expected = [fingerprint(samples) for samples in [*recordings, long]]
    monkeypatch.setattr(fingerprints, "_FRAMES_AT_ONCE", at_once)
    assert [fingerprint(samples) for samples in [*recordings, long]] == expected


@pytest.mark.parametrize("level", [2.0, 0.5, 2**-6])
def test_fingerprints_do_not_depend_on_the_level(recordings: list[np.ndarray], level: float) -> None:
    assert fingerprint(recordings[0] * np.float32(level)) == fingerprint(recordings[0])


def draw_fingerprints(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 64), dtype=np.uint8)


def prints_of(rows: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in rows]


def with_flipped(print_: bytes, bits: set[int]) -> bytes:
    number = int.from_bytes(print_, "big")
    for bit in bits:
        number ^= 1 << bit
    return number.to_bytes(64, "big")


@given(st.sets(st.integers(0, 511), max_size=15), st.integers(0, 9))
def test_copies_with_fifteen_different_bits_are_found(bits: set[int], index: int) -> None:
    prints = prints_of(draw_fingerprints(10))  # one of 16 blocks of 32 bits is unchanged
    assert matches(prints, [with_flipped(prints[index], bits)]) == [(index, 0)]


@given(st.sets(st.integers(0, 511), max_size=120))
def test_compared_fingerprints_match_by_their_share_of_equal_bits(bits: set[int]) -> None:
    print_ = prints_of(draw_fingerprints(1))[0]
    found = matches([print_], [with_flipped(print_, bits)])
    assert found in ([], [(0, 0)])
    assert not found or len(bits) <= MAX_DISTANCE * 512
    assert matches([print_], [with_flipped(print_, bits)], max_distance=0) == ([(0, 0)] if not bits else [])


@pytest.mark.parametrize("flipped, found", [(64, [(0, 0)]), (65, [])])
def test_copies_differ_in_at_most_an_eighth_of_the_bits(flipped: int, found: list[tuple[int, int]]) -> None:
    print_ = prints_of(draw_fingerprints(1))[0]
    assert matches([print_], [with_flipped(print_, set(range(flipped)))]) == found


def test_all_pairs_are_found_and_in_order() -> None:
    first, second, third = prints_of(draw_fingerprints(3))
    near = with_flipped(first, {0, 100, 200})
    left, right = [second, first, b"", near, first], [b"", first, third, near]
    pairs = [(1, 1), (1, 3), (3, 1), (3, 3), (4, 1), (4, 3)]
    assert matches(left, right) == pairs
    assert matches(right, left) == sorted((after, before) for before, after in pairs)


def test_empty_fingerprints_match_nothing() -> None:
    assert matches([b"", b""], [b""]) == []
    assert matches([], []) == []
    assert matches(prints_of(draw_fingerprints(1)), []) == []
    assert duplicates([b"", b""]) == []
    assert duplicates([]) == []


def test_candidates_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = draw_fingerprints(40)
    rows[1::2, :32] = rows[::2, :32]  # half of the bits of the neighbor: compared, but too different
    rows[3::4] = rows[2::4]
    rows[3::4, 0] ^= 1
    prints = prints_of(rows)
    expected = matches(prints, prints)
    assert len(expected) == 40 + 20
    for size in (1, 3, 64):
        monkeypatch.setattr(fingerprints, "_AT_ONCE", size)
        assert matches(prints, prints) == expected


def test_a_block_value_of_too_many_clips_is_skipped() -> None:
    rows = draw_fingerprints(LARGEST_BUCKET + 1)
    rows[:, :32] = rows[0, :32]
    prints = prints_of(rows)
    copy = with_flipped(prints[5], {0, 300})
    assert matches(prints, [copy]) == [(5, 0)]
    spoilt = with_flipped(prints[5], set(range(0, 256, 4)))  # no block is unchanged
    assert matches(prints, [spoilt]) == []
    assert matches(prints[:LARGEST_BUCKET], [spoilt]) == [(5, 0)]


def test_equal_fingerprints_are_compared_once() -> None:
    many = prints_of(draw_fingerprints(1)) * (3 * LARGEST_BUCKET)
    assert matches(many, [with_flipped(many[0], {7})]) == [(index, 0) for index in range(len(many))]
    assert duplicates(many) == [(0, index) for index in range(1, len(many))]


def test_each_duplicate_is_listed_once_with_its_earliest_match() -> None:
    first, other = prints_of(draw_fingerprints(2))
    near, far = with_flipped(first, set(range(40))), with_flipped(first, set(range(80)))
    assert duplicates([other, first, near, first, far, b"", other]) == [(1, 2), (1, 3), (2, 4), (0, 6)]


@given(st.lists(st.sampled_from(prints_of(draw_fingerprints(4))), max_size=12))
def test_removing_duplicates_keeps_one_clip_of_each(prints: list[bytes]) -> None:
    again = {index for _, index in duplicates(prints)}
    assert [print_ for index, print_ in enumerate(prints) if index not in again] == list(dict.fromkeys(prints))


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copies_of_short_clips_correlate(copy: Callable[[np.ndarray], np.ndarray]) -> None:
    short = [samples[:8_000] for _, samples in clips("uz", 6)]
    assert min(correlation(copy(samples), samples) for samples in short) > 0.9


def test_other_short_clips_do_not_correlate() -> None:
    short = [samples[:8_000] for _, samples in [*clips("uz", 12), *clips("gl", 12)]]
    found = [correlation(one, other) for place, one in enumerate(short) for other in short[:place]]
    assert max(found) < LEAST_CORRELATION - 0.1


def test_silence_correlates_with_nothing() -> None:
    assert correlation(np.zeros(100, np.float32), np.ones(100, np.float32)) == 0.0
