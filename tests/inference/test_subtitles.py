from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from escoita.audio.loading import SAMPLING_RATE
from escoita.inference.alignment import Word
from escoita.inference.subtitles import Cue, CueLimits, make_cues, transcript_words
from escoita.records.transcript import Segment, Transcript
from tests.samples import tone


LIMITS = CueLimits()
# More than a line, a syllable with a combining accent, wide characters, and punctuation.
TEXTS = st.one_of(
    st.sampled_from(["a", "o,", "casa.", "xa", "“si”", "e\u0301", "語", "é" * 43, "語" * 50, "-"]),
    st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=60),
)


@st.composite
def any_words(draw: st.DrawFn) -> list[Word]:
    """Return consecutive words with pauses, at any speed."""
    words, time = [], draw(st.floats(0, 3))
    for text in draw(st.lists(TEXTS, max_size=60)):
        start = time + draw(st.sampled_from([0.0, 0.0, 0.0, 0.2, 0.6, 4.0]))
        time = start + draw(st.sampled_from([1e-4, 0.05, 0.3, 1.0, 9.0]))
        words.append(Word(start, time, text, draw(st.sampled_from([True, True, False]))))
    return words


def joined(words: list[Word]) -> str:
    return "".join(" " * word.spaced + word.text for word in words).strip()


def columns(text: str) -> int:
    return cell_len(text)


@given(words=any_words(), limits=st.sampled_from([LIMITS, CueLimits(12, 1), CueLimits(20, 3, 3.0, 12.0)]))
def test_all_words_are_kept_within_the_limits(words: list[Word], limits: CueLimits) -> None:
    length = words[-1].end + 1 if words else 1.0
    cues = make_cues(words, length, limits)
    assert joined([word for cue in cues for word in cue.words]) == joined(words)
    before = 0.0
    for place, cue in enumerate(cues):
        # Lines contain the complete text of the cue.
        assert "".join(cue.lines).replace(" ", "") == cue.text.replace(" ", "")
        assert 1 <= len(cue.lines) <= limits.max_line_count
        assert max(map(columns, cue.lines)) <= limits.max_line_width
        assert before <= cue.start < cue.end <= cue.start + limits.max_seconds + 1e-6
        following = cues[place + 1].start if place + 1 < len(cues) else length
        assert cue.end <= following + 1e-6 or cue.end <= cue.start + 0.002
        assert cue.words[0].start - 0.3 - 1e-6 <= cue.start
        if columns(cue.text) > limits.max_speed * (cue.end - cue.start) + 1e-6:
            # A cue is too fast only if it is shown until the next one, or as long as permitted.
            assert cue.end >= min(following, cue.words[-1].end, cue.start + limits.max_seconds) - 1e-6
        before = cue.end


def equal_words(text: str, per_word: float = 0.4, pauses: dict[str, float] | None = None) -> list[Word]:
    """Return words of equal length, with pauses after some."""
    words, time = [], 0.0
    for word in text.split():
        words.append(Word(time, time + per_word, word))
        time += per_word + (pauses or {}).get(word, 0.0)
    return words


def lines_of(cues: list[Cue]) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues]


def test_cues_end_with_sentences() -> None:
    words = equal_words("Na praia había xente. Chovía moito e ninguén quería marchar para a casa.")
    assert [cue.text for cue in make_cues(words, 10)] == [
        "Na praia había xente.",
        "Chovía moito e ninguén quería marchar para a casa.",
    ]


def test_cues_end_at_pauses_if_there_is_no_punctuation() -> None:
    words = equal_words("na praia había xente chovía moito e ninguén quería marchar", pauses={"xente": 0.8})
    assert [cue.text for cue in make_cues(words, 10)] == [
        "na praia había xente",
        "chovía moito e ninguén quería marchar",
    ]


def test_a_cue_is_not_shown_through_a_long_pause() -> None:
    words = equal_words("si, home", pauses={"si,": 5.0})
    first, second = make_cues(words, 10)
    assert (first.text, second.text) == ("si,", "home")
    assert first.end <= 0.4 + 0.3 and second.start >= 5.4 - 0.3


def test_lines_are_broken_after_punctuation() -> None:
    words = equal_words("Cando chegamos ao porto, o barco xa marchara cara á illa", 0.5)
    assert lines_of(make_cues(words, 10)) == [("Cando chegamos ao porto,", "o barco xa marchara cara á illa")]


def test_fast_speech_is_shown_longer_if_a_pause_follows() -> None:
    words = equal_words("extraordinariamente complicadísimo", 0.3)
    (cue,) = make_cues(words, 10)
    assert cue.start == 0 and cue.end == pytest.approx(len(cue.text) / LIMITS.max_speed)
    # It ends with the recording.
    (cue,) = make_cues(words, 0.7)
    assert cue.end == pytest.approx(0.7)


def test_chinese_characters_have_two_columns_and_no_spaces() -> None:
    words = [Word(place * 0.2, place * 0.2 + 0.2, "語", place == 0) for place in range(30)]
    for cue in make_cues(words, 10):
        assert all(cell_len(line) <= 42 and " " not in line for line in cue.lines)


def test_words_of_each_segment_lie_within_it() -> None:
    """The segments are those of the transcript; without segments, the recording is one."""
    silence = np.zeros(SAMPLING_RATE // 2, np.float32)
    samples = np.concatenate([tone(seconds=1), silence, tone(seconds=1)])
    segments = Segment(0.0, 1.25, "un dous"), Segment(1.25, 2.5, "tres")
    transcript = Transcript("un dous tres", 2.5, 0.1, segments=segments)
    words = transcript_words(transcript, samples)
    assert [word.text for word in words] == ["un", "dous", "tres"]
    assert words[1].end == pytest.approx(1.0, abs=0.05) and words[2].start == pytest.approx(1.5, abs=0.05)
    whole = transcript_words(replace(transcript, segments=()), samples)
    assert [word.text for word in whole] == ["un", "dous", "tres"] and whole[-1].end <= 2.5
