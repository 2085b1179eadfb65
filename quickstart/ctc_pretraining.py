"""Train the tiny w2v-BERT 2.0: its inputs and its loss."""

import functools
from collections.abc import Callable

import numpy as np
import tiny_ctc
import torch
from bank import Utterance
from pretraining import IGNORED, AudioStates, Pretraining, Prompt


class CtcPretraining(Pretraining):
    """Train with the CTC loss only; the model has no prompt."""

    end_of_target = ""
    gain = 0.2
    pads = True
    dtype = torch.float32

    def __init__(self, seed: int):
        processor = tiny_ctc.build_processor()
        super().__init__(processor, tiny_ctc.build_model(processor, seed=seed), seed)

    @property
    def frames_of(self) -> Callable[[np.ndarray], np.ndarray]:
        return functools.partial(tiny_ctc.frames_of, self.processor.feature_extractor)

    def drawn_prompt(self, language: str) -> Prompt:
        return [], []

    def plain_prompt(self, language: str) -> Prompt:
        return [], []

    def audio_tokens(self, frames: int) -> int:
        return frames

    def audio_inputs(self, features: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        masks = [torch.ones(len(frames), dtype=torch.long) for frames in features]
        return {
            "input_features": torch.nn.utils.rnn.pad_sequence(features, batch_first=True),
            "attention_mask": torch.nn.utils.rnn.pad_sequence(masks, batch_first=True),
        }

    def batch(self, utterances: list[Utterance], train: bool) -> tuple[dict[str, torch.Tensor], list[list[int]]]:
        """Return the inputs of the encoder, and the letters of the transcripts."""
        features = [torch.from_numpy(item.frames.astype(np.float32)) for item in utterances]
        features = [self.masked(item) for item in features] if train else features
        targets = [self.ids(item.text) for item in utterances]
        labels = [torch.tensor(target) for target in targets]
        padded = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED)
        return self.audio_inputs(features) | {"labels": padded}, targets

    def encode_audio(self, batch: dict[str, torch.Tensor]) -> AudioStates:
        states = self.model.wav2vec2_bert(batch["input_features"], batch["attention_mask"]).last_hidden_state
        return states, batch["attention_mask"].sum(1).tolist()

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, AudioStates]:
        raise NotImplementedError("the model has no decoder")

    def loss(self, utterances: list[Utterance], warm_up: bool) -> torch.Tensor:
        """Return the CTC loss for each letter of a clip; the masks of the configuration are for fine-tuning only."""
        batch, targets = self.batch(utterances, train=True)
        self.model.config.apply_spec_augment = False
        loss = self.model(**batch).loss / sum(map(len, targets))
        self.model.config.apply_spec_augment = True
        return loss

    def transcripts(self, utterances: list[Utterance]) -> list[str]:
        """Return the texts of the most probable letters."""
        batch, _ = self.batch(utterances, train=False)
        del batch["labels"]
        letters = self.model(**batch).logits.argmax(-1)
        letters = letters.masked_fill(batch["attention_mask"] == 0, self.tokenizer.pad_token_id)
        return list(self.tokenizer.batch_decode(letters))
