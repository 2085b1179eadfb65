"""A recording between the visitor who waits for its text and the thread that owns the model."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from escoita.audio.loading import seconds
from escoita.audio.segmentation import part_of
from escoita.inference.fairness import Client, anyone
from escoita.inference.streaming import Event, Failed, Partial, Progress, Queued, SegmentFinished, TokensGenerated
from escoita.inference.transcriber import Transcriber
from escoita.records.transcript import Note


if TYPE_CHECKING:
    import torch

# For each visitor in a batch: of twenty, none is told more often than every 40 ms. Each would wake a thread, and the
# model's own would have to wait for it.
TELLING_SECONDS = 0.002


class TranscriptionRequest:
    """
    One recording that is to be heard. The model's thread puts events, the visitor's makes text of them.

    Args:
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): Told the prompt of this recording.
        samples (`np.ndarray`): Of shape `(samples,)`, float32 at 16 kHz.
        together (`tuple[str | None, ...]`): Adapter, adapter whose prompt is told, and language; what is heard in one
            batch has them in common.
        started (`float`): When it was asked for, by `time.perf_counter`.
        client ([`~escoita.inference.fairness.Client`], *optional*): Who asked for it.
        arrived (`int`, *optional*, defaults to 0): How many batches had been started when it was asked for.
        notes (`tuple[Note, ...]`, *optional*): What the transcript says of the recording; see
            [`~escoita.records.transcript.NOTES`].
    """

    def __init__(
        self,
        transcriber: Transcriber,
        samples: np.ndarray,
        together: tuple[str | None, ...],
        started: float | None = None,
        client: Client | None = None,
        arrived: int = 0,
        notes: tuple[Note, ...] = (),
    ):
        self.notes = notes
        self.client, self.arrived = client or anyone(), arrived
        self.transcriber, self.samples, self.together = transcriber, samples, together
        self.started = time.perf_counter() if started is None else started
        self.parts = transcriber.parts(samples)
        self.events: SimpleQueue[Event] = SimpleQueue()
        # Parts of which the visitor has been told everything.
        self.ended: set[int] = set()
        # Nothing more is to be heard of it: it failed, or the visitor left.
        self.over = False

    def segments(self) -> "list[RequestSegment]":
        """Its segments, in order."""
        return [RequestSegment(self, number) for number in range(len(self.parts))]

    def fail(self, error: Exception) -> None:
        """Tells the visitor why there is no transcript."""
        self.over = True
        self.events.put(Failed(error))

    def close(self) -> None:
        """The visitor leaves."""
        self.over = True

    def partials(self) -> Iterator[Partial]:
        """
        What is known so far, whenever that has changed; the last one holds the transcript.

        Raises:
            Exception: What it failed with.
        """
        family, model, generation_settings = (
            self.transcriber.family,
            self.transcriber.model,
            self.transcriber.generation_settings,
        )
        progress = Progress(
            self.parts,
            seconds(self.samples),
            lambda tokens: family.decode(self.transcriber.processor, _row(tokens))[0],
            family.most_tokens(model, generation_settings),
            self.started,
        )
        known: Partial | None = None
        while known is None or known.transcript is None:
            progress.take(self.events.get())
            # What came meanwhile is shown at once: a visitor who reads slowly is not shown what is past.
            while (event := self._next_if_any()) is not None:
                progress.take(event)
            now = progress.partial()
            if now.transcript is not None and self.notes:
                now = replace(now, transcript=replace(now.transcript, notes=self.notes))
            if now != known:
                yield now
            known = now

    def _next_if_any(self) -> Event | None:
        try:
            return self.events.get_nowait()
        except Empty:
            return None


@dataclass(frozen=True, eq=False)
class RequestSegment:
    """
    A part of a recording that waits to be heard.

    Args:
        hearing ([`TranscriptionRequest`]): The recording.
        number (`int`): Of this part.
    """

    hearing: TranscriptionRequest
    number: int

    @property
    def seconds(self) -> float:
        """Its length."""
        start, end = self.hearing.parts[self.number]
        return end - start

    @property
    def together(self) -> tuple[str | None, ...]:
        """See [`TranscriptionRequest`]."""
        return self.hearing.together

    @property
    def client(self) -> Client:
        """Who asked for it."""
        return self.hearing.client

    @property
    def arrived(self) -> int:
        """How many batches had been started when it was asked for."""
        return self.hearing.arrived

    @property
    def ended(self) -> bool:
        """Whether everything was told."""
        return self.number in self.hearing.ended

    def end(self, text: str, tokens: int, compute_seconds: float) -> None:
        """Tells what was heard in it."""
        self.hearing.ended.add(self.number)
        self.hearing.events.put(SegmentFinished(self.number, text, tokens, compute_seconds))

    def samples(self) -> np.ndarray:
        """Of shape `(samples,)`."""
        return part_of(self.hearing.samples, *self.hearing.parts[self.number])


def listen(batch: Sequence[RequestSegment], ends: Collection[int], stopped: Callable[[], bool]) -> None:
    """
    Hears a batch on this thread, and tells each visitor the tokens as they come.

    Whoever left is no longer written for, and whose text ends need not wait for the others' ends.

    Args:
        batch (`Sequence[RequestSegment]`): With one adapter, which is on, and one prompt.
        ends (`Collection[int]`): Tokens that end a transcript.
        stopped (`Callable`): Whether to end after the token that comes.

    Raises:
        EscoitaError: Memory does not suffice for one of the parts alone.
        InterruptedError: It was stopped; parts that had not ended are not told anything more.
    """
    started, audio_seconds = time.perf_counter(), sum(part.seconds for part in batch)
    transcriber = batch[0].hearing.transcriber
    tokens: list[list[int]] = [[] for _ in batch]
    due = [0.0] * len(batch)

    def end(part: RequestSegment, text: str, count: int) -> None:
        part.end(text, count, (time.perf_counter() - started) * part.seconds / audio_seconds)

    def watch(row: int, place: int, token: int) -> bool:
        part = batch[row]
        if part.ended or part.hearing.over or stopped():
            return False
        tokens[row][place:] = [token]
        if token in ends:
            said = _row(tokens[row])
            (text,) = transcriber.family.decode(transcriber.processor, said)
            end(part, text, transcriber.family.token_counts(transcriber.processor, said)[0])
            return False
        now = time.perf_counter()
        if now >= due[row]:
            part.hearing.events.put(TokensGenerated(part.number, tuple(tokens[row])))
            due[row] = now + TELLING_SECONDS * len(batch)
        return True

    for part in batch:
        if part.number == 0:
            part.hearing.events.put(Queued(None))
    texts, counts = transcriber.transcribe_segments([part.samples() for part in batch], watch)
    if stopped():
        raise InterruptedError
    for part, text, count in zip(batch, texts, counts, strict=True):
        if not part.ended:
            end(part, text, count)


def _row(tokens: Sequence[int]) -> "torch.Tensor":
    import torch

    return torch.tensor([list(tokens)], dtype=torch.long)
