"""One way from recordings to text, for evaluation, the Space and anybody's script."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from escoita.audio.loading import SAMPLING_RATE, is_silent, read_audible, seconds
from escoita.audio.segmentation import cut_where_quiet, part_of
from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record, file_if_any, hub_errors
from escoita.inference.batching import batches_by_seconds
from escoita.models.adapters import merged
from escoita.models.base_model import resolve_base
from escoita.models.trained_prompt import check_prompt, trained_processor
from escoita.records.training import AdapterRecord
from escoita.records.transcript import NOTES, Segment, Transcript
from escoita.utils.processes import ahead, device, free_device_memory, is_out_of_memory, say


if TYPE_CHECKING:
    from escoita.models.base import Family, Watch


@dataclass
class Group:
    """
    Parts of recordings that are heard together.

    Args:
        indices (`list[int]`): The batch of recordings that they belong to.
        clips (`list[float]`): Lengths of these recordings, in seconds.
        parts (`list[tuple[int, float, float]]`): Place in the batch, start and end of each part, in seconds.
        features (`dict`): What the model takes.
        compute_seconds (`float`): Spent on the features.
        last (`bool`): No more groups of this batch follow.
    """

    indices: list[int]
    clips: list[float]
    parts: list[tuple[int, float, float]]
    features: dict[str, Any]
    compute_seconds: float
    last: bool


class Transcriber:
    """
    A model that is ready to listen: greedy decoding, in batches of like length, features made ahead of the model.

    Args:
        family ([`~escoita.models.base.Family`]): How this model is spoken to.
        model: The base model, or base and adapter, or a baseline.
        processor: The family's processor.
        generation_settings ([`AdapterRecord`]): Prompt, language and limit of tokens.
        batch_seconds (`float`, *optional*, defaults to 120): Most audio at once, padding counted.

    Example:

    ```python
    transcriber = Transcriber.load("quickstart/gemma4", adapter="runs/quickstart-uzbek/adapter")
    print(transcriber.transcribe_file("clip.ogg").text)
    ```
    """

    def __init__(
        self,
        family: "Family",
        model: Any,
        processor: Any,
        generation_settings: AdapterRecord,
        batch_seconds: float = 120.0,
    ):
        self.family, self.model, self.processor = family, model.eval(), processor
        self.generation_settings, self.batch_seconds = generation_settings, batch_seconds
        # Makes features on another thread, while the first turns tokens into text: a tokenizer does one at a time.
        self.encoder = copy.deepcopy(processor)
        # Shrinks when memory runs out.
        self.affordable_seconds = 1e9

    @classmethod
    def load(
        cls,
        base: str,
        adapter: str | None = None,
        settings: AdapterRecord | None = None,
        revision: str | None = None,
        dtype: str = "auto",
        batch_seconds: float = 120.0,
        allow_other_base: bool = False,
    ) -> Self:
        """
        Loads a base or a baseline, and an adapter merged into it for speed.

        Args:
            base (`str`): A folder, or a repository of the Hub.
            adapter (`str`, *optional*): A folder, or a repository of the Hub, `user/name` or `user/name@revision`; the
                base alone unless given.
            settings ([`AdapterRecord`], *optional*): Prompt and limits; the adapter's own unless given.
            revision (`str`, *optional*): Of the base; the commit that the adapter was trained on unless given.
            dtype (`str`, *optional*, defaults to `"auto"`): float32 on a CPU, else as the weights are stored.
            batch_seconds (`float`, *optional*, defaults to 120): Most audio at once, padding counted.
            allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights than the
                adapter was trained on.

        Raises:
            OtherBaseError: The base has other weights than the adapter was trained on.
            EscoitaError: The base or the adapter cannot be had, or nothing says which prompt to use.
        """
        from escoita.models import listener_of

        own = settings is None
        if settings is None:
            # `escoita merge` leaves the prompt beside the weights.
            if adapter is None and not file_if_any(base, "escoita.json", revision):
                raise EscoitaError(f"base {base}: a base alone knows no prompt; give settings")
            settings = adapter_record(adapter) if adapter else adapter_record(base, revision)
        if adapter is not None:
            revision = resolve_base(base, [adapter], revision, allow_other=allow_other_base).revision
        place = device()
        dtype = "float32" if dtype == "auto" and place == "cpu" else dtype
        family = listener_of(base, revision)
        with hub_errors(f"base {base}"):
            model = family.load_model(base, revision, dtype, place, settings.load_in_4bit)
            processor = family.load_processor(base, revision)
        if adapter is None and own:
            check_prompt(f"model {base}", family, processor, settings)
        transcriber = cls(family, model, processor, settings, batch_seconds)
        if adapter is not None:
            transcriber.merge_adapter(adapter)
        return transcriber

    def merge_adapter(self, adapter: str) -> None:
        """
        Merges an adapter into the base that is loaded, and takes the processor that the adapter was trained with.

        Raises:
            EscoitaError: There is no such adapter, or it is not one for this base, or another prompt would be told
                than in its training.
        """
        self.model = merged(self.model, adapter)
        self._take_processor_of(adapter)

    def warm_up(self) -> None:
        """Listens to a second of faint noise, so that what is done only once is not measured with the first clip."""
        self.transcribe([np.random.default_rng(0).normal(0, 0.01, SAMPLING_RATE).astype(np.float32)])

    def transcribe_file(self, path: str | Path) -> Transcript:
        """
        Transcribes one recording of any length.

        Of a file that is cut off, what it holds is transcribed; the transcript then has a note, which is printed.

        Raises:
            AudioError: It cannot be read, or nothing can be heard in it.
        """
        recording = read_audible(path)
        for note in recording.notes:
            say(f"{path}: {NOTES[note]}")
        (transcript,) = self.transcribe([recording.samples])
        return replace(transcript, notes=recording.notes)

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
        """
        Transcribes recordings; the order of the results is theirs.

        Args:
            clips (`Sequence[np.ndarray]`): Each of shape `(samples,)`, float32 at 16 kHz. One that is longer than the
                model hears at once is cut where it is quiet; see [`~escoita.audio.segmentation.cut_where_quiet`].
        """
        heard: dict[int, Transcript] = {}
        batches = batches_by_seconds([seconds(clip) for clip in clips], self.batch_seconds)
        for indices, transcripts in self.in_batches(clips.__getitem__, batches):
            heard.update(zip(indices, transcripts, strict=True))
        return [heard[index] for index in range(len(clips))]

    def with_settings(self, generation_settings: AdapterRecord, adapter: str | None = None) -> Self:
        """The same model, told something else, with the processor that an adapter was trained with."""
        other = copy.copy(self)
        other.generation_settings = generation_settings
        if adapter is not None:
            other._take_processor_of(adapter)
        return other

    def _take_processor_of(self, adapter: str) -> None:
        processor = trained_processor(self.family, self.processor, adapter, self.generation_settings.prompt)
        if processor is not self.processor:
            self.processor, self.encoder = processor, copy.deepcopy(processor)

    def in_batches(
        self, load: Callable[[int], np.ndarray], batches: Iterable[list[int]]
    ) -> Iterator[tuple[list[int], list[Transcript]]]:
        """
        Transcribes batch by batch, while the recordings of the next ones are decoded and their features made.

        Args:
            load (`Callable[[int], np.ndarray]`): Gives the samples of a recording; called on other threads.
            batches (`Iterable[list[int]]`): Indices of recordings; see [`batches_by_seconds`].

        Returns:
            `Iterator[tuple[list[int], list[Transcript]]]`: Each batch with what was heard.
        """
        found: list[tuple[int, Segment, float, int]] = []
        for group in ahead(self._prepared(load, batches), depth=2):
            found += self._hear(group)
            if group.last:
                yield group.indices, [self._stitched(place, group, found) for place in range(len(group.indices))]
                found = []

    def _prepared(self, load: Callable[[int], np.ndarray], batches: Iterable[list[int]]) -> Iterator[Group]:
        with ThreadPoolExecutor() as decoders:
            for indices in batches:
                clips = list(decoders.map(load, indices))
                parts = [(place, *part) for place, clip in enumerate(clips) for part in self.parts(clip)]
                chosen = list(batches_by_seconds([end - start for _, start, end in parts], self.batch_seconds))
                for number, group in enumerate(chosen, start=1):
                    yield self._features(indices, clips, [parts[i] for i in group], number == len(chosen))

    def parts(self, clip: np.ndarray) -> list[tuple[float, float]]:
        """
        What of a recording is heard.

        Args:
            clip (`np.ndarray`): Of shape `(samples,)`, float32 at 16 kHz.

        Returns:
            `list[tuple[float, float]]`: Start and end, in seconds: the whole of a clip, or the parts of a long
            recording in which something can be heard.
        """
        parts = cut_where_quiet(clip, self.family.max_audio_seconds)
        # What a model writes about a silent part would be made up; of a silent recording the first stays.
        return [part for part in parts if not is_silent(part_of(clip, *part))] or parts[:1]

    def _features(self, indices: list[int], clips: list[np.ndarray], parts: list[tuple], last: bool) -> Group:
        audio = [part_of(clips[place], start, end) for place, start, end in parts]
        started = time.thread_time()
        features = self.family.encode(self.encoder, audio, self.generation_settings.prompt)
        return Group(indices, [seconds(clip) for clip in clips], parts, features, time.thread_time() - started, last)

    def _hear(self, group: Group) -> list[tuple[int, Segment, float, int]]:
        """Place in the batch, segment, seconds of computing and tokens of each part."""
        started = time.perf_counter()
        texts, counts = self._within_memory(group.features, [end - start for _, start, end in group.parts])
        elapsed = time.perf_counter() - started + group.compute_seconds
        share = elapsed / sum(end - start for _, start, end in group.parts)
        return [
            (place, Segment(start, end, text), share * (end - start), count)
            for (place, start, end), text, count in zip(group.parts, texts, counts, strict=True)
        ]

    def transcribe_segments(
        self, audio: Sequence[np.ndarray], watch: "Watch | None" = None
    ) -> tuple[list[str], list[int]]:
        """
        Listens to one batch on this thread.

        Args:
            audio (`Sequence[np.ndarray]`): Recordings, or parts of them, none longer than the model hears at once.
            watch ([`~escoita.models.base.Watch`], *optional*): Told of each token as it comes.

        Returns:
            `tuple[list[str], list[int]]`: What was heard in each, and of how many tokens.

        Raises:
            EscoitaError: Memory does not suffice for one of them alone.
        """
        features = self.family.encode(self.encoder, audio, self.generation_settings.prompt)
        return self._within_memory(features, [seconds(part) for part in audio], watch)

    def _within_memory(
        self, features: dict[str, Any], lengths: Sequence[float], watch: "Watch | None" = None
    ) -> tuple[list[str], list[int]]:
        """Texts and counts of tokens of parts of these lengths; as few rows at once as memory turns out to allow."""
        longest = max(lengths)
        texts: list[str] = []
        counts: list[int] = []
        while len(texts) < len(lengths):
            most = max(1, min(len(lengths) - len(texts), round(self.affordable_seconds / longest)))
            try:
                some_texts, some_counts = self._generate(features, len(texts), most, watch)
                texts, counts = texts + some_texts, counts + some_counts
                continue
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if most == 1:
                    raise EscoitaError(f"out of memory on a clip of {longest:.1f} s; use a smaller base") from error
            # The error is released here, and with it the tensors that its traceback refers to.
            free_device_memory()
            self.affordable_seconds = longest * (most // 2)
        return texts, counts

    def _generate(
        self, features: dict[str, Any], start: int, count: int, watch: "Watch | None"
    ) -> tuple[list[str], list[int]]:
        """Texts and counts of tokens of some rows of a group."""
        import torch

        inputs = {key: self._placed(value[start : start + count]) for key, value in features.items()}
        row_watch = watch and (lambda row, place, token: watch(start + row, place, token))
        with torch.inference_mode():
            self.family.set_language(self.model, self.processor, self.generation_settings.language)
            tokens = self.family.generate(self.model, inputs, self.generation_settings, row_watch).cpu()
        return self.family.decode(self.processor, tokens), self.family.token_counts(self.processor, tokens)

    def _stitched(self, place: int, group: Group, found: list[tuple[int, Segment, float, int]]) -> Transcript:
        """The transcript of a recording from its parts, which were heard in any order."""
        mine = sorted((item for item in found if item[0] == place), key=lambda item: item[1].start)
        segments = tuple(segment for _, segment, _, _ in mine)
        return Transcript(
            text=" ".join(segment.text for segment in segments if segment.text),
            audio_seconds=group.clips[place],
            compute_seconds=sum(computing for _, _, computing, _ in mine),
            tokens=sum(count for *_, count in mine),
            truncated=any(
                count >= self.family.most_tokens(self.model, self.generation_settings) for *_, count in mine
            ),
            segments=segments,
        )

    def _placed(self, value: Any) -> Any:
        """On the model's device, and where it is a fraction in the model's precision."""
        dtype = self.model.dtype if value.is_floating_point() else value.dtype
        return value.to(self.model.device, dtype)
