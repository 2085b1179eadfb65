"""One way from samples to text, for evaluation, the Space and anybody's script."""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from escoita.audio import is_silent, read_audio, seconds
from escoita.errors import AudioError, EscoitaError
from escoita.records import AdapterRecord, Prompt
from escoita.resolve import adapter_record, hub_errors, local_file


if TYPE_CHECKING:
    from escoita.families.chat import ChatFamily


@dataclass(frozen=True)
class Transcript:
    """
    What was heard in a clip.

    Args:
        text (`str`): Without special tokens and edge spaces.
        audio_seconds (`float`): Length of the clip.
        compute_seconds (`float`): Features, generation and decoding; in a batch, by share of the audio.
    """

    text: str
    audio_seconds: float
    compute_seconds: float


class Transcriber:
    """
    A model that is ready to listen: greedy decoding, in batches of like length.

    Args:
        family ([`~escoita.families.chat.ChatFamily`]): How this model is spoken to.
        model: The base model, or base and adapter.
        processor: The family's processor.
        prompt ([`Prompt`]): The prompt of the adapter.
        max_new_tokens (`int`, *optional*, defaults to 256): Most tokens of a transcript.
        batch_size (`int`, *optional*, defaults to 16): Most clips at once.

    Example:

    ```python
    transcriber = Transcriber.load("quickstart/gemma4", adapter="runs/quickstart-uzbek/adapter")
    print(transcriber.transcribe_file("clip.ogg").text)
    ```
    """

    def __init__(
        self,
        family: "ChatFamily",
        model: Any,
        processor: Any,
        prompt: Prompt,
        max_new_tokens: int = 256,
        batch_size: int = 16,
    ):
        self.family, self.model, self.processor = family, model.eval(), processor
        self.prompt, self.max_new_tokens, self.batch_size = prompt, max_new_tokens, batch_size

    @classmethod
    def load(
        cls,
        base: str,
        adapter: str | None = None,
        settings: AdapterRecord | None = None,
        revision: str | None = None,
        dtype: str = "auto",
        batch_size: int = 16,
    ) -> Self:
        """
        Loads a base, and an adapter merged into it for speed.

        Args:
            base (`str`): A folder, or a repository of the Hub.
            adapter (`str`, *optional*): The same; the base alone unless given.
            settings ([`AdapterRecord`], *optional*): Prompt and limits; the adapter's own unless given.
            revision (`str`, *optional*): Of the base.
            dtype (`str`, *optional*, defaults to `"auto"`): float32 on a CPU, else as the weights are stored.
            batch_size (`int`, *optional*, defaults to 16): Most clips at once.

        Raises:
            EscoitaError: The base or the adapter cannot be had, or nothing says which prompt to use.
        """
        import torch

        from escoita.families import family_of

        if settings is None:
            if adapter is None:
                raise EscoitaError(f"base {base}: a base alone knows no prompt; give settings")
            settings = adapter_record(adapter)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = "float32" if dtype == "auto" and device == "cpu" else dtype
        family = family_of(base, revision)
        with hub_errors(f"base {base}"):
            model = family.load_model(base, revision, dtype, device)
            processor = family.load_processor(base, revision)
        transcriber = cls(family, model, processor, settings.prompt, settings.max_new_tokens, batch_size)
        if adapter is not None:
            transcriber.merge_adapter(adapter)
        return transcriber

    def merge_adapter(self, adapter: str) -> None:
        """
        Merges an adapter into the base that is loaded.

        Raises:
            EscoitaError: There is no such adapter, or it is not one for this base.
        """
        from peft import PeftModel, get_peft_model_state_dict
        from safetensors import safe_open

        device = next(self.model.parameters()).device.type
        try:
            with hub_errors(f"adapter {adapter}"), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Found missing adapter keys")  # counted below
                model = PeftModel.from_pretrained(self.model, adapter, torch_device=device)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise EscoitaError(f"adapter {adapter}: does not fit this base ({reason})") from error
        with safe_open(local_file(adapter, "adapter_model.safetensors"), "pt") as weights:
            # PEFT passes over what it does not know, and what is missing stays zero: the base would answer alone.
            astray = set(weights.keys()) ^ set(get_peft_model_state_dict(model))
        if astray:
            raise EscoitaError(f"adapter {adapter}: does not fit this base ({len(astray)} weights find no place)")
        self.model = model.merge_and_unload().eval()

    def transcribe_file(self, path: str | Path) -> Transcript:
        """
        Transcribes one recording.

        Raises:
            AudioError: It cannot be read, is longer than the model hears, or nothing can be heard in it.
        """
        samples = read_audio(path)
        name = Path(path).name
        if seconds(samples) > self.family.max_audio_seconds:
            limit = self.family.max_audio_seconds
            raise AudioError(name, f"{seconds(samples):.1f} s is over the {limit:g} s that the model hears")
        if is_silent(samples):
            raise AudioError(name, "nothing can be heard in it")
        return self.transcribe([samples])[0]

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
        """
        Transcribes clips; the order of the results is theirs.

        Args:
            clips (`Sequence[np.ndarray]`): Each of shape `(samples,)`, float32 at 16 kHz, within the model's limit.
        """
        transcripts: list[Transcript | None] = [None] * len(clips)
        for indices in batches_by_length([len(clip) for clip in clips], self.batch_size):
            for index, transcript in zip(indices, self._batch([clips[i] for i in indices]), strict=True):
                transcripts[index] = transcript
        return [transcript for transcript in transcripts if transcript is not None]

    def _batch(self, clips: list[np.ndarray]) -> list[Transcript]:
        import torch

        started = time.perf_counter()
        batch = self.family.encode(self.processor, clips, self.prompt)
        inputs = {key: self._placed(value) for key, value in batch.items()}
        with torch.inference_mode():
            output = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        texts = self.family.decode(self.processor, output[:, batch["input_ids"].shape[1] :])
        elapsed = time.perf_counter() - started
        share = elapsed / sum(map(len, clips))
        return [Transcript(text, seconds(clip), share * len(clip)) for text, clip in zip(texts, clips, strict=True)]

    def _placed(self, value: Any) -> Any:
        """On the model's device, and where it is a fraction in the model's precision."""
        dtype = self.model.dtype if value.is_floating_point() else value.dtype
        return value.to(self.model.device, dtype)


def batches_by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Indices in batches of like length, the longest first, so that what will not fit in memory fails at once."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), size):
        yield order[start : start + size]
