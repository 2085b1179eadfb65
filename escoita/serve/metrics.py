"""Count requests, audio and memory for Prometheus."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from escoita.records.transcript import Transcript


if TYPE_CHECKING:
    from starlette.responses import Response


# The upper bounds of the histogram buckets, in seconds.
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """
    Hold the metrics of a server.

    Labels are the names of served models and HTTP statuses, never text from a client.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        make: dict[str, Any] = {"registry": self.registry, "namespace": "escoita"}
        self._requests = Counter("requests", "Transcription requests by status", ["status"], **make)
        self._seconds = Histogram("request_seconds", "Seconds to the complete transcript", buckets=SECONDS, **make)
        self._first = Histogram("first_text_seconds", "Seconds to the first text", buckets=SECONDS, **make)
        self._audio = Counter("audio_seconds", "Seconds of transcribed audio", ["model"], **make)
        self._compute = Counter("compute_seconds", "Seconds of computation", ["model"], **make)
        self._tokens = Counter("tokens", "Generated tokens", ["model"], **make)
        self._uploaded = Counter("uploaded_bytes", "Bytes of received recordings", **make)
        self.in_progress = Gauge(
            "requests_in_progress", "Requests that are being received, queued or transcribed", **make
        )
        self._adapters = Gauge("adapter_bytes", "Bytes of memory of each loaded adapter", ["model"], **make)
        self._ready = Gauge("ready", "1 if the model is loaded", **make)

    def count_status(self, status: int) -> None:
        """Count a finished request by its status; 499 if its client disconnected."""
        self._requests.labels(str(status)).inc()

    def count_upload(self, size: int) -> None:
        """Count the bytes of a received recording."""
        self._uploaded.inc(size)

    def count_transcript(self, model: str, transcript: Transcript, seconds: float, first: float | None) -> None:
        """
        Count a transcript.

        Args:
            model (`str`): The name of a served model.
            transcript ([`~escoita.records.transcript.Transcript`]): The transcript.
            seconds (`float`): The time since the recording was received, in seconds.
            first (`float`, *optional*): The time to the first text, in seconds.
        """
        self._seconds.observe(seconds)
        if first is not None:
            self._first.observe(first)
        self._audio.labels(model).inc(transcript.audio_seconds)
        self._compute.labels(model).inc(max(0.0, transcript.compute_seconds))
        self._tokens.labels(model).inc(transcript.tokens)

    def response(self, ready: bool, adapters: Callable[[], Mapping[str, int]]) -> "Response":
        """
        Return all metrics in the text format of Prometheus.

        Args:
            ready (`bool`): Whether the model is loaded.
            adapters (`Callable`): The function that returns the bytes of each loaded adapter.
        """
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
        from starlette.responses import Response

        self._ready.set(ready)
        self._adapters.clear()
        for name, size in adapters().items():
            self._adapters.labels(name).set(size)
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
