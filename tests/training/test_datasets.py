import os
import tracemalloc

from escoita.data.rows import Utterance, Utterances
from escoita.training.datasets import table


def recordings(count: int, size: int) -> Utterances:
    return Utterances.of(
        Utterance(f"{row}", "a.wav", "un", "c", "gl", "m", row, embedded=os.urandom(size), audio_seconds=row / 3)
        for row in range(1, count + 1)
    )


def test_rows_keep_their_order_and_gain_a_length() -> None:
    clips = recordings(5, 10)
    rows = table(clips.take([4, 0, 0, 2]))
    assert rows["id"][:] == ["5", "1", "1", "3"]
    assert rows["length"][:] == [167, 33, 33, 100]
    assert rows[0]["embedded"] == clips[4].embedded


def test_recordings_are_not_copied() -> None:
    clips = recordings(64, 100_000)
    table(clips)  # imports modules
    tracemalloc.start()
    try:
        table(clips)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
