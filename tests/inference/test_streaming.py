from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.errors import EscoitaError
from escoita.inference.streaming import (
    UNDECODED,
    Event,
    Failed,
    Progress,
    Queued,
    SegmentFinished,
    TokensGenerated,
    grown,
)
from escoita.models import family_of
from escoita.records.transcript import Segment


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=f"<>{UNDECODED}"), max_size=40)


@pytest.fixture(scope="module", params=["gemma4", "phi4"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    base = str(Path("quickstart") / request.param)
    return family_of(base).load_processor(base).tokenizer


def letters(tokens: Any) -> str:
    return "".join(map(chr, tokens))


def progress(count: int = 2) -> Progress:
    return Progress([(float(n), n + 1.0) for n in range(count)], float(count), letters, most_tokens=5, started=0.0)


def generated(segment: int, text: str) -> TokensGenerated:
    return TokensGenerated(segment, tuple(map(ord, text)))


@given(st.data())
def test_text_grows_at_its_end_without_incomplete_characters(tokenizer: Any, data: st.DataObject) -> None:
    """The tiny tokenizers represent many of these characters as bytes."""
    tokens = tokenizer(data.draw(TEXTS), add_special_tokens=False)["input_ids"]
    complete = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    shown = ""
    for count in range(len(tokens) + 1):
        after = grown(shown, tokenizer.decode(tokens[:count], skip_special_tokens=True))
        assert after.startswith(shown) and not after.endswith(UNDECODED)
        shown = after
    if UNDECODED not in complete:
        assert complete.startswith(shown)


def test_a_character_of_four_bytes_is_shown_when_complete(tokenizer: Any) -> None:
    tokens = tokenizer("on 😀 yoq", add_special_tokens=False)["input_ids"]
    shown = [""]
    for count in range(len(tokens) + 1):
        shown.append(grown(shown[-1], tokenizer.decode(tokens[:count])))
    assert shown[-1] == "on 😀 yoq"
    assert all("on 😀 yoq".startswith(text) for text in shown)
    # A character that a tokenizer drops while the next one is incomplete stays.
    assert grown("你", UNDECODED * 4) == "你"


def test_segments_are_shown_in_order() -> None:
    known = progress(count=3)
    seen = []
    events: list[Event] = [
        Queued(2),
        Queued(None),
        generated(1, "b"),
        generated(0, "a"),
        SegmentFinished(1, "bb", 2, 0.5),
        generated(0, "aa"),
        SegmentFinished(0, "aa", 2, 0.5),
        generated(2, "c"),
        SegmentFinished(2, "", 0, 0.25),
    ]
    for event in events:
        known.take(event)
        seen.append(known.partial())
    assert [partial.text for partial in seen] == ["", "", "", "a", "a", "aa", "aa bb", "aa bb c", "aa bb"]
    assert [partial.before for partial in seen[:3]] == [2, None, None]
    assert [partial.done_seconds for partial in seen] == [0, 0, 0, 0, 0, 0, 2, 2, 3]
    assert [len(partial.segments) for partial in seen] == [0, 0, 0, 0, 0, 0, 2, 2, 3]
    assert seen[2].first_text_seconds is None
    assert {partial.first_text_seconds for partial in seen[3:]} == {known.first_text_seconds}
    assert all(partial.transcript is None for partial in seen[:-1])
    transcript = seen[-1].transcript
    assert transcript and transcript.segments == (Segment(0, 1, "aa"), Segment(1, 2, "bb"), Segment(2, 3, ""))
    assert (transcript.text, transcript.audio_seconds, transcript.tokens) == ("aa bb", 3, 4)
    assert transcript.compute_seconds == 1.25 and not transcript.truncated


def test_a_segment_at_the_token_limit_is_truncated() -> None:
    known = progress(count=1)
    known.take(SegmentFinished(0, "abcde", 5, 1.0))
    transcript = known.partial().transcript
    assert transcript and transcript.truncated


def test_an_error_event_is_raised() -> None:
    with pytest.raises(EscoitaError):
        progress().take(Failed(EscoitaError("broken")))


def test_segments_of_a_language_without_spaces_are_joined_without_a_space() -> None:
    known = Progress([(0.0, 1.0), (1.0, 2.0)], 2.0, letters, most_tokens=5, started=0.0, language="th")
    known.take(SegmentFinished(0, "ภาษา", 4, 0.1))
    known.take(generated(1, "ไทย"))
    assert known.partial().text == "ภาษาไทย"
    known.take(SegmentFinished(1, "ไทย", 3, 0.1))
    transcript = known.partial().transcript
    assert transcript is not None and transcript.text == "ภาษาไทย"
