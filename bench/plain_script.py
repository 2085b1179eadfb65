"""Define the collator of a training script without escoita: TRL's SFTTrainer, clips in random order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import soundfile
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.records.training import Prompt


END_OF_TURN = "<turn|>\n"


@dataclass
class PlainCollator:
    """
    Read recordings, render conversations, and make a batch of them with the processor.

    Args:
        processor: Processor of Gemma 4.
        prompt ([`Prompt`]): Prompt of each clip.
    """

    processor: Any
    prompt: Prompt

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        texts, audio = [], []
        for row in rows:
            samples, rate = soundfile.read(row["audio"], dtype="float32")
            if rate != SAMPLING_RATE or samples.ndim > 1:
                raise ValueError(f"{row['audio']}: is not mono at {SAMPLING_RATE} Hz")
            messages = [
                {"role": "system", "content": [{"type": "text", "text": self.prompt.system}]},
                {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": self.prompt.user}]},
                {"role": "assistant", "content": [{"type": "text", "text": row["text"]}]},
            ]
            texts.append(self.processor.apply_chat_template(messages, tokenize=False))
            audio.append(samples)
        batch = dict(
            self.processor(
                text=texts,
                audio=audio,
                sampling_rate=SAMPLING_RATE,
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=False,
            )
        )
        labels = torch.full_like(batch["input_ids"], -100)
        for place, row in enumerate(rows):
            target = self.processor.tokenizer(row["text"] + END_OF_TURN, add_special_tokens=False)["input_ids"]
            labels[place, -len(target) :] = batch["input_ids"][place, -len(target) :]
        return batch | {"labels": labels}
