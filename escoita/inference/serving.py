"""The engine of the page: one base, its adapters, and visitors who are heard together while text streams to each."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import numpy as np

from escoita.audio.decoding import MAX_SECONDS
from escoita.audio.loading import Recording, is_silent, read_audible, seconds
from escoita.errors import AudioError, EscoitaError
from escoita.hub.files import adapter_record, local_file
from escoita.inference.batching import next_batch
from escoita.inference.fairness import Client, FairOrder, anyone, require_place, require_seconds
from escoita.inference.requests import RequestSegment, TranscriptionRequest, listen
from escoita.inference.streaming import Partial, Queued
from escoita.inference.transcriber import Transcriber
from escoita.models.adapters import Adapters
from escoita.models.base_model import resolve_base
from escoita.records.training import AdapterRecord


class Engine:
    """
    Hears recordings for many visitors at once.

    Requests for the same adapter are heard together, in batches of like length, by one thread that owns the model.
    What comes while a batch is heard waits for the next one. A request takes its place in the queue before its
    recording is decoded; a client may have two that wait, and clients take turns (see [`fairness`]).

    Args:
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): The base, loaded.
        adapters (`Mapping[str, str]`): Names of adapters, and the folder or repository of the Hub of each; no others
            are ever loaded.
        generation_settings (`Mapping[str, AdapterRecord]`): Prompt, language and limit of tokens of each.
        most_waiting (`int`, *optional*, defaults to 80): Recordings that wait at once.
        max_seconds (`float`, *optional*, defaults to six hours): The longest recording; see
            [`~escoita.audio.loading.read_audio`].
        max_adapter_bytes (`int`, *optional*): The memory for adapters; see [`~escoita.models.adapters.Adapters`].

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
        most_waiting: int = 80,
        max_seconds: float = MAX_SECONDS,
        max_adapter_bytes: int | None = None,
    ):
        self.adapters = Adapters(transcriber.model, adapters, max_adapter_bytes)
        self.most_waiting, self.max_seconds = most_waiting, max_seconds
        self._transcriber = transcriber
        self._told = {
            name: transcriber.with_settings(record, adapters.get(name)) for name, record in generation_settings.items()
        }
        self._ends = _ends(transcriber.model)
        self._waiting: list[RequestSegment] = []
        # Who asked for the recordings that are being decoded; they have a place in the queue already.
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
        most_waiting: int = 80,
        max_seconds: float = MAX_SECONDS,
        allow_other_base: bool = False,
        max_adapter_bytes: int | None = None,
    ) -> Self:
        """
        Loads a base; its adapters follow when they are first asked for.

        Args:
            base (`str`): A folder, or a repository of the Hub.
            adapters (`Mapping[str, str]`): Names of adapters, and the folder or repository of the Hub of each,
                `user/name` or `user/name@revision`; the base alone where there is none, which then needs a prompt of
                its own.
            revision (`str`, *optional*): Of the base; the commit that the adapters were trained on unless given.
            dtype (`str`, *optional*, defaults to `"auto"`): float32 on a CPU, else as the weights are stored.
            batch_seconds (`float`, *optional*, defaults to 120): Most audio at once, padding counted.
            most_waiting (`int`, *optional*, defaults to 80): Recordings that wait at once.
            max_seconds (`float`, *optional*, defaults to six hours): The longest recording.
            allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights than an
                adapter was trained on.
            max_adapter_bytes (`int`, *optional*): The memory for adapters (default: no limit).

        Raises:
            OtherBaseError: The base has other weights than an adapter was trained on.
            EscoitaError: The base cannot be had, or what an adapter says of itself; or adapters want it in different
                precisions.
        """
        generation_settings = {name: adapter_record(source) for name, source in adapters.items()}
        if len({record.load_in_4bit for record in generation_settings.values()}) > 1:
            raise EscoitaError("adapters: some were trained on a base in 4 bits and some not; serve them apart")
        if adapters:
            revision = resolve_base(base, list(adapters.values()), revision, allow_other=allow_other_base).revision
        transcriber = Transcriber.load(
            base, None, next(iter(generation_settings.values()), None), revision, dtype, batch_seconds
        )
        return cls(transcriber, adapters, generation_settings, most_waiting, max_seconds, max_adapter_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(
        self,
        source: str | Path | np.ndarray,
        adapter: str | None = None,
        beside: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        """
        Hears a recording, together with those of others.

        Closing the iterator gives the place free.

        Args:
            source (`str`, `Path` or `np.ndarray`): A recording of any length; or its samples, of shape `(samples,)`,
                float32 at 16 kHz.
            adapter (`str`, *optional*): Name of the adapter; the base alone unless given.
            beside (`str`, *optional*): Where the base is alone, the adapter whose prompt it is told; the first unless
                given.
            client ([`~escoita.inference.fairness.Client`], *optional*): Who asks; unless given, a client of its own.

        Returns:
            `Iterator[Partial]`: What is known so far, whenever that has changed; the last one holds the transcript.

        Raises:
            AudioError: The recording cannot be read, or nothing can be heard in it.
            BusyError: Too many wait already.
            ShareError: Too many of this client wait already.
            EscoitaError: There is no such adapter, it cannot be had, memory does not suffice, or the engine is closed.
        """
        with closing(self.submit(source, adapter, beside, client)) as hearing:
            yield from hearing.partials()

    def submit(
        self,
        source: str | Path | np.ndarray,
        adapter: str | None = None,
        beside: str | None = None,
        client: Client | None = None,
        language: str | None = None,
    ) -> TranscriptionRequest:
        """
        Put a recording into the queue, and return at once.

        Another thread than that which reads the result may stop the request, with
        [`~escoita.inference.requests.TranscriptionRequest.fail`].

        Args:
            language (`str`, *optional*): ISO 639 code of the language, for a model that is given one (default: that
                of the generation settings).

        The other args, and what else is raised, are those of [`~Engine.stream`].

        Raises:
            EscoitaError: The model transcribes another language; `key` is `language`.
        """
        client = client or anyone()
        arrived = self._take_place(client)
        try:
            hearing = self._asked(source, adapter, beside, client, arrived, language)
        except BaseException:
            with self._changed:
                self._decoding.remove(client)
            raise
        self._enqueue(hearing)
        return hearing

    def stream_alone(
        self, source: str | Path | np.ndarray, adapter: str | None = None, beside: str | None = None
    ) -> Iterator[Partial]:
        """
        Hears a recording now, apart from those of others.

        For ZeroGPU, where a decorated function runs in a process of its own, to which what waits elsewhere is not
        known. The model is asked on a thread that lives no longer than the iterator; nobody is ever too many.

        Args, what is returned, and what is raised are those of [`~Engine.stream`].
        """
        hearing = self._asked(source, adapter, beside)
        thread = threading.Thread(target=self._transcribe_alone, args=(hearing,), daemon=True)
        thread.start()
        try:
            with closing(hearing):
                yield from hearing.partials()
        finally:
            thread.join()

    def prepare(self, adapter: str) -> None:
        """
        Loads an adapter before it is asked for.

        On ZeroGPU all of them must be loaded so before the page is served: what a call's own process loads goes with
        it.

        Raises:
            EscoitaError: There is no such adapter, it cannot be had, or it does not fit.
        """
        self._fetch(adapter)
        with self._model:
            self.adapters.use(adapter)

    def close(self) -> None:
        """Ends: who waits or is heard is told so, and the thread stops after the token that it is at."""
        with self._changed:
            self._closed = True
            for hearing in {part.hearing for part in self._waiting}:
                hearing.fail(_closed_error())
            self._waiting = []
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _take_place(self, client: Client) -> int:
        """Takes a place in the queue, before anything is decoded; returns how many batches have been started."""
        with self._changed:
            if self._closed:
                raise _closed_error()
            waiting = self._decoding + [hearing.client for hearing in self._in_line()]
            require_place(client, waiting, self.most_waiting)
            self._decoding.append(client)
            return self._batches

    def _asked(
        self,
        source: str | Path | np.ndarray,
        adapter: str | None,
        beside: str | None,
        client: Client | None = None,
        arrived: int = 0,
        language: str | None = None,
    ) -> TranscriptionRequest:
        """What a visitor asks for, decoded and fetched on the visitor's own thread."""
        started = time.perf_counter()
        prompt = adapter or beside or next(iter(self._told), None)
        for name in (adapter, prompt):
            if name is not None and name not in self._told:
                raise EscoitaError(f"adapter {name}: is not offered here ({', '.join(self._told) or 'none is'})")
        transcriber = _in_language(self._transcriber if prompt is None else self._told[prompt], language)
        if adapter is not None:
            self._fetch(adapter)
        array = isinstance(source, np.ndarray)
        recording = Recording(_checked(source)) if array else read_audible(source, self.max_seconds)
        samples, notes = recording.samples, recording.notes
        together = (adapter, prompt, transcriber.generation_settings.language)
        return TranscriptionRequest(transcriber, samples, together, started, client, arrived, notes)

    def _fetch(self, adapter: str) -> None:
        """Fetches the files of an adapter, so that nobody waits for the network with the model in hand."""
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            local_file(self.adapters.sources[adapter], name)

    def _enqueue(self, hearing: TranscriptionRequest) -> None:
        with self._changed:
            self._decoding.remove(hearing.client)
            if self._closed:
                raise _closed_error()
            self._in_line()
            own = sum(part.seconds for part in self._waiting if part.client == hearing.client)
            require_seconds(seconds(hearing.samples), own)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="escoita-engine", daemon=True)
                self._thread.start()
            self._waiting += hearing.segments()
            hearing.events.put(Queued(self._in_line().index(hearing)))
            self._changed.notify()

    def _in_line(self) -> list[TranscriptionRequest]:
        """Recordings of which nothing is heard yet, by whose turn it is; those whose visitor left are let go."""
        self._waiting = self._order.order(part for part in self._waiting if not part.hearing.over)
        return [part.hearing for part in self._waiting if part.number == 0]

    def _serve(self) -> None:
        while batch := self._next():
            self._hear(batch)
            del batch  # no recording is kept in memory until the next one comes

    def _next(self) -> list[RequestSegment]:
        """Waits for something to hear; nothing when the engine is closed."""
        with self._changed:
            while True:
                line = self._in_line()
                if self._closed:
                    return []
                if self._waiting:
                    break
                self._changed.wait()
            batch = next_batch(self._waiting, self._transcriber.batch_seconds)
            self._batches += 1
            self._order.serve(batch, self._batches)
            self._waiting = [part for part in self._waiting if part not in batch]
            heard = {part.hearing for part in batch}
            for before, hearing in enumerate(each for each in line if each not in heard):
                hearing.events.put(Queued(before))
        return batch

    def _transcribe_alone(self, hearing: TranscriptionRequest) -> None:
        waiting = hearing.segments()
        while waiting and not hearing.over:
            batch = next_batch(waiting, self._transcriber.batch_seconds)
            waiting = [part for part in waiting if part not in batch]
            self._hear(batch)

    def _hear(self, batch: Sequence[RequestSegment]) -> None:
        """Hears a batch; where that fails, each recording of it apart, so that no visitor bears another's fault."""
        try:
            with self._model:
                self.adapters.use(batch[0].together[0])
                listen(batch, self._ends, lambda: self._closed)
        except Exception as error:  # whatever it is, the visitor is told, and the thread goes on
            left = [part for part in batch if not part.ended]
            hearings = list(dict.fromkeys(part.hearing for part in left))
            for hearing in hearings:
                if self._closed or len(hearings) == 1:
                    hearing.fail(_closed_error() if self._closed else error)
                else:
                    self._hear([part for part in left if part.hearing is hearing])


def _ends(model: Any) -> set[int]:
    """Tokens after which a row is done."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return {ends} if isinstance(ends, int) else set(ends or ())


def _in_language(transcriber: Transcriber, language: str | None) -> Transcriber:
    """
    Return a transcriber for recordings in a language.

    Raises:
        EscoitaError: It transcribes another language.
    """
    from escoita.models.whisper_ctc import matching

    settings = transcriber.generation_settings
    if language is None or matching(language, [settings.language]):
        return transcriber
    if not transcriber.family.per_language(transcriber.model, transcriber.processor):
        raise EscoitaError(
            f"this model transcribes {settings.language}", key="language", value=language, hint="leave it out"
        )
    return transcriber.with_settings(settings.model_copy(update={"language": language}))


def _closed_error() -> EscoitaError:
    return EscoitaError("the page is being closed; come back later")


def _checked(samples: np.ndarray) -> np.ndarray:
    """Samples that are given instead of a file, as [`read_audible`] would give them."""
    if samples.ndim != 1 or not len(samples) or samples.dtype.kind != "f" or not np.isfinite(samples).all():
        reason = f"{samples.dtype} of shape {samples.shape}; float32 of shape (samples,) is needed, finite, not empty"
        raise AudioError(reason, path="samples")
    if is_silent(samples):
        raise AudioError("nothing can be heard in them", path="samples")
    return samples.astype(np.float32, copy=False)
