"""Serve one base model with its adapters: concurrent requests are batched, and text is streamed to each."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import numpy as np

from escoita.audio.decoding import MAX_SECONDS
from escoita.audio.loading import Recording, SilentAudioError, is_silent, read_audible, seconds
from escoita.errors import AudioError, EscoitaError
from escoita.hub.files import adapter_record, local_file
from escoita.inference.batching import next_batch
from escoita.inference.fairness import Client, FairOrder, anyone, require_audio_share, require_free_slot
from escoita.inference.requests import RequestSegment, TranscriptionRequest, transcribe_batch
from escoita.inference.streaming import Partial, Queued
from escoita.inference.transcriber import Transcriber
from escoita.models.adapters import Adapters
from escoita.models.base_model import resolve_base
from escoita.records.training import AdapterRecord
from escoita.utils.languages import matching, name_and_tag


class ClosedError(EscoitaError):
    """Report a request to an engine that is closed or being closed."""

    problem = "the server is shutting down"
    hint = "try again later"


class Engine:
    """
    Transcribe recordings of concurrent requests.

    Requests for the same adapter are batched by length, and one thread runs the model. Requests that arrive while a
    batch is transcribed wait for the next one. A request is queued before its recording is decoded; two requests of a
    client may wait, and clients are served in turn (see [`fairness`]).

    Args:
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): The loaded base model.
        adapters (`Mapping[str, str]`): The names of the adapters, and the folder or repository of the Hub of each; no
            others are ever loaded.
        generation_settings (`Mapping[str, AdapterRecord]`): The prompt, language and token limit of each adapter.
        max_waiting (`int`, *optional*, defaults to 80): The most waiting requests.
        max_seconds (`float`, *optional*, defaults to six hours): The longest recording, in seconds; see
            [`~escoita.audio.loading.read_audio`].
        max_adapter_bytes (`int`, *optional*): The memory for adapters, in bytes; see
            [`~escoita.models.adapters.Adapters`].

    Example:

    ```python
    with Engine.load("quickstart/gemma4", {"uzbek": "runs/quickstart-uzbek/adapter"}) as engine:
        for partial in engine.stream("clip.ogg", "uzbek"):
            print(partial.text)
        print(partial.transcript.compute_seconds)
    ```
    """

    def __init__(
        self,
        transcriber: Transcriber,
        adapters: Mapping[str, str],
        generation_settings: Mapping[str, AdapterRecord],
        max_waiting: int = 80,
        max_seconds: float = MAX_SECONDS,
        max_adapter_bytes: int | None = None,
    ):
        self.adapters = Adapters(transcriber.model, adapters, max_adapter_bytes)
        self.max_waiting, self.max_seconds = max_waiting, max_seconds
        self._transcriber = transcriber
        self._transcribers = {
            name: transcriber.with_settings(record, adapters.get(name)) for name, record in generation_settings.items()
        }
        self._end_tokens = _end_tokens(transcriber.model)
        self._waiting: list[RequestSegment] = []
        # The clients of the recordings that are being decoded, which count as queued.
        self._decoding: list[Client] = []
        self._order = FairOrder()
        self._changed = threading.Condition()
        self._model = threading.Lock()
        self._batches = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    @classmethod
    def load(
        cls,
        base: str,
        adapters: Mapping[str, str],
        revision: str | None = None,
        dtype: str = "auto",
        batch_seconds: float = 120.0,
        max_waiting: int = 80,
        max_seconds: float = MAX_SECONDS,
        allow_other_base: bool = False,
        max_adapter_bytes: int | None = None,
        generation_settings: Mapping[str, AdapterRecord] | None = None,
    ) -> Self:
        """
        Load a base model; its adapters are loaded on first use.

        Args:
            base (`str`): A folder, or a repository of the Hub.
            adapters (`Mapping[str, str]`): The names of the adapters, and the folder or repository of the Hub of each,
                `user/name` or `user/name@revision`. Without adapters, the base model must have a prompt of its own.
            revision (`str`, *optional*): The revision of the base. The default is the commit that the adapters were
                trained on.
            dtype (`str`, *optional*, defaults to `"auto"`): The precision; `auto`: float32 on a CPU, else that of the
                stored weights.
            batch_seconds (`float`, *optional*, defaults to 120): The most audio in a batch, including padding.
            max_waiting (`int`, *optional*, defaults to 80): The most waiting requests.
            max_seconds (`float`, *optional*, defaults to six hours): The longest recording, in seconds.
            allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights
                than an adapter was trained on.
            max_adapter_bytes (`int`, *optional*): The memory for adapters, in bytes. The default is no limit.
            generation_settings (`Mapping[str, AdapterRecord]`, *optional*): The prompt, language and token limit of
                each adapter. The default is what the adapters store.

        Raises:
            OtherBaseError: The base has other weights than an adapter was trained on.
            EscoitaError: The base or the record of an adapter cannot be loaded, or the adapters require different
                precisions.
        """
        if generation_settings is None:
            generation_settings = {name: adapter_record(source) for name, source in adapters.items()}
        if len({record.load_in_4bit for record in generation_settings.values()}) > 1:
            raise EscoitaError(
                "some were trained on a 4-bit base and some were not", key="adapters", hint="serve them separately"
            )
        if adapters:
            revision = resolve_base(base, list(adapters.values()), revision, allow_other=allow_other_base).revision
        transcriber = Transcriber.load(
            base, None, next(iter(generation_settings.values()), None), revision, dtype, batch_seconds
        )
        return cls(transcriber, adapters, generation_settings, max_waiting, max_seconds, max_adapter_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(
        self,
        source: str | Path | np.ndarray,
        adapter: str | None = None,
        prompt_adapter: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        """
        Transcribe a recording, batched with those of concurrent requests.

        Closing the iterator closes the request.

        Args:
            source (`str`, `Path` or `np.ndarray`): A recording of any length; or its samples, of shape `(samples,)`,
                float32 at 16 kHz.
            adapter (`str`, *optional*): The name of the adapter. The default is the base without an adapter.
            prompt_adapter (`str`, *optional*): The adapter whose prompt is used for the base without an adapter. The
                default is the first adapter.
            client ([`~escoita.inference.fairness.Client`], *optional*): The client. The default is a new client.

        Returns:
            `Iterator[Partial]`: The partial transcript whenever it changes; the last one contains the complete one.

        Raises:
            AudioError: The recording cannot be read, or has no audible content.
            BusyError: Too many requests are waiting.
            ShareError: Too many requests of this client are waiting.
            ClosedError: The engine is closed.
            EscoitaError: The adapter is not offered or cannot be loaded, or memory does not suffice.
        """
        with closing(self.submit(source, adapter, prompt_adapter, client)) as request:
            yield from request.partials()

    def submit(
        self,
        source: str | Path | np.ndarray,
        adapter: str | None = None,
        prompt_adapter: str | None = None,
        client: Client | None = None,
        language: str | None = None,
    ) -> TranscriptionRequest:
        """
        Queue a recording, and return its request without waiting for the transcript.

        Any thread may stop the request with [`~escoita.inference.requests.TranscriptionRequest.fail`].

        Args:
            source (`str`, `Path` or `np.ndarray`): The recording; see [`~Engine.stream`].
            adapter (`str`, *optional*): The name of the adapter.
            prompt_adapter (`str`, *optional*): The adapter whose prompt is used for the base without an adapter.
            client ([`~escoita.inference.fairness.Client`], *optional*): The client.
            language (`str`, *optional*): The tag of the language, for a model that takes one. The default is
                the language of the generation settings.

        Returns:
            [`~escoita.inference.requests.TranscriptionRequest`]: The queued request, which the caller must close.

        Raises:
            EscoitaError: The model transcribes another language, and `key` is `language`; otherwise see
                [`~Engine.stream`].
        """
        client = client or anyone()
        arrived = self._reserve(client)
        try:
            request = self._make_request(source, adapter, prompt_adapter, client, arrived, language)
        except BaseException:
            with self._changed:
                self._decoding.remove(client)
            raise
        self._enqueue(request)
        return request

    def stream_alone(
        self, source: str | Path | np.ndarray, adapter: str | None = None, prompt_adapter: str | None = None
    ) -> Iterator[Partial]:
        """
        Transcribe a recording immediately, without batching.

        This is for ZeroGPU, where a decorated function runs in its own process, which has no access to the queue. The
        model runs on a thread that ends with the iterator, and the number of requests is not limited.

        Arguments, return value and errors are those of [`~Engine.stream`].
        """
        request = self._make_request(source, adapter, prompt_adapter)
        thread = threading.Thread(target=self._transcribe_alone, args=(request,), daemon=True)
        thread.start()
        try:
            with closing(request):
                yield from request.partials()
        finally:
            thread.join()

    def prepare(self, adapter: str) -> None:
        """
        Load an adapter before its first use.

        On ZeroGPU, all adapters must be loaded before the page is served: what the process of a call loads is lost
        when it ends.

        Raises:
            EscoitaError: The adapter is not offered, cannot be loaded, or is incompatible with the base model.
        """
        self._fetch(adapter)
        with self._model:
            self.adapters.use(adapter)

    def close(self) -> None:
        """Close the engine: all requests fail with [`ClosedError`], and the thread stops after the current token."""
        with self._changed:
            self._closed = True
            for request in {segment.request for segment in self._waiting}:
                request.fail(ClosedError())
            self._waiting = []
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _reserve(self, client: Client) -> int:
        """Reserve a place in the queue before the recording is decoded; return the number of started batches."""
        with self._changed:
            if self._closed:
                raise ClosedError()
            waiting = self._decoding + [request.client for request in self._queued_requests()]
            require_free_slot(client, waiting, self.max_waiting)
            self._decoding.append(client)
            return self._batches

    def _make_request(
        self,
        source: str | Path | np.ndarray,
        adapter: str | None,
        prompt_adapter: str | None,
        client: Client | None = None,
        arrived: int = 0,
        language: str | None = None,
    ) -> TranscriptionRequest:
        """Decode the recording and download the adapter of a request, on the thread of its client."""
        started = time.perf_counter()
        prompt = adapter or prompt_adapter or next(iter(self._transcribers), None)
        for name in (adapter, prompt):
            if name is not None and name not in self._transcribers:
                hint = f"use one of {', '.join(self._transcribers)}" if self._transcribers else None
                raise EscoitaError("not offered here", key="adapter", value=name, hint=hint)
        if adapter is None and not self._transcriber.family.transcribes_alone:
            hint = f"use one of {', '.join(self.adapters.sources)}" if self.adapters.sources else None
            raise EscoitaError("the base cannot transcribe without an adapter", key="adapter", hint=hint)
        transcriber = self._transcriber if prompt is None else self._transcribers[prompt]
        transcriber = _in_language(transcriber, language)
        if adapter is not None:
            self._fetch(adapter)
        array = isinstance(source, np.ndarray)
        recording = Recording(_checked(source)) if array else read_audible(source, self.max_seconds)
        samples, notes = recording.samples, recording.notes
        batch_key = (adapter, prompt, transcriber.generation_settings.language)
        return TranscriptionRequest(transcriber, samples, batch_key, started, client, arrived, notes)

    def _fetch(self, adapter: str) -> None:
        """Download the files of an adapter, so that the model does not wait for the network."""
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            local_file(self.adapters.sources[adapter], name)

    def _enqueue(self, request: TranscriptionRequest) -> None:
        with self._changed:
            self._decoding.remove(request.client)
            if self._closed:
                raise ClosedError()
            self._queued_requests()
            own = sum(segment.seconds for segment in self._waiting if segment.client == request.client)
            require_audio_share(seconds(request.samples), own)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="escoita-engine", daemon=True)
                self._thread.start()
            self._waiting += request.segments()
            request.events.put(Queued(self._queued_requests().index(request)))
            self._changed.notify()

    def _queued_requests(self) -> list[TranscriptionRequest]:
        """Return the requests that are not started, in the order of their turns, and remove closed requests."""
        self._waiting = self._order.order(segment for segment in self._waiting if not segment.request.closed)
        return [segment.request for segment in self._waiting if segment.number == 0]

    def _serve(self) -> None:
        while batch := self._next():
            self._transcribe(batch)
            del batch  # so that no recording is kept in memory until the next request

    def _next(self) -> list[RequestSegment]:
        """Wait for the next batch; it is empty if the engine is closed."""
        with self._changed:
            while True:
                queued = self._queued_requests()
                if self._closed:
                    return []
                if self._waiting:
                    break
                self._changed.wait()
            batch = next_batch(self._waiting, self._transcriber.batch_seconds)
            self._batches += 1
            self._order.serve(batch, self._batches)
            self._waiting = [segment for segment in self._waiting if segment not in batch]
            started = {segment.request for segment in batch}
            for before, request in enumerate(each for each in queued if each not in started):
                request.events.put(Queued(before))
        return batch

    def _transcribe_alone(self, request: TranscriptionRequest) -> None:
        waiting = request.segments()
        while waiting and not request.closed:
            batch = next_batch(waiting, self._transcriber.batch_seconds)
            waiting = [segment for segment in waiting if segment not in batch]
            self._transcribe(batch)

    def _transcribe(self, batch: Sequence[RequestSegment]) -> None:
        """Transcribe a batch; if it fails, transcribe each recording alone, so that only the faulty request fails."""
        try:
            with self._model:
                self.adapters.use(batch[0].batch_key[0])
                transcribe_batch(batch, self._end_tokens, lambda: self._closed)
        except Exception as error:  # any error is passed to the request, and the thread continues
            unfinished = [segment for segment in batch if not segment.ended]
            requests = list(dict.fromkeys(segment.request for segment in unfinished))
            for request in requests:
                if self._closed or len(requests) == 1:
                    request.fail(ClosedError() if self._closed else error)
                else:
                    self._transcribe([segment for segment in unfinished if segment.request is request])


def _end_tokens(model: Any) -> set[int]:
    """Return the tokens that end a transcript."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return {ends} if isinstance(ends, int) else set(ends or ())


def _in_language(transcriber: Transcriber, language: str | None) -> Transcriber:
    """
    Return a transcriber for recordings in a language.

    Raises:
        EscoitaError: The model transcribes another language; `key` is `language`.
    """
    settings = transcriber.generation_settings
    if language is None or matching(language, [settings.language]):
        return transcriber
    if not transcriber.per_language:
        problem = f"this model transcribes {name_and_tag(settings.language)}"
        raise EscoitaError(problem, key="language", value=language, hint="leave it out")
    return transcriber.with_settings(settings.model_copy(update={"language": language}))


def _checked(samples: np.ndarray) -> np.ndarray:
    """Validate samples that are given instead of a file; see [`read_audible`]."""
    if samples.ndim != 1 or not len(samples) or samples.dtype.kind != "f" or not np.isfinite(samples).all():
        raise AudioError(
            f"expected finite float32 samples of shape (samples,), not empty; got {samples.dtype} of {samples.shape}",
            path="samples",
        )
    if is_silent(samples):
        raise SilentAudioError(path="samples")
    return samples.astype(np.float32, copy=False)
