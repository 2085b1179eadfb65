"""Train the tiny Phi-4-multimodal: its prompts, its audio inputs, and its speech LoRA."""

import functools
from collections.abc import Callable, Iterable

import numpy as np
import tiny_phi4
import torch
import torch.nn.functional as F
from alphabet import UNSEEN_LANGUAGES, USER_BY_LANGUAGE
from bank import LANGUAGES, Utterance
from peft import PeftModel, get_peft_model
from pretraining import AudioStates, Pretraining, Prompt


class Phi4Pretraining(Pretraining):
    """
    Train with the Galician recipe's prompt and the name of the language, sometimes a wrong one.

    Padding affects its encoder, so that all clips of a batch have the same length.
    """

    end_of_target = tiny_phi4.END + tiny_phi4.END_OF_TEXT
    gain = 1.0
    pads = False

    def __init__(self, seed: int):
        processor = tiny_phi4.build_processor()
        super().__init__(processor, tiny_phi4.build_model(processor, seed=seed), seed)
        self.audio = self.model.model.embed_tokens_extend.audio_embed
        self.audio.down_proj_for_speech.register_forward_hook(self.keep_audio_states)

    def keep_audio_states(self, module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        self.audio_states = output

    @property
    def frames_of(self) -> Callable[[np.ndarray], np.ndarray]:
        return functools.partial(tiny_phi4.frames_of, self.processor.audio_processor)

    def prepare(self, bank: list[Utterance]) -> None:
        """Set the mean and the standard deviation of each band, with which the encoder normalizes."""
        frames = np.concatenate([utterance.frames[::5].astype(np.float32) for utterance in bank[:2000]])
        norm = self.audio.encoder.encoder_embedding
        norm.global_mean.copy_(torch.from_numpy(frames.mean(0)))
        norm.global_invstd.copy_(torch.from_numpy(1 / frames.std(0)))

    def drawn_prompt(self, language: str) -> Prompt:
        named = self.draw.choice([*LANGUAGES, *UNSEEN_LANGUAGES]) if self.draw.random() < 0.3 else language
        user = USER_BY_LANGUAGE.format(named)
        return self.prompt(None, user) if self.draw.random() < 0.3 else self.plain_prompt(named)

    def plain_prompt(self, language: str) -> Prompt:
        """Return the prompt with a space after the audio, as in the recipe's `<|audio_1|> Transcribe`."""
        return self.prompt(None, " " + USER_BY_LANGUAGE.format(language))

    def audio_tokens(self, frames: int) -> int:
        return -(-frames // tiny_phi4.FRAMES_PER_TOKEN)

    def audio_inputs(self, features: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the inputs without a mask, because the processor returns none for a single clip."""
        frames = torch.stack(features)
        sizes = torch.full((len(frames),), self.audio_tokens(frames.shape[1]))
        return {"audio_input_features": frames, "audio_embed_sizes": sizes}

    def encode_audio(self, batch: dict[str, torch.Tensor]) -> AudioStates:
        states = self.audio.encoder(batch["audio_input_features"], None)
        states = self.audio.down_proj_for_speech(F.gelu(self.audio.up_proj_for_speech(states)))
        return states, batch["audio_embed_sizes"].tolist()

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, AudioStates]:
        loss = self.model(**batch).loss
        return loss, (self.audio_states, batch["audio_embed_sizes"].tolist())

    def add_speech_lora(self) -> tuple[PeftModel, Iterable[torch.nn.Parameter]]:
        """
        Add the speech LoRA to the model; from now on, only it and the audio encoder and projection are trained.

        Returns:
            `tuple[PeftModel, Iterable[torch.nn.Parameter]]`: The model with its adapter, and the new parameters.
        """
        adapted = get_peft_model(self.model, tiny_phi4.speech_lora())
        new = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        self.audio.requires_grad_(True)
        return adapted, new
