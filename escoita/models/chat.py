"""Build prompts, targets and labels for chat models with audio in their template."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.models.base import Watch, watch_arguments
from escoita.models.chat_templates import rendered
from escoita.models.trainable import IGNORED, TrainableFamily
from escoita.records.training import AdapterRecord, Prompt


# A message part that a template writes in Python or JSON instead of its text.
LITERAL = re.compile(r"""\{\s*['"]type['"]\s*:""")


def pad_with_silence(clip: np.ndarray, samples: int, multiple: int = 1) -> np.ndarray:
    """
    Return a clip followed by silence.

    Args:
        clip (`np.ndarray`): The samples, of shape `(samples,)`.
        samples (`int`): The minimum number of samples of silence.
        multiple (`int`, *optional*, defaults to 1): The number of samples that the new length is a multiple of.
    """
    return np.pad(clip, (0, -(-(len(clip) + samples) // multiple) * multiple - len(clip)))


class ChatFamily(TrainableFamily):
    """
    Define the interface of a family of chat models with audio in their template.

    Attributes:
        end_of_target (`str`): The end of the assistant's turn, which has loss and stops generation.
        audio_placeholder (`str`): The audio placeholder in a rendered prompt, if no tokenizer file contains it.
    """

    auto_model = "AutoModelForMultimodalLM"
    needs_prompt = True
    task_type = "CAUSAL_LM"
    end_of_target: ClassVar[str]
    audio_placeholder: ClassVar[str] = "<|audio|>"

    def rendered_prompt(self, processor: Any, settings: AdapterRecord) -> str:
        """Return the prompt as the chat template renders it."""
        return self.render(processor, settings.prompt)

    def render(self, processor: Any, prompt: Prompt) -> str:
        """
        Return the prompt from the model's chat template, up to the start of the transcript.

        Some templates write a system turn of parts as a Python literal, and others accept only parts. The system turn
        is first rendered as a string, and as a list of parts if that fails.

        Raises:
            EscoitaError: The template is missing or fails, or omits a part of the prompt.
        """
        text = [{"type": "text", "text": prompt.user}] if prompt.user else []
        user = {"role": "user", "content": [{"type": "audio"}, *text]}
        if not prompt.system:
            return self.templated(processor, prompt, [user])
        try:
            return self.templated(processor, prompt, [{"role": "system", "content": prompt.system}, user])
        except EscoitaError:
            parts = [{"type": "text", "text": prompt.system}]
            return self.templated(processor, prompt, [{"role": "system", "content": parts}, user])

    def templated(self, processor: Any, prompt: Prompt, messages: list[dict[str, Any]]) -> str:
        """Render messages with the chat template, and check that the prompt is complete and without literals."""
        text = template_text = rendered(processor, messages)
        for part, expected in prompt:
            if expected.strip() not in text:
                problem = "the chat template of the base leaves it out"
                raise EscoitaError(problem, key=f"prompt.{part}", hint="leave it empty")
            template_text = template_text.replace(expected.strip(), "") if expected.strip() else template_text
        if LITERAL.search(template_text):
            problem = "the chat template of the base writes a part as a Python literal, such as {'type': 'text'}"
            hint = "use the template of a newer revision of the base"
            raise EscoitaError(problem, key="prompt", hint=hint)
        return text

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """
        Return token ids and masks of shape `(batch, length)`, padded on the left, and audio features, padded on the
        right.

        Raises:
            EscoitaError: The rendered prompt does not contain exactly one audio placeholder.
        """
        rendered = self.render(processor, prompt)
        count = rendered.count(processor.audio_token)
        if count != 1:
            problem = f"the rendered prompt contains the audio placeholder {processor.audio_token} {count} times"
            raise EscoitaError(problem, key="prompt", hint="use a prompt that contains it once")
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
        """Transcribe a batch with greedy decoding; see [`~escoita.models.base.Family.generate`]."""
        prompt_length = inputs["input_ids"].shape[1]
        output = model.generate(
            **inputs,
            **watch_arguments(watch, prompt_length),
            max_new_tokens=settings.max_new_tokens,
            do_sample=False,
        )
        return output[:, prompt_length:]

    def targets(self, processor: Any, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each transcript and of the end of its turn."""
        ended = [text + self.end_of_target for text in texts]
        return processor.tokenizer(ended, add_special_tokens=False)["input_ids"]

    def encode_with_targets(
        self, processor: Any, audio: Sequence[np.ndarray], texts: Sequence[str], settings: AdapterRecord
    ) -> dict[str, torch.Tensor]:
        """Append the targets to the batch for generation; see [`TrainableFamily.encode_with_targets`]."""
        batch = self.encode(processor, audio, settings.prompt)
        targets = self.targets(processor, texts)
        attended = batch["attention_mask"].bool()
        # The target is appended to every tensor with the shape of the token ids; its token types are zero, for text.
        batch["labels"] = torch.full_like(batch["input_ids"], IGNORED)
        zeros = [[0] * len(target) for target in targets]
        tails = {"input_ids": targets, "labels": targets, "attention_mask": [[1] * len(target) for target in targets]}
        padding = {"input_ids": processor.tokenizer.pad_token_id, "labels": IGNORED}
        # The mask of the audio features may have the same shape.
        keys = [key for key in batch if batch[key].shape == attended.shape and not re.search("audio|feature", key)]
        for key in keys:
            rows = [
                torch.cat([row[mask], torch.tensor(tail, dtype=row.dtype)])
                for row, mask, tail in zip(batch[key], attended, tails.get(key, zeros), strict=True)
            ]
            batch[key] = torch.nn.utils.rnn.pad_sequence(
                rows, batch_first=True, padding_value=padding.get(key, 0), padding_side="left"
            )
        return batch
