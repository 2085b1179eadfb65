import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.rows import Utterances
from escoita.evaluation.counts import MOST_VALUES, By, slices
from escoita.evaluation.predictions import Provenance, predictions_table
from escoita.records.evaluation import Slice
from escoita.records.transcript import Transcript
from tests.evaluation.samples import clip, system


def cut(known: list[dict], by: By, words: list[int] | None = None, edits: list[int] | None = None) -> list[Slice]:
    """Slices of clips of three words with one edit each, unless given."""
    clips = Utterances.of(clip("bir", row, **fields) for row, fields in enumerate(known, start=1))
    heard = [Transcript("bir", seconds, 1.0) for seconds in clips.column("audio_seconds")]
    table = predictions_table(clips, heard, Provenance(corpus="clips", rejected=0, system=system("adapter")))
    counts = np.array(words or [3] * len(known))
    return slices(table, counts, {"adapter": np.array(edits or [1] * len(known)), "base": counts}, (by,))


def test_durations_from_short_to_long() -> None:
    lengths = [31, 0.4, 2, 2.01, 5, 30, 30.001, 12]
    found = cut([{"audio_seconds": seconds} for seconds in lengths], "duration", [4, 1, 1, 2, 2, 10, 4, 0])
    assert [(part.value, part.n, part.reference_words) for part in found] == [
        ("0-2 s", 2, 2),
        ("2-5 s", 2, 4),
        ("10-20 s", 1, 0),
        ("20-30 s", 1, 10),
        ("over 30 s", 2, 8),
    ]
    assert [part.wer for part in found][1:4] == [
        {"adapter": 2 / 4, "base": 1.0},
        {"adapter": 1.0, "base": 0.0},  # no reference words: the edits themselves
        {"adapter": 1 / 10, "base": 1.0},
    ]


def test_values_with_the_most_words_first() -> None:
    known = [{"gender": gender} for gender in ("female", "male", "", "female", "other")]
    found = cut(known, "gender", [1, 3, 5, 1, 3], [1, 0, 5, 0, 3])
    assert [(part.by, part.value, part.n, part.reference_words, part.wer["adapter"]) for part in found] == [
        ("gender", "male", 1, 3, 0.0),
        ("gender", "other", 1, 3, 1.0),
        ("gender", "female", 2, 2, 0.5),
        ("gender", "not stated", 1, 5, 1.0),
    ]


@pytest.mark.parametrize("known", [[], [{}, {}], [{"speaker": "m6"}]])
def test_what_no_clip_names_has_no_slice(known: list[dict]) -> None:
    assert cut(known, "accent") == []


@pytest.mark.parametrize("speakers, others", [(MOST_VALUES, 0), (MOST_VALUES + 1, 1), (MOST_VALUES + 7, 7)])
def test_of_many_values_the_small_ones_stand_together(speakers: int, others: int) -> None:
    known = [{"speaker": f"s{index:03d}"} for index in range(speakers)]
    found = cut(known, "speaker", list(range(speakers, 0, -1)))
    assert [part.value for part in found[:2]] == ["s000", "s001"]
    last = found[MOST_VALUES:]
    assert [(part.value, part.n, part.reference_words) for part in last] == (
        [(f"others ({others})", others, others * (others + 1) // 2)] if others else []
    )


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "ñ", "a\n"]), st.floats(0, 40))))
def test_no_clip_is_lost(rows: list[tuple[str, float]]) -> None:
    known = [{"accent": accent, "audio_seconds": seconds} for accent, seconds in rows]
    assert sum(part.n for part in cut(known, "duration")) == len(rows)
    named = any(accent for accent, _ in rows)
    assert sum(part.n for part in cut(known, "accent")) == named * len(rows)
