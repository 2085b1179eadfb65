"""What is known of a recording while it is being heard: text that grows at its end, and at last the transcript."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from escoita.records.transcript import Segment, Transcript


# What stands for bytes that are no character yet.
UNDECODED = "\ufffd"


@dataclass(frozen=True)
class Partial:
    """
    What is known of a recording so far.

    Args:
        text (`str`): What was heard so far; from one to the next it changes nowhere but at its end.
        segments (`tuple[Segment, ...]`): Those that are finished, in order, none left out between them.
        done_seconds (`float`): Up to where it was heard.
        audio_seconds (`float`): Length of the recording.
        before (`int`, *optional*): Recordings that are heard before it; none as soon as the model listens to it.
        first_text_seconds (`float`, *optional*): From the request to the first text; none before.
        transcript (`Transcript`, *optional*): At the end.
    """

    text: str
    segments: tuple[Segment, ...]
    done_seconds: float
    audio_seconds: float
    before: int | None = None
    first_text_seconds: float | None = None
    transcript: Transcript | None = None


@dataclass(frozen=True)
class Queued:
    """So many recordings are heard before this one; none when its turn has come."""

    before: int | None


@dataclass(frozen=True)
class TokensGenerated:
    """All tokens of a part so far."""

    part: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class SegmentFinished:
    """A part was heard: its text, how many tokens it has, and seconds of computing, by share of the audio."""

    part: int
    text: str
    tokens: int
    compute_seconds: float


@dataclass(frozen=True)
class Failed:
    """The recording cannot be heard."""

    error: Exception


Event = Queued | TokensGenerated | SegmentFinished | Failed


class Progress:
    """
    Makes of what the model tells, in whatever order, what a person is shown.

    Args:
        parts (`Sequence[tuple[float, float]]`): Start and end of each, in seconds.
        audio_seconds (`float`): Length of the recording.
        decode (`Callable`): Text of some tokens.
        most_tokens (`float`): As many tokens end the text of a part.
        started (`float`): When it was asked for, by `time.perf_counter`.
    """

    def __init__(
        self,
        parts: Sequence[tuple[float, float]],
        audio_seconds: float,
        decode: Callable[[Sequence[int]], str],
        most_tokens: float,
        started: float,
    ):
        self.parts, self.audio_seconds, self.decode = parts, audio_seconds, decode
        self.most_tokens, self.started = most_tokens, started
        self.before: int | None = None
        self.first_text_seconds: float | None = None
        self._tokens: dict[int, tuple[int, ...]] = {}
        self._ended: dict[int, SegmentFinished] = {}
        self._growing = (0, "")  # a part, and what was shown of it

    def take(self, event: Event) -> None:
        """
        Notes what the model tells.

        Raises:
            Exception: What the recording failed with.
        """
        match event:
            case Queued(before):
                self.before = before
            case TokensGenerated(part, tokens):
                self._tokens[part] = tokens
            case SegmentFinished(part):
                self._ended[part] = event
            case Failed(error):
                raise error

    def partial(self) -> Partial:
        """What is known now."""
        ended: list[SegmentFinished] = []
        while len(ended) in self._ended:
            ended.append(self._ended[len(ended)])
        segments = tuple(Segment(*self.parts[each.part], each.text) for each in ended)
        texts = [each.text for each in ended]
        if len(ended) < len(self.parts):
            texts.append(self._grown(len(ended)))
        text = " ".join(filter(None, texts))
        if text and self.first_text_seconds is None:
            self.first_text_seconds = time.perf_counter() - self.started
        whole = len(ended) == len(self.parts)
        done = self.audio_seconds if whole else segments[-1].end if segments else 0.0
        transcript = self._transcript(text, segments) if whole else None
        return Partial(text, segments, done, self.audio_seconds, self.before, self.first_text_seconds, transcript)

    def _grown(self, part: int) -> str:
        shown = self._growing[1] if self._growing[0] == part else ""
        self._growing = (part, grown(shown, self.decode(self._tokens.get(part, ()))))
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
    What can be shown of the text of a part.

    Args:
        shown (`str`): What is shown of it already.
        decoded (`str`): Of all its tokens so far; at its end may be bytes that are no character yet, and while they
            are not, some tokenizers give up the characters before them too.
    """
    whole = decoded.rstrip(UNDECODED).strip()
    return shown if shown.startswith(whole) else whole
