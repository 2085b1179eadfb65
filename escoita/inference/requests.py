"""Pass the recording and the transcript of a request between its client's thread and the thread of the model."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from escoita.audio.loading import seconds
from escoita.audio.segmentation import cut_segment
from escoita.inference.fairness import Client, anyone
from escoita.inference.streaming import Event, Failed, Partial, Progress, Queued, SegmentFinished, TokensGenerated
from escoita.inference.transcriber import Output, Transcriber
from escoita.records.transcript import Note


if TYPE_CHECKING:
    import torch

# The interval of text updates for each request of a batch: with twenty requests, each is updated every 40 ms at most.
# Each update wakes a thread, for which the model's thread has to wait.
UPDATE_SECONDS = 0.002


class TranscriptionRequest:
    """
    Represent a request to transcribe one recording. The model's thread puts events, the client's thread reads them.

    Args:
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): The transcriber with the prompt of the request.
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32 at 16 kHz.
        batch_key (`tuple[str | None, ...]`): The adapter, the adapter whose prompt is used, and the language; they are
            the same for all segments of a batch.
        started (`float`, *optional*): The time of the request, by `time.perf_counter`. The default is now.
        client ([`~escoita.inference.fairness.Client`], *optional*): The client that sent the request.
        arrived (`int`, *optional*, defaults to 0): The number of batches that had been started at that time.
        notes (`tuple[Note, ...]`, *optional*): The notes of the transcript, keys of
            [`~escoita.records.transcript.NOTES`].
    """

    def __init__(
        self,
        transcriber: Transcriber,
        samples: np.ndarray,
        batch_key: tuple[str | None, ...],
        started: float | None = None,
        client: Client | None = None,
        arrived: int = 0,
        notes: tuple[Note, ...] = (),
    ):
        self.notes = notes
        self.client, self.arrived = client or anyone(), arrived
        self.transcriber, self.samples, self.batch_key = transcriber, samples, batch_key
        self.started = time.perf_counter() if started is None else started
        self.spans = transcriber.spans(samples)
        self.events: SimpleQueue[Event] = SimpleQueue()
        # The segments that are completely transcribed.
        self.ended: set[int] = set()
        # True if the request failed, or the client disconnected.
        self.closed = False

    def segments(self) -> "list[RequestSegment]":
        """Return the segments of the recording, in order."""
        return [RequestSegment(self, number) for number in range(len(self.spans))]

    def fail(self, error: Exception) -> None:
        """Close the request with an error, which [`~TranscriptionRequest.partials`] raises."""
        self.closed = True
        self.events.put(Failed(error))

    def close(self) -> None:
        """Close the request; its segments are no longer transcribed."""
        self.closed = True

    def partials(self) -> Iterator[Partial]:
        """
        Yield the partial transcript whenever it changes; the last one contains the complete transcript.

        Raises:
            Exception: The error of the request.
        """
        family, model, generation_settings = (
            self.transcriber.family,
            self.transcriber.model,
            self.transcriber.generation_settings,
        )
        progress = Progress(
            self.spans,
            seconds(self.samples),
            lambda tokens: family.decode(self.transcriber.processor, _row(tokens))[0],
            family.most_tokens(model, generation_settings),
            self.started,
            generation_settings.language,
        )
        known: Partial | None = None
        while known is None or known.transcript is None:
            progress.take(self.events.get())
            # All events that have arrived are taken at once: a slow reader gets only the latest state.
            while (event := self._next_if_any()) is not None:
                progress.take(event)
            now = progress.partial()
            if now.transcript is not None:
                detector = self.transcriber.detector(self.samples)
                now = replace(now, transcript=replace(now.transcript, notes=self.notes, speech_detector=detector))
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
    Represent a segment of a recording that waits to be transcribed.

    Args:
        request ([`TranscriptionRequest`]): The request.
        number (`int`): The number of the segment, from 0.
    """

    request: TranscriptionRequest
    number: int

    @property
    def seconds(self) -> float:
        """Return the length, in seconds."""
        start, end = self.request.spans[self.number]
        return end - start

    @property
    def batch_key(self) -> tuple[str | None, ...]:
        """Return the key of the request; see [`TranscriptionRequest`]."""
        return self.request.batch_key

    @property
    def client(self) -> Client:
        """Return the client that sent the request."""
        return self.request.client

    @property
    def arrived(self) -> int:
        """Return the number of batches that had been started when the request arrived."""
        return self.request.arrived

    @property
    def ended(self) -> bool:
        """Return whether the segment is completely transcribed."""
        return self.number in self.request.ended

    def end(self, output: Output, compute_seconds: float) -> None:
        """Send the text of the segment."""
        self.request.ended.add(self.number)
        characters = output.characters(*self.request.spans[self.number])
        event = SegmentFinished(self.number, output.text, output.tokens, compute_seconds, characters)
        self.request.events.put(event)

    def samples(self) -> np.ndarray:
        """Return the samples, of shape `(samples,)`."""
        return cut_segment(self.request.samples, *self.request.spans[self.number])


def transcribe_batch(batch: Sequence[RequestSegment], ends: Collection[int], stopped: Callable[[], bool]) -> None:
    """
    Transcribe a batch on this thread, and send the tokens of each request while they are generated.

    Generation ends early for closed requests, and a transcript is sent when it ends, before those of the others.

    Args:
        batch (`Sequence[RequestSegment]`): The segments, with one adapter, which is active, and one prompt.
        ends (`Collection[int]`): The tokens that end a transcript.
        stopped (`Callable`): The function that returns whether to stop after the current token.

    Raises:
        EscoitaError: Memory does not suffice for a single segment.
        InterruptedError: Transcription was stopped; unfinished segments get no more events.
    """
    started, audio_seconds = time.perf_counter(), sum(segment.seconds for segment in batch)
    transcriber = batch[0].request.transcriber
    tokens: list[list[int]] = [[] for _ in batch]
    due = [0.0] * len(batch)

    def end(segment: RequestSegment, output: Output) -> None:
        segment.end(output, (time.perf_counter() - started) * segment.seconds / audio_seconds)

    def watch(row: int, place: int, token: int) -> bool:
        segment = batch[row]
        if segment.ended or segment.request.closed or stopped():
            return False
        tokens[row][place:] = [token]
        if token in ends:
            row_tokens = _row(tokens[row])
            (text,) = transcriber.family.decode(transcriber.processor, row_tokens)
            (count,) = transcriber.family.token_counts(transcriber.processor, row_tokens)
            end(segment, Output(text, count))
            return False
        now = time.perf_counter()
        if now >= due[row]:
            segment.request.events.put(TokensGenerated(segment.number, tuple(tokens[row])))
            due[row] = now + UPDATE_SECONDS * len(batch)
        return True

    for segment in batch:
        if segment.number == 0:
            segment.request.events.put(Queued(None))
    outputs = transcriber.transcribe_segments([segment.samples() for segment in batch], watch)
    if stopped():
        raise InterruptedError
    for segment, output in zip(batch, outputs, strict=True):
        if not segment.ended:
            end(segment, output)


def _row(tokens: Sequence[int]) -> "torch.Tensor":
    import torch

    return torch.tensor([list(tokens)], dtype=torch.long)
