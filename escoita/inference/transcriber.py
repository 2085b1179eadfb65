"""Transcribe recordings, for evaluation, the Space and Python scripts."""

import copy
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from escoita.audio.loading import SAMPLING_RATE, read_audible, seconds
from escoita.audio.segmentation import cut_segment, is_long, speech_segments
from escoita.audio.speech_detection import speech_detector
from escoita.errors import EscoitaError
from escoita.hub.failures import explain_hub_errors
from escoita.hub.files import adapter_record, file_if_any
from escoita.inference.batching import batches_by_seconds
from escoita.models.adapters import merged
from escoita.models.base_model import resolve_base
from escoita.models.trained_prompt import check_prompt, trained_processor
from escoita.records.training import AdapterRecord
from escoita.records.transcript import NOTES, Segment, SpeechDetector, Transcript
from escoita.utils.languages import join_texts
from escoita.utils.processes import ahead, device, free_device_memory, is_out_of_memory, say


if TYPE_CHECKING:
    from escoita.models.base import Family, Span, Watch


def _is_of_transformers(error: BaseException) -> bool:
    """Return whether Transformers raised an error itself, as it does for settings that contradict each other."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("transformers.")


class Output(NamedTuple):
    """
    Store what a model generates for a segment.

    Args:
        text (`str`): The text.
        tokens (`int`): The number of tokens.
        spans (`list[Span]`): The time of each character that is not a space, as fractions of the segment; empty if the
            model does not know them.
    """

    text: str
    tokens: int
    spans: "Sequence[Span]" = ()

    def characters(self, start: float, end: float) -> tuple["Span", ...]:
        """Return the times of the characters in a recording, for a segment from `start` to `end`, in seconds."""
        return tuple((start + first * (end - start), start + last * (end - start)) for first, last in self.spans)


@dataclass
class Group:
    """
    Store a group of segments that the model transcribes together.

    Args:
        indices (`list[int]`): The batch of recordings that they belong to.
        clips (`list[float]`): The lengths of these recordings, in seconds.
        detectors (`list[SpeechDetector | None]`): The detector that found the segments of each.
        spans (`list[tuple[int, float, float]]`): The position in the batch of recordings, and the start and end in
            seconds, of each segment.
        features (`dict`): The inputs of the model.
        compute_seconds (`float`): The time to compute the features, in seconds.
        last (`bool`): Whether this is the last group of its batch.
    """

    indices: list[int]
    clips: list[float]
    detectors: list[SpeechDetector | None]
    spans: list[tuple[int, float, float]]
    features: dict[str, Any]
    compute_seconds: float
    last: bool


class Transcriber:
    """
    Transcribe recordings with a loaded model: batches of similar length, prefetched features.

    Args:
        family ([`~escoita.models.base.Family`]): The family of the model.
        model: The base model, a base model with an adapter, or a baseline.
        processor: The processor of the model.
        generation_settings ([`AdapterRecord`]): The prompt, the language and the token limit.
        batch_seconds (`float`, *optional*, defaults to 120): The most audio in a batch, including padding, in seconds.

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
        self.use_beams(1)  # the stored generation configuration may have several, which a page cannot show
        # A copy computes features on another thread while tokens are decoded: a tokenizer is not thread-safe.
        self.encoder = copy.deepcopy(processor)
        # Reduced when the model runs out of memory.
        self.max_batch_seconds = 1e9
        # Whether a batch that runs out of memory is split; processes that hold shards of a model cannot split one.
        self.splits_batches = True

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
        Load a base model or a baseline, and merge an adapter into it for speed.

        Args:
            base (`str`): A folder, or a repository of the Hub.
            adapter (`str`, *optional*): A folder, or a repository of the Hub, `user/name` or `user/name@revision`. The
                default is the base without an adapter.
            settings ([`AdapterRecord`], *optional*): The prompt and the limits. The default is those of the adapter.
            revision (`str`, *optional*): The revision of the base. The default is the commit that the adapter was
                trained on.
            dtype (`str`, *optional*, defaults to `"auto"`): The precision; `auto`: float32 on a CPU, else that of the
                stored weights.
            batch_seconds (`float`, *optional*, defaults to 120): The most audio in a batch, including padding, in
                seconds.
            allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights
                than the adapter was trained on.

        Raises:
            OtherBaseError: The base has other weights than the adapter was trained on.
            EscoitaError: The base or the adapter cannot be loaded, or there is no prompt.
        """
        from escoita.models import family_for_evaluation

        stored = settings is None
        if settings is None:
            # `escoita merge` writes the prompt next to the weights.
            if adapter is None and not file_if_any(base, "escoita.json", revision):
                raise EscoitaError("a base model without an adapter has no prompt", path=base, hint="pass settings")
            settings = adapter_record(adapter) if adapter else adapter_record(base, revision)
        if adapter is not None:
            revision = resolve_base(base, [adapter], revision, allow_other=allow_other_base).revision
        target = device()
        dtype = "float32" if dtype == "auto" and target == "cpu" else dtype
        family = family_for_evaluation(base, revision)
        with explain_hub_errors(base, "base", local=True, value=revision):
            model = family.load_model(base, revision, dtype, target, settings.load_in_4bit)
            processor = family.load_processor(base, revision)
        if adapter is None and stored:
            check_prompt(f"model {base}", family, processor, settings)
        transcriber = cls(family, model, processor, settings, batch_seconds)
        if adapter is not None:
            transcriber.merge_adapter(adapter)
        return transcriber

    @property
    def per_language(self) -> bool:
        """Return whether the model needs the language of the clips, which is not fixed by the prompt of an adapter."""
        fixed = self.generation_settings.language_token is not None
        return not fixed and self.family.per_language(self.model, self.processor)

    def merge_adapter(self, adapter: str) -> None:
        """
        Merge an adapter into the loaded base model, and use the processor that the adapter was trained with.

        Raises:
            EscoitaError: The adapter is not found, is incompatible with the base model, or its prompt would differ
                from that in training.
        """
        self.model = merged(self.model, adapter)
        self._use_processor_of(adapter)

    def use_beams(self, num_beams: int) -> None:
        """Decode with a number of beams, or greedily if the family cannot use beams."""
        config = getattr(self.model, "generation_config", None)
        if config is not None:
            config.num_beams = num_beams if self.family.beam_search else 1

    def warm_up(self) -> None:
        """Transcribe a second of faint noise, so that the time of the first clip does not include initialization."""
        self.transcribe([np.random.default_rng(0).normal(0, 0.01, SAMPLING_RATE).astype(np.float32)])

    def transcribe_file(self, path: str | Path) -> Transcript:
        """
        Transcribe one recording of any length.

        If the file is cut off, the rest is transcribed; the transcript then has a note, which is printed.

        Raises:
            AudioError: The recording cannot be read, or has no audible content.
        """
        recording = read_audible(path)
        for note in recording.notes:
            say(f"{path}: {NOTES[note]}")
        (transcript,) = self.transcribe([recording.samples])
        return replace(transcript, notes=recording.notes)

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
        """
        Transcribe recordings, and return the transcripts in the same order.

        Args:
            clips (`Sequence[np.ndarray]`): The recordings, each of shape `(samples,)`, float32 at 16 kHz. A recording
                over the limit of the model is cut into stretches of speech; see
                [`~escoita.audio.segmentation.speech_segments`].
        """
        found: dict[int, Transcript] = {}
        batches = batches_by_seconds([seconds(clip) for clip in clips], self.batch_seconds)
        for indices, transcripts in self.transcribe_batches(clips.__getitem__, batches):
            found.update(zip(indices, transcripts, strict=True))
        return [found[index] for index in range(len(clips))]

    def with_settings(self, generation_settings: AdapterRecord, adapter: str | None = None) -> Self:
        """Return a transcriber of the same model with other settings, and the processor of an adapter."""
        other = copy.copy(self)
        other.generation_settings = generation_settings
        if adapter is not None:
            other._use_processor_of(adapter)
        return other

    def _use_processor_of(self, adapter: str) -> None:
        processor = trained_processor(self.family, self.processor, adapter, self.generation_settings)
        if processor is not self.processor:
            self.processor, self.encoder = processor, copy.deepcopy(processor)

    def transcribe_batches(
        self, load: Callable[[int], np.ndarray], batches: Iterable[list[int]]
    ) -> Iterator[tuple[list[int], list[Transcript]]]:
        """
        Transcribe batch by batch, while the recordings and features of the next batches are prefetched.

        Args:
            load (`Callable[[int], np.ndarray]`): The function that returns the samples of a recording; it is called on
                other threads.
            batches (`Iterable[list[int]]`): The indices of the recordings of each batch; see [`batches_by_seconds`].

        Returns:
            `Iterator[tuple[list[int], list[Transcript]]]`: Each batch with its transcripts.
        """
        found: list[tuple[int, Segment, float, int]] = []
        for group in ahead(self._groups(load, batches), depth=2):
            found += self._transcribe(group)
            if group.last:
                positions = range(len(group.indices))
                yield group.indices, [self._joined(position, group, found) for position in positions]
                found = []

    def _groups(self, load: Callable[[int], np.ndarray], batches: Iterable[list[int]]) -> Iterator[Group]:
        with ThreadPoolExecutor() as decoders:
            for indices in batches:
                clips = list(decoders.map(load, indices))
                spans = [(position, *span) for position, clip in enumerate(clips) for span in self.spans(clip)]
                groups = list(batches_by_seconds([end - start for _, start, end in spans], self.batch_seconds))
                for number, group in enumerate(groups, start=1):
                    yield self._features(indices, clips, [spans[i] for i in group], number == len(groups))

    def spans(self, clip: np.ndarray, max_seconds: float | None = None) -> list[tuple[float, float]]:
        """
        Return the segments of a recording to transcribe; see [`~escoita.audio.segmentation.speech_segments`].

        Args:
            clip (`np.ndarray`): The samples, of shape `(samples,)`, float32 at 16 kHz.
            max_seconds (`float`, *optional*): The longest segment; the limit of the model unless it is shorter.

        Returns:
            `list[tuple[float, float]]`: The start and end of each segment, in seconds: the complete clip, or the
            stretches of speech of a long recording.
        """
        return speech_segments(clip, self._limit(max_seconds), self.family.longest_pause)

    def detector(self, clip: np.ndarray, max_seconds: float | None = None) -> SpeechDetector | None:
        """Return the detector that found the segments of a long recording; `None` for a recording of one segment."""
        return speech_detector() if is_long(clip, self._limit(max_seconds)) else None

    def _limit(self, max_seconds: float | None) -> float:
        longest = self.family.max_audio_seconds
        return min(longest, max_seconds or longest)

    def _features(self, indices: list[int], clips: list[np.ndarray], spans: list[tuple], last: bool) -> Group:
        audio = [cut_segment(clips[position], start, end) for position, start, end in spans]
        started = time.thread_time()
        features = self.family.encode(self.encoder, audio, self.generation_settings.prompt)
        return Group(
            indices,
            [seconds(clip) for clip in clips],
            [self.detector(clip) for clip in clips],
            spans,
            features,
            time.thread_time() - started,
            last,
        )

    def _transcribe(self, group: Group) -> list[tuple[int, Segment, float, int]]:
        """Return the position in the batch, the segment, the compute seconds and the token count of each segment."""
        started = time.perf_counter()
        outputs = self._within_memory(group.features, [end - start for _, start, end in group.spans])
        elapsed = time.perf_counter() - started + group.compute_seconds
        share = elapsed / sum(end - start for _, start, end in group.spans)
        return [
            (position, Segment(start, end, each.text, each.characters(start, end)), share * (end - start), each.tokens)
            for (position, start, end), each in zip(group.spans, outputs, strict=True)
        ]

    def transcribe_segments(self, audio: Sequence[np.ndarray], watch: "Watch | None" = None) -> list[Output]:
        """
        Transcribe one batch on this thread.

        Args:
            audio (`Sequence[np.ndarray]`): The recordings or segments, none over the limit of the model.
            watch ([`~escoita.models.base.Watch`], *optional*): The function that is called for each generated token.

        Returns:
            `list[Output]`: The output for each segment.

        Raises:
            EscoitaError: Memory does not suffice for a single segment.
        """
        features = self.family.encode(self.encoder, audio, self.generation_settings.prompt)
        return self._within_memory(features, [seconds(segment) for segment in audio], watch)

    def _within_memory(
        self, features: dict[str, Any], lengths: Sequence[float], watch: "Watch | None" = None
    ) -> list[Output]:
        """Return the outputs for segments of these lengths; a batch that runs out of memory is split."""
        longest = max(lengths)
        outputs: list[Output] = []
        while len(outputs) < len(lengths):
            rows = max(1, min(len(lengths) - len(outputs), round(self.max_batch_seconds / longest)))
            try:
                outputs += self._generate(features, len(outputs), rows, watch)
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if rows == 1:
                    problem = f"out of memory on a clip of {longest:.1f} s"
                    raise EscoitaError(problem, hint="use a smaller base") from error
                if not self.splits_batches:
                    problem = f"out of memory on {rows} clips, the longest of {longest:.1f} s"
                    raise EscoitaError(problem, hint="lower eval.batch_seconds") from error
            # The error, and the tensors that its traceback refers to, are released here.
            free_device_memory()
            self.max_batch_seconds = longest * (rows // 2)
        return outputs

    def _generate(self, features: dict[str, Any], start: int, count: int, watch: "Watch | None") -> list[Output]:
        """Return the outputs for some rows of a group."""
        import torch

        inputs = {key: self._placed(value[start : start + count]) for key, value in features.items()}
        row_watch = watch and (lambda row, position, token: watch(start + row, position, token))
        with torch.inference_mode():
            self.family.set_language(self.model, self.processor, self.generation_settings.language)
            try:
                tokens = self.family.generate(self.model, inputs, self.generation_settings, row_watch).cpu()
            except ValueError as error:
                if not _is_of_transformers(error):
                    raise
                reason = " ".join(str(error).split())[:300]
                problem, name = f"transformers refuses to generate ({reason})", self.model.config._name_or_path
                settings = Path(name, "generation_config.json")
                raise EscoitaError(problem, path=settings if settings.is_file() else name) from error
        texts = self.family.decode(self.processor, tokens)
        counts = self.family.token_counts(self.processor, tokens)
        spans = self.family.character_spans(self.processor, tokens) or [[] for _ in texts]
        return [Output(*each) for each in zip(texts, counts, spans, strict=True)]

    def _joined(self, position: int, group: Group, found: list[tuple[int, Segment, float, int]]) -> Transcript:
        """Return the transcript of a recording from its segments, which were transcribed in any order."""
        own = sorted((item for item in found if item[0] == position), key=lambda item: item[1].start)
        segments = tuple(segment for _, segment, _, _ in own)
        return Transcript(
            text=join_texts((segment.text for segment in segments), self.generation_settings.language),
            audio_seconds=group.clips[position],
            compute_seconds=sum(computing for _, _, computing, _ in own),
            tokens=sum(count for *_, count in own),
            truncated=any(count >= self.family.most_tokens(self.model, self.generation_settings) for *_, count in own),
            segments=segments,
            speech_detector=group.detectors[position],
        )

    def _placed(self, value: Any) -> Any:
        """Move a tensor to the model's device; a floating-point tensor is also converted to the model's precision."""
        dtype = self.model.dtype if value.is_floating_point() else value.dtype
        return value.to(self.model.device, dtype)
