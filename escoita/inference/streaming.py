"""Represent the partial transcript of a recording, whose text grows at its end until it is complete."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from escoita.inference.fairness import Client
from escoita.records.transcript import Segment, Transcript
from escoita.utils.languages import join_texts


# The replacement character, for bytes that are not yet a complete character.
UNDECODED = "\ufffd"


@dataclass(frozen=True)
class Partial:
    """
    Store the partial transcript of a recording.

    Args:
        text (`str`): The text so far, which changes only at its end.
        segments (`tuple[Segment, ...]`): The finished segments from the start of the recording, without gaps.
        done_seconds (`float`): The end of the finished segments, in seconds.
        audio_seconds (`float`): The length of the recording, in seconds.
        before (`int`, *optional*): The number of recordings before it in the queue; `None` once it is transcribed.
        first_text_seconds (`float`, *optional*): The time from the request to the first text; `None` until then.
        transcript (`Transcript`, *optional*): The complete transcript; `None` until the end.
    """

    text: str
    segments: tuple[Segment, ...]
    done_seconds: float
    audio_seconds: float
    before: int | None = None
    first_text_seconds: float | None = None
    transcript: Transcript | None = None


class Listener(Protocol):
    """Transcribe recordings: an [`~escoita.inference.serving.Engine`], or a model on ZeroGPU."""

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        prompt_adapter: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        """Transcribe a recording; see [`~escoita.inference.serving.Engine.stream`]."""


@dataclass(frozen=True)
class Queued:
    """Report the number of recordings before this one in the queue; `None` when transcription starts."""

    before: int | None


@dataclass(frozen=True)
class TokensGenerated:
    """Report all tokens of a segment so far."""

    segment: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class SegmentFinished:
    """
    Report the text of a finished segment, its number of tokens, and its share of the compute time, in seconds.

    The times of its characters are those of [`~escoita.records.transcript.Segment`].
    """

    segment: int
    text: str
    tokens: int
    compute_seconds: float
    characters: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Failed:
    """Report the error of the request."""

    error: Exception


Event = Queued | TokensGenerated | SegmentFinished | Failed


class Progress:
    """
    Build the partial transcript of a recording from the events of its segments, which come in any order.

    Args:
        spans (`Sequence[tuple[float, float]]`): The start and end of each segment, in seconds.
        audio_seconds (`float`): The length of the recording, in seconds.
        decode (`Callable`): The function that converts tokens to text.
        most_tokens (`float`): The token limit of a segment.
        started (`float`): The time of the request, by `time.perf_counter`.
        language (`str`, *optional*): The tag of the language, which decides whether segments are joined with a space.
    """

    def __init__(
        self,
        spans: Sequence[tuple[float, float]],
        audio_seconds: float,
        decode: Callable[[Sequence[int]], str],
        most_tokens: float,
        started: float,
        language: str = "",
    ):
        self.spans, self.audio_seconds, self.decode = spans, audio_seconds, decode
        self.most_tokens, self.started, self.language = most_tokens, started, language
        self.before: int | None = None
        self.first_text_seconds: float | None = None
        self._tokens: dict[int, tuple[int, ...]] = {}
        self._ended: dict[int, SegmentFinished] = {}
        self._growing = (0, "")  # the first unfinished segment, and its text so far

    def take(self, event: Event) -> None:
        """
        Process an event.

        Raises:
            Exception: The error of the request.
        """
        match event:
            case Queued(before):
                self.before = before
            case TokensGenerated(segment, tokens):
                self._tokens[segment] = tokens
            case SegmentFinished(segment):
                self._ended[segment] = event
            case Failed(error):
                raise error

    def partial(self) -> Partial:
        """Return the current state."""
        ended: list[SegmentFinished] = []
        while len(ended) in self._ended:
            ended.append(self._ended[len(ended)])
        segments = tuple(Segment(*self.spans[each.segment], each.text, each.characters) for each in ended)
        texts = [each.text for each in ended]
        if len(ended) < len(self.spans):
            texts.append(self._grown(len(ended)))
        text = join_texts(texts, self.language)
        if text and self.first_text_seconds is None:
            self.first_text_seconds = time.perf_counter() - self.started
        complete = len(ended) == len(self.spans)
        done = self.audio_seconds if complete else segments[-1].end if segments else 0.0
        transcript = self._transcript(text, segments) if complete else None
        return Partial(text, segments, done, self.audio_seconds, self.before, self.first_text_seconds, transcript)

    def _grown(self, segment: int) -> str:
        shown = self._growing[1] if self._growing[0] == segment else ""
        self._growing = (segment, grown(shown, self.decode(self._tokens.get(segment, ()))))
        return self._growing[1]

    def _transcript(self, text: str, segments: tuple[Segment, ...]) -> Transcript:
        ended = self._ended.values()
        return Transcript(
            text=text,
            audio_seconds=self.audio_seconds,
            compute_seconds=sum(each.compute_seconds for each in ended),
            tokens=sum(each.tokens for each in ended),
            truncated=any(each.tokens >= self.most_tokens for each in ended),
            segments=segments,
        )


def grown(shown: str, decoded: str) -> str:
    """
    Return the text of a segment that can be shown.

    Args:
        shown (`str`): The text that is already shown.
        decoded (`str`): The text of all tokens so far. Its end may be an incomplete character, for which some
            tokenizers also drop the characters before it.
    """
    complete = decoded.rstrip(UNDECODED).strip()
    return shown if shown.startswith(complete) else complete
