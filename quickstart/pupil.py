"""A tiny base while it learns: prompts, batches and losses, alike for all families but for a few answers of each."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import jiwer
import numpy as np
import torch
import torch.nn.functional as F
from bank import Spoken


IGNORED = -100
Prompt = tuple[list[int], list[int]]
Heard = tuple[torch.Tensor, list[int]]


class Pupil(ABC):
    """
    A tiny base while it learns; a subclass answers what differs.

    Args:
        processor: The base's processor.
        model: The base, untrained.
        seed (`int`): Of the prompts and masks that are drawn.

    Attributes:
        end_of_target (`str`): Ends the assistant's turn.
        gain (`float`): Most that is added to or taken from all log-mel frames of a clip.
        pads (`bool`): Clips of like lengths may stand in a batch; else of one length alone.
    """

    end_of_target: ClassVar[str]
    gain: ClassVar[float]
    pads: ClassVar[bool]

    def __init__(self, processor: Any, model: Any, seed: int):
        self.processor, self.model, self.tokenizer = processor, model, processor.tokenizer
        self.seed, self.draw = seed, random.Random(seed)
        self.prompts: dict[tuple[str | None, str], Prompt] = {}

    @property
    @abstractmethod
    def frames_of(self) -> Callable[[np.ndarray], np.ndarray]:
        """Makes the log-mel frames of a clip; picklable."""

    @abstractmethod
    def drawn_prompt(self, language: str) -> Prompt:
        """One of the prompts to learn."""

    @abstractmethod
    def plain_prompt(self, language: str) -> Prompt:
        """The prompt of the recipes."""

    @abstractmethod
    def audio_tokens(self, frames: int) -> int:
        """Audio tokens of a clip."""

    @abstractmethod
    def audio_inputs(self, features: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the model takes of the frames of a batch."""

    @abstractmethod
    def hear(self, batch: dict[str, torch.Tensor]) -> Heard:
        """The projected audio alone, of shape `(batch, tokens, hidden)`, and how many tokens each clip has."""

    @abstractmethod
    def answer(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Heard]:
        """The cross-entropy of the transcripts, and what was heard on the way."""

    def prepare(self, bank: list[Spoken]) -> None:  # noqa: B027 - most have nothing to prepare
        """Looks at what will be learned from, before the first step."""

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def prompt(self, system: str | None, user: str) -> Prompt:
        """Token ids before and after the audio tokens."""
        if (system, user) not in self.prompts:
            turns = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": user}]}]
            turns = ([{"role": "system", "content": system}] if system else []) + turns
            rendered = self.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            before, after = rendered.split("<|audio|>")
            self.prompts[system, user] = (self.ids(before), self.ids(after))
        return self.prompts[system, user]

    def masked(self, frames: torch.Tensor) -> torch.Tensor:
        """Random gain, one band and one stretch of time blanked (after SpecAugment, Park et al. 2019)."""
        frames = frames + self.draw.uniform(-self.gain, self.gain)
        for axis in (0, 1):
            if self.draw.random() < 0.5:
                width = self.draw.randint(1, 8)
                start = self.draw.randint(0, max(0, frames.shape[axis] - width))
                frames.narrow(axis, start, min(width, frames.shape[axis] - start)).fill_(float(frames.mean()))
        return frames

    def batch(self, spoken: list[Spoken], train: bool) -> tuple[dict[str, torch.Tensor], list[list[int]]]:
        """Prompts, transcripts and frames of some utterances, augmented while training; and what CTC shall read."""
        features = [torch.from_numpy(item.frames.astype(np.float32)) for item in spoken]
        features = [self.masked(item) for item in features] if train else features
        end = self.ids(self.end_of_target)
        targets = [self.ids(item.text) for item in spoken]
        rows, labels = [], []
        for item, frames, target in zip(spoken, features, targets, strict=True):
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

    def ctc_loss(self, heard: Heard, targets: list[list[int]]) -> torch.Tensor:
        """CTC on the projected audio, through the output embedding; the padding token is the blank."""
        states, lengths = heard
        logits = F.linear(F.rms_norm(states, states.shape[-1:]), self.model.lm_head.weight)
        return F.ctc_loss(
            F.log_softmax(logits.float(), -1).transpose(0, 1),
            torch.tensor([token for target in targets for token in target]),
            torch.tensor(lengths),
            torch.tensor([len(target) for target in targets]),
            blank=self.tokenizer.pad_token_id,
            zero_infinity=True,
        )

    def loss(self, spoken: list[Spoken], warm_up: bool) -> torch.Tensor:
        """CTC alone while warming up (without it the model babbles for long), then cross-entropy with 0.3 CTC."""
        batch, targets = self.batch(spoken, train=True)
        if warm_up:
            return self.ctc_loss(self.hear(batch), targets)
        loss, heard = self.answer(batch)
        return loss + 0.3 * self.ctc_loss(heard, targets)

    def batches(self, bank: list[Spoken], size: int, draw: random.Random) -> Iterator[list[Spoken]]:
        """Endless batches of like lengths, or of one length, in random order."""
        while True:
            order = draw.sample(range(len(bank)), len(bank))
            pool = 16 * size if self.pads else len(order)
            chunks = [
                sorted(order[start : start + pool], key=lambda index: len(bank[index].frames))
                for start in range(0, len(order), pool)
            ]
            batches = [batch for chunk in chunks for batch in self.split([bank[index] for index in chunk], size)]
            yield from draw.sample(batches, len(batches))

    def split(self, spoken: list[Spoken], size: int) -> Iterator[list[Spoken]]:
        """Batches of at most `size` neighbours; of one length alone, if need be."""
        batch: list[Spoken] = []
        for item in spoken:
            if len(batch) == size or (batch and not self.pads and len(item.frames) != len(batch[0].frames)):
                yield batch
                batch = []
            batch.append(item)
        yield batch

    @torch.no_grad()
    def error_rates(self, spoken: list[Spoken]) -> tuple[float, float]:
        """Corpus WER and CER of greedy decoding."""
        self.model.eval()
        references: list[str] = []
        hypotheses: list[str] = []
        for some in self.split(sorted(spoken, key=lambda item: len(item.frames)), 50):
            batch, _ = self.batch(some, train=False)
            asked = batch.pop("labels") == IGNORED
            for key, blank in (("input_ids", self.tokenizer.pad_token_id), ("attention_mask", 0)):
                batch[key] = self.padded([row[kept] for row, kept in zip(batch[key], asked, strict=True)], blank)
            new = self.model.generate(**batch, max_new_tokens=48)[:, batch["input_ids"].shape[1] :]
            hypotheses += self.tokenizer.batch_decode(new, skip_special_tokens=True)
            references += [item.text for item in some]
        self.model.train()
        return float(jiwer.wer(references, hypotheses)), float(jiwer.cer(references, hypotheses))
