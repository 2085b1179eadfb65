"""Count requests, audio and memory, for Prometheus."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from escoita.records.transcript import Transcript


if TYPE_CHECKING:
    from starlette.responses import Response


# Upper ends of the bins of durations, in seconds.
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """
    Hold the figures of one server.

    Labels are names of models that are served and statuses, never text of a client.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        make: dict[str, Any] = {"registry": self.registry, "namespace": "escoita"}
        self._requests = Counter("requests", "Transcription requests by status", ["status"], **make)
        self._seconds = Histogram("request_seconds", "Time to a whole transcript", buckets=SECONDS, **make)
        self._first = Histogram("first_text_seconds", "Time to the first text", buckets=SECONDS, **make)
        self._audio = Counter("audio_seconds", "Audio transcribed", ["model"], **make)
        self._compute = Counter("compute_seconds", "Computing for it", ["model"], **make)
        self._tokens = Counter("tokens", "Tokens generated for it", ["model"], **make)
        self._uploaded = Counter("uploaded_bytes", "Recordings received", **make)
        self.in_progress = Gauge("requests_in_progress", "Requests that are read, wait or are transcribed", **make)
        self._adapters = Gauge("adapter_bytes", "Memory of each adapter", ["model"], **make)
        self._ready = Gauge("ready", "1 if the model is loaded", **make)

    def take_status(self, status: int) -> None:
        """Count the end of a request; 499 if its client left."""
        self._requests.labels(str(status)).inc()

    def take_upload(self, size: int) -> None:
        """Count a recording by its bytes."""
        self._uploaded.inc(size)

    def take_transcript(self, model: str, transcript: Transcript, seconds: float, first: float | None) -> None:
        """
        Count a transcript.

        Args:
            model (`str`): A model that is served.
            transcript ([`~escoita.records.transcript.Transcript`]): The result.
            seconds (`float`): Time since the recording was received.
            first (`float`, *optional*): Time until the first text.
        """
        self._seconds.observe(seconds)
        if first is not None:
            self._first.observe(first)
        self._audio.labels(model).inc(transcript.audio_seconds)
        self._compute.labels(model).inc(max(0.0, transcript.compute_seconds))
        self._tokens.labels(model).inc(transcript.tokens)

    def response(self, ready: bool, adapters: Callable[[], Mapping[str, int]]) -> "Response":
        """
        Return all figures in the text format of Prometheus.

        Args:
            ready (`bool`): Whether the model is loaded.
            adapters (`Callable`): Returns the bytes of each adapter in memory.
        """
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
        from starlette.responses import Response

        self._ready.set(ready)
        self._adapters.clear()
        for name, size in adapters().items():
            self._adapters.labels(name).set(size)
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
