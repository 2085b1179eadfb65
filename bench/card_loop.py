"""Run the code of the Uzbek card: one clip at a time, with an adapter that is not merged."""

from pathlib import Path
from typing import Any

import soundfile

from escoita.audio.loading import SAMPLING_RATE
from escoita.models.gemma4 import Gemma4AudioProcessor
from escoita.records.training import AdapterRecord


class CardLoop:
    """
    Transcribe like the card's code, with Transformers and PEFT, without Unsloth, 4 bits and streaming.

    Args:
        base (`str`): Folder of the base.
        adapter (`str`): Folder of the adapter.
        generation_settings ([`AdapterRecord`]): Prompt and token limit.
    """

    def __init__(self, base: str, adapter: str, generation_settings: AdapterRecord):
        from peft import PeftModel
        from transformers import AutoModelForMultimodalLM

        model = AutoModelForMultimodalLM.from_pretrained(base, dtype="float32", use_safetensors=True)
        self.model: Any = PeftModel.from_pretrained(model, adapter).eval()
        # The processor of the library requires torchvision.
        self.processor = Gemma4AudioProcessor.from_pretrained(adapter)
        self.generation_settings = generation_settings

    def transcribe(self, path: str | Path) -> str:
        """Return the transcript of a recording, which must be mono at 16 kHz."""
        samples, rate = soundfile.read(path, dtype="float32")
        if rate != SAMPLING_RATE or samples.ndim > 1:
            raise ValueError(f"{path}: is not mono at {SAMPLING_RATE} Hz")
        messages = [
            {"role": "system", "content": [{"type": "text", "text": self.generation_settings.prompt.system}]},
            {
                "role": "user",
                "content": [
                    {"type": "audio", "audio": samples},
                    {"type": "text", "text": self.generation_settings.prompt.user},
                ],
            },
        ]
        inputs = self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        tokens = self.model.generate(**inputs, max_new_tokens=self.generation_settings.max_new_tokens, do_sample=False)
        return self.processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
