"""Pretrain a tiny base: prompts, batches and losses; subclasses implement the differences between families."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import jiwer
import numpy as np
import torch
import torch.nn.functional as F
from bank import Utterance


IGNORED = -100
Prompt = tuple[list[int], list[int]]
AudioStates = tuple[torch.Tensor, list[int]]


class Pretraining(ABC):
    """
    Represent the pretraining of a tiny base.

    Args:
        processor: Processor of the base.
        model: Untrained base.
        seed (`int`): Seed of the random prompts and masks.

    Attributes:
        end_of_target (`str`): Text at the end of the assistant's turn.
        gain (`float`): Maximum random offset of all log-mel frames of a clip.
        pads (`bool`): Whether a batch may contain clips of similar lengths; otherwise all have the same length.
        dtype (`torch.dtype`): Type of the stored weights.
    """

    end_of_target: ClassVar[str]
    gain: ClassVar[float]
    pads: ClassVar[bool]
    dtype: ClassVar[torch.dtype] = torch.bfloat16

    def __init__(self, processor: Any, model: Any, seed: int):
        self.processor, self.model, self.tokenizer = processor, model, processor.tokenizer
        self.seed, self.draw = seed, random.Random(seed)
        self.prompts: dict[tuple[str | None, str], Prompt] = {}

    @property
    @abstractmethod
    def frames_of(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return a picklable function that computes the log-mel frames of a clip."""

    @abstractmethod
    def drawn_prompt(self, language: str) -> Prompt:
        """Return a random training prompt."""

    @abstractmethod
    def plain_prompt(self, language: str) -> Prompt:
        """Return the prompt of the recipe."""

    @abstractmethod
    def audio_tokens(self, frames: int) -> int:
        """Return the number of audio tokens of a clip."""

    @abstractmethod
    def audio_inputs(self, features: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the model inputs for the frames of a batch."""

    @abstractmethod
    def encode_audio(self, batch: dict[str, torch.Tensor]) -> AudioStates:
        """Return the projected audio, of shape `(batch, tokens, hidden)`, and the number of tokens of each clip."""

    @abstractmethod
    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, AudioStates]:
        """Return the cross-entropy of the transcripts, and the projected audio."""

    def prepare(self, bank: list[Utterance]) -> None:  # noqa: B027 - optional
        """Prepare the base for its training data before the first step."""

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def prompt(self, system: str | None, user: str) -> Prompt:
        """Return the token ids before and after the audio tokens."""
        if (system, user) not in self.prompts:
            turns = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": user}]}]
            turns = ([{"role": "system", "content": system}] if system else []) + turns
            rendered = self.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            before, after = rendered.split("<|audio|>")
            self.prompts[system, user] = (self.ids(before), self.ids(after))
        return self.prompts[system, user]

    def masked(self, frames: torch.Tensor) -> torch.Tensor:
        """Return frames with random gain, time masking and frequency masking (SpecAugment, Park et al. 2019)."""
        frames = frames + self.draw.uniform(-self.gain, self.gain)
        for axis in (0, 1):
            if self.draw.random() < 0.5:
                width = self.draw.randint(1, 8)
                start = self.draw.randint(0, max(0, frames.shape[axis] - width))
                frames.narrow(axis, start, min(width, frames.shape[axis] - start)).fill_(float(frames.mean()))
        return frames

    def batch(self, utterances: list[Utterance], train: bool) -> tuple[dict[str, torch.Tensor], list[list[int]]]:
        """Return the model inputs of some utterances, augmented if `train`, and the token ids of the transcripts."""
        features = [torch.from_numpy(item.frames.astype(np.float32)) for item in utterances]
        features = [self.masked(item) for item in features] if train else features
        end = self.ids(self.end_of_target)
        targets = [self.ids(item.text) for item in utterances]
        rows, labels = [], []
        for item, frames, target in zip(utterances, features, targets, strict=True):
            before, after = self.drawn_prompt(item.language) if train else self.plain_prompt(item.language)
            prompt = before + [self.tokenizer.audio_token_id] * self.audio_tokens(len(frames)) + after
            rows.append(torch.tensor(prompt + target + end))
            labels.append(torch.tensor([IGNORED] * len(prompt) + target + end))
        batch = {
            "input_ids": self.padded(rows, self.tokenizer.pad_token_id),
            "attention_mask": self.padded([torch.ones_like(row) for row in rows], 0),
            "labels": self.padded(labels, IGNORED),
        }
        return batch | self.audio_inputs(features), targets

    def padded(self, rows: list[torch.Tensor], blank: int) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=blank, padding_side="left")

    def ctc_loss(self, audio: AudioStates, targets: list[list[int]]) -> torch.Tensor:
        """Return the CTC loss of the projected audio with the output embedding; the padding token is the blank."""
        states, lengths = audio
        logits = F.linear(F.rms_norm(states, states.shape[-1:]), self.model.lm_head.weight)
        return F.ctc_loss(
            F.log_softmax(logits.float(), -1).transpose(0, 1),
            torch.tensor([token for target in targets for token in target]),
            torch.tensor(lengths),
            torch.tensor([len(target) for target in targets]),
            blank=self.tokenizer.pad_token_id,
            zero_infinity=True,
        )

    def loss(self, utterances: list[Utterance], warm_up: bool) -> torch.Tensor:
        """Return the CTC loss during warm-up, and later cross-entropy plus 0.3 times the CTC loss."""
        batch, targets = self.batch(utterances, train=True)
        if warm_up:
            return self.ctc_loss(self.encode_audio(batch), targets)
        loss, audio = self.forward(batch)
        return loss + 0.3 * self.ctc_loss(audio, targets)

    def batches(self, bank: list[Utterance], size: int, draw: random.Random) -> Iterator[list[Utterance]]:
        """Yield batches of similar lengths, or of one length, in random order without end."""
        while True:
            order = draw.sample(range(len(bank)), len(bank))
            pool = 16 * size if self.pads else len(order)
            chunks = [
                sorted(order[start : start + pool], key=lambda index: len(bank[index].frames))
                for start in range(0, len(order), pool)
            ]
            batches = [batch for chunk in chunks for batch in self.split([bank[index] for index in chunk], size)]
            yield from draw.sample(batches, len(batches))

    def split(self, utterances: list[Utterance], size: int) -> Iterator[list[Utterance]]:
        """Yield batches of at most `size` consecutive utterances; of one length unless `pads`."""
        batch: list[Utterance] = []
        for item in utterances:
            if len(batch) == size or (batch and not self.pads and len(item.frames) != len(batch[0].frames)):
                yield batch
                batch = []
            batch.append(item)
        yield batch

    @torch.no_grad()
    def error_rates(self, utterances: list[Utterance]) -> tuple[float, float]:
        """Return the corpus WER and CER of the texts that the model outputs."""
        self.model.eval()
        references: list[str] = []
        hypotheses: list[str] = []
        for some in self.split(sorted(utterances, key=lambda item: len(item.frames)), 50):
            hypotheses += self.transcripts(some)
            references += [item.text for item in some]
        self.model.train()
        return float(jiwer.wer(references, hypotheses)), float(jiwer.cer(references, hypotheses))

    def transcripts(self, utterances: list[Utterance]) -> list[str]:
        """Return the texts of greedy decoding."""
        batch, _ = self.batch(utterances, train=False)
        asked = batch.pop("labels") == IGNORED
        for key, blank in (("input_ids", self.tokenizer.pad_token_id), ("attention_mask", 0)):
            batch[key] = self.padded([row[kept] for row, kept in zip(batch[key], asked, strict=True)], blank)
        new = self.model.generate(**batch, max_new_tokens=48)[:, batch["input_ids"].shape[1] :]
        return list(self.tokenizer.batch_decode(new, skip_special_tokens=True))
