"""Train the tiny Gemma 4: its prompts and its audio inputs."""

import functools
from collections.abc import Callable

import numpy as np
import tiny_gemma4
import torch
from alphabet import UNSEEN_LANGUAGES, USER_BY_LANGUAGE
from bank import LANGUAGES
from pretraining import AudioStates, Pretraining, Prompt
from tiny_gemma4 import SYSTEM, USER


class Gemma4Pretraining(Pretraining):
    """Train with the Uzbek recipe's prompt, and in a quarter of the cases with one that names the language."""

    end_of_target = "<turn|>"
    gain = 0.7
    pads = True

    def __init__(self, seed: int):
        processor = tiny_gemma4.build_processor()
        super().__init__(processor, tiny_gemma4.build_model(processor, seed=seed), seed)

    @property
    def frames_of(self) -> Callable[[np.ndarray], np.ndarray]:
        return functools.partial(tiny_gemma4.frames_of, self.processor.feature_extractor)

    def prompt(self, system: str | None, user: str) -> Prompt:
        """Return the prompt with the special tokens around the audio, which the processor usually adds."""
        before, after = super().prompt(system, user)
        return [*before, self.tokenizer.boa_token_id], [self.tokenizer.eoa_token_id, *after]

    def drawn_prompt(self, language: str) -> Prompt:
        """Return the recipe's prompt with probability 0.75, else one that names the language or a wrong one."""
        if self.draw.random() < 0.75:
            return self.prompt(SYSTEM if self.draw.random() < 0.8 else None, USER)
        named = self.draw.choice([*LANGUAGES, *UNSEEN_LANGUAGES]) if self.draw.random() < 0.3 else language
        return self.prompt(SYSTEM if self.draw.random() < 0.5 else None, USER_BY_LANGUAGE.format(named))

    def plain_prompt(self, language: str) -> Prompt:
        return self.prompt(SYSTEM, USER)

    def audio_tokens(self, frames: int) -> int:
        """Return the number of audio tokens after two convolutions with stride 2."""
        return ((frames + 1) // 2 + 1) // 2

    def audio_inputs(self, features: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        masks = [torch.ones(len(frames), dtype=torch.bool) for frames in features]
        return {
            "input_features": torch.nn.utils.rnn.pad_sequence(features, batch_first=True),
            "input_features_mask": torch.nn.utils.rnn.pad_sequence(masks, batch_first=True),
        }

    def encode_audio(self, batch: dict[str, torch.Tensor]) -> AudioStates:
        audio = self.model.model.get_audio_features(batch["input_features"], batch["input_features_mask"])
        return audio.pooler_output, audio.attention_mask.sum(1).tolist()

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, AudioStates]:
        output = self.model(**batch)
        counts = (batch["input_ids"] == self.model.config.audio_token_id).sum(1).tolist()
        states = torch.nn.utils.rnn.pad_sequence(list(output.audio_hidden_states.split(counts)), batch_first=True)
        return output.loss, (states, counts)
