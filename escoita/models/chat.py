"""Chat models with an audio part in their template: prompt, target and labels built one way for all of them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.models.base import Family, Watch, watched
from escoita.models.chat_templates import rendered
from escoita.models.families import FamilyInfo
from escoita.models.small_copy import Sizes
from escoita.records.training import AdapterRecord, Prompt


IGNORED = -100
# A message that a template wrote out instead of its text, in Python or JSON.
LITERAL = re.compile(r"""\{\s*['"]type['"]\s*:""")


def filled(clip: np.ndarray, beyond: int, step: int = 1) -> np.ndarray:
    """A clip with silence after it, of at least so many samples, and up to a multiple of some."""
    return np.pad(clip, (0, -(-(len(clip) + beyond) // step) * step - len(clip)))


class ChatFamily(Family):
    """
    A family that can be trained.

    Attributes:
        info ([`~escoita.models.families.FamilyInfo`]): Its names, and the data that is read without torch.
        end_of_target (`str`): Ends the assistant's turn; carries loss and stops generation.
        audio_features (`str`): The key of a batch that holds the audio.
        audio_mark (`str`): Stands for the audio in a rendered prompt, if no file of the tokenizer names it.
        towers (`dict[str, str]`): Regular expressions that find a tower's parameters, the first that matches counting.
        small_sizes (`dict[str, dict[str, Any]]`): Sizes of a small copy of a base, by the type of each section of its
            configuration; see [`~escoita.models.small_copy.small_config`].
    """

    auto_model = "AutoModelForMultimodalLM"
    complete = True
    info: ClassVar[FamilyInfo]
    end_of_target: ClassVar[str]
    audio_features: ClassVar[str] = "input_features"
    audio_mark: ClassVar[str] = "<|audio|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio", "language": r""}
    small_sizes: ClassVar[Sizes]

    @property
    def whole_in_4bit(self) -> tuple[str, ...]:
        """Every tower but the language tower, as in the bases that Unsloth publishes in 4 bits."""
        return tuple(pattern for tower, pattern in self.towers.items() if tower != "language")

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Saves the processor without the padding state of its last call, which would break the next one."""
        processor.tokenizer.backend_tokenizer.no_padding()
        processor.tokenizer.backend_tokenizer.no_truncation()
        processor.save_pretrained(folder)

    def tower_of(self, parameter: str) -> str:
        """Name of the tower that a parameter belongs to."""
        return next(tower for tower, pattern in self.towers.items() if re.search(pattern, parameter))

    def render(self, processor: Any, prompt: Prompt) -> str:
        """
        The prompt as the model's own chat template writes it, up to where the transcript begins.

        Some templates write a system turn that is a list of parts as a Python literal, and others take nothing but
        parts; so it is a string where that gives its text, and else a list.

        Raises:
            EscoitaError: There is no template, or it leaves out a part of the prompt.
        """
        told = [{"type": "text", "text": prompt.user}] if prompt.user else []
        user = {"role": "user", "content": [{"type": "audio"}, *told]}
        if not prompt.system:
            return self.templated(processor, prompt, [user])
        try:
            return self.templated(processor, prompt, [{"role": "system", "content": prompt.system}, user])
        except EscoitaError:
            parts = [{"type": "text", "text": prompt.system}]
            return self.templated(processor, prompt, [{"role": "system", "content": parts}, user])

    def templated(self, processor: Any, prompt: Prompt, messages: list[dict[str, Any]]) -> str:
        """Messages as the chat template writes them, with everything in them that should be, and nothing in code."""
        found = around = rendered(processor, messages)
        for part, text in prompt:
            if text.strip() not in found:
                raise EscoitaError(f"prompt.{part}: the chat template of the base leaves it out; leave it empty")
            around = around.replace(text.strip(), "") if text.strip() else around
        if LITERAL.search(around):
            raise EscoitaError(
                "prompt: the chat template of the base writes a part as a Python literal, such as {'type': 'text'};"
                " use the template of a newer revision of the base"
            )
        return found

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """
        Token ids and masks of shape `(batch, length)`, padded on the left; audio features, padded on the right.

        Raises:
            EscoitaError: The prompt, as the model is told it, has not one place for the audio.
        """
        rendered = self.render(processor, prompt)
        places = rendered.count(processor.audio_token)
        if places != 1:
            raise EscoitaError(
                f"prompt: as the base is told it, it has {places} places for the audio, not one"
                f" ({processor.audio_token})"
            )
        batch = processor(
            text=[rendered] * len(audio),
            audio=list(audio),
            sampling_rate=SAMPLING_RATE,
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        )
        return dict(batch)

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """What follows the prompt."""
        told = inputs["input_ids"].shape[1]
        output = model.generate(
            **inputs, **watched(watch, told), max_new_tokens=settings.max_new_tokens, do_sample=False
        )
        return output[:, told:]

    def encode_with_targets(
        self, processor: Any, audio: Sequence[np.ndarray], texts: Sequence[str], prompt: Prompt
    ) -> dict[str, torch.Tensor]:
        """
        Builds a batch to train on: the prompt exactly as for generation, then the transcript, which alone has labels.

        Args:
            processor: The family's processor.
            audio (`Sequence[np.ndarray]`): Clips, each of shape `(samples,)`, float32 at 16 kHz.
            texts (`Sequence[str]`): Their transcripts.
            prompt ([`Prompt`]): Told beside each clip.

        Returns:
            `dict[str, torch.Tensor]`: As [`~ChatFamily.encode`], with `labels` of shape `(batch, length)`, -100
            everywhere but on the transcript and the end of its turn.
        """
        tokenizer = processor.tokenizer
        batch = self.encode(processor, audio, prompt)
        targets = tokenizer([text + self.end_of_target for text in texts], add_special_tokens=False)["input_ids"]
        shown = batch["attention_mask"].bool()
        # Every tensor shaped like the token ids grows by the target; the types of its tokens are zero, which is text.
        batch["labels"] = torch.full_like(batch["input_ids"], IGNORED)
        zeros = [[0] * len(target) for target in targets]
        tails = {"input_ids": targets, "labels": targets, "attention_mask": [[1] * len(target) for target in targets]}
        padding = {"input_ids": tokenizer.pad_token_id, "labels": IGNORED}
        # The mask of the audio features may happen to be as long.
        of_tokens = [key for key in batch if batch[key].shape == shown.shape and not re.search("audio|feature", key)]
        for key in of_tokens:
            rows = [
                torch.cat([row[mask], torch.tensor(tail, dtype=row.dtype)])
                for row, mask, tail in zip(batch[key], shown, tails.get(key, zeros), strict=True)
            ]
            batch[key] = torch.nn.utils.rnn.pad_sequence(
                rows, batch_first=True, padding_value=padding.get(key, 0), padding_side="left"
            )
        return batch
