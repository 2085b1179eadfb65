"""
Builds the tiny base of the quick start from nothing: synthesises speech, trains, writes `quickstart/gemma4`.

    apt-get install libespeak-ng1 && pip install -e .[quickstart]
    python quickstart/build_base.py

README.md beside this file says what it is and how long it takes.
"""

import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import jiwer
import numpy as np
import torch
import torch.nn.functional as F
import typer
from bank import LANGUAGES, UNSEEN_VOICES, VOICES, Spoken, build_bank
from tiny_gemma4 import SYSTEM, USER, USER_BY_LANGUAGE, build_model, build_processor


IGNORED = -100
END_OF_TURN = "<turn|>"


class Batches:
    """Pads utterances and their prompts; augments them while training."""

    def __init__(self, processor, seed: int):
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.draw = random.Random(seed)
        self.prompts: dict[tuple[bool, str], tuple[list[int], list[int]]] = {}

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def prompt(self, with_system: bool, user: str) -> tuple[list[int], list[int]]:
        """Token ids before and after the audio tokens."""
        if (with_system, user) not in self.prompts:
            turns = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": user}]}]
            turns = [{"role": "system", "content": SYSTEM}] * with_system + turns
            rendered = self.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            before, after = rendered.split("<|audio|>")
            self.prompts[with_system, user] = (self.ids(before + "<|audio>"), self.ids("<audio|>" + after))
        return self.prompts[with_system, user]

    def drawn_prompt(self, language: str) -> tuple[list[int], list[int]]:
        """The recipe's prompt most of the time; else one that names the language, sometimes the wrong one."""
        if self.draw.random() < 0.75:
            return self.prompt(self.draw.random() < 0.8, USER)
        named = self.draw.choice([*LANGUAGES, "Uzbek", "Galician"]) if self.draw.random() < 0.3 else language
        return self.prompt(self.draw.random() < 0.5, USER_BY_LANGUAGE.format(named))

    def masked(self, frames: torch.Tensor) -> torch.Tensor:
        """Random gain, one band and one stretch of time blanked (after SpecAugment, Park et al. 2019)."""
        frames = frames + self.draw.uniform(-0.7, 0.7)
        for axis in (0, 1):
            if self.draw.random() < 0.5:
                width = self.draw.randint(1, 8)
                start = self.draw.randint(0, max(0, frames.shape[axis] - width))
                frames.narrow(axis, start, min(width, frames.shape[axis] - start)).fill_(float(frames.mean()))
        return frames

    def __call__(self, spoken: list[Spoken], train: bool) -> tuple[dict[str, torch.Tensor], list[list[int]]]:
        features = [torch.from_numpy(item.frames.astype(np.float32)) for item in spoken]
        features = [self.masked(item) for item in features] if train else features
        targets = [self.ids(item.text) + self.ids(END_OF_TURN) for item in spoken]
        rows, labels = [], []
        for item, frames, target in zip(spoken, features, targets, strict=True):
            before, after = self.drawn_prompt(item.language) if train else self.prompt(True, USER)
            prompt = before + [self.tokenizer.audio_token_id] * audio_tokens(len(frames)) + after
            rows.append(torch.tensor(prompt + target))
            labels.append(torch.tensor([IGNORED] * len(prompt) + target))
        pad = {"batch_first": True, "padding_side": "left"}
        ids = torch.nn.utils.rnn.pad_sequence(rows, padding_value=self.tokenizer.pad_token_id, **pad)
        batch = {
            "input_ids": ids,
            "attention_mask": (ids != self.tokenizer.pad_token_id).long(),
            "labels": torch.nn.utils.rnn.pad_sequence(labels, padding_value=IGNORED, **pad),
            "input_features": torch.nn.utils.rnn.pad_sequence(features, batch_first=True),
            "input_features_mask": torch.nn.utils.rnn.pad_sequence(
                [torch.ones(len(frames), dtype=torch.bool) for frames in features], batch_first=True
            ),
        }
        return batch, [target[:-1] for target in targets]


def audio_tokens(frames: int) -> int:
    """Two convolutions of stride 2."""
    return ((frames + 1) // 2 + 1) // 2


def ctc_loss(model, hidden: torch.Tensor, mask: torch.Tensor, targets: list[list[int]]) -> torch.Tensor:
    """CTC on the projected audio, through the output embedding; the padding token is the blank."""
    logits = F.linear(F.rms_norm(hidden, hidden.shape[-1:]), model.lm_head.weight)
    return F.ctc_loss(
        F.log_softmax(logits.float(), -1).transpose(0, 1),
        torch.tensor([token for target in targets for token in target]),
        mask.sum(1),
        torch.tensor([len(target) for target in targets]),
        blank=0,
        zero_infinity=True,
    )


def loss_of(model, batch: dict[str, torch.Tensor], targets: list[list[int]], warm_up: bool) -> torch.Tensor:
    """CTC alone while warming up (without it the model babbles for long), then cross-entropy with 0.3 CTC."""
    if warm_up:
        audio = model.model.get_audio_features(batch["input_features"], batch["input_features_mask"])
        return ctc_loss(model, audio.pooler_output, audio.attention_mask, targets)
    output = model(**batch)
    counts = (batch["input_ids"] == model.config.audio_token_id).sum(1).tolist()
    hidden = torch.nn.utils.rnn.pad_sequence(list(output.audio_hidden_states.split(counts)), batch_first=True)
    mask = torch.arange(hidden.shape[1])[None] < torch.tensor(counts)[:, None]
    return output.loss + 0.3 * ctc_loss(model, hidden, mask, targets)


def batches_by_length(bank: list[Spoken], size: int, draw: random.Random) -> Iterator[list[Spoken]]:
    """Endless batches of like lengths in random order."""
    while True:
        order = draw.sample(range(len(bank)), len(bank))
        chunks = [order[start : start + 16 * size] for start in range(0, len(order), 16 * size)]
        ordered = [sorted(chunk, key=lambda index: len(bank[index].frames)) for chunk in chunks]
        batches = [chunk[start : start + size] for chunk in ordered for start in range(0, len(chunk), size)]
        for batch in draw.sample(batches, len(batches)):
            yield [bank[index] for index in batch]


@torch.no_grad()
def error_rates(model, batches: Batches, spoken: list[Spoken]) -> tuple[float, float]:
    """Corpus WER and CER of greedy decoding."""
    model.eval()
    hypotheses: list[str] = []
    for start in range(0, len(spoken), 50):
        batch, _ = batches(spoken[start : start + 50], train=False)
        prompt = {key: value for key, value in batch.items() if key != "labels"}
        for key, blank in (("input_ids", model.config.text_config.pad_token_id), ("attention_mask", 0)):
            rows = [row[label == IGNORED] for row, label in zip(batch[key], batch["labels"], strict=True)]
            prompt[key] = torch.nn.utils.rnn.pad_sequence(
                rows, batch_first=True, padding_value=blank, padding_side="left"
            )
        output = model.generate(**prompt, max_new_tokens=48)
        new = output[:, prompt["input_ids"].shape[1] :]
        hypotheses += batches.tokenizer.batch_decode(new, skip_special_tokens=True)
    model.train()
    references = [item.text for item in spoken]
    return float(jiwer.wer(references, hypotheses)), float(jiwer.cer(references, hypotheses))


def build(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path(__file__).parent / "gemma4",
    utterances: Annotated[int, typer.Option(help="Utterances to synthesise and learn from.")] = 80_000,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 13_000,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> None:
    """Synthesises, trains and saves; prints the error rates on unseen voices as it goes."""
    started = time.monotonic()
    torch.set_num_threads(2)
    processor = build_processor()
    model = build_model(processor, seed=seed)
    bank = build_bank(utterances, VOICES, seed=seed)
    unseen = build_bank(400, UNSEEN_VOICES, seed=seed + 10_000_000)
    print(f"{len(bank)} utterances in {(time.monotonic() - started) / 60:.1f} minutes", flush=True)

    batches, draw = Batches(processor, seed), random.Random(seed)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    plain = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 150) * (0.03 + 0.485 * (1 + math.cos(math.pi * step / steps)))
    )
    model.train()
    for step, spoken in zip(range(1, steps + 1), batches_by_length(bank, batch_size, draw), strict=False):
        batch, targets = batches(spoken, train=True)
        loss = loss_of(model, batch, targets, warm_up=step <= 0.22 * steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 1000 == 0 or step == steps:
            wer, cer = error_rates(model, batches, unseen if step == steps else unseen[:100])
            minutes = (time.monotonic() - started) / 60
            print(f"step {step}: unseen WER {wer:.3f}, CER {cer:.3f}, {minutes:.1f} minutes", flush=True)

    processor.save_pretrained(out)
    model.to(torch.bfloat16).save_pretrained(out)


if __name__ == "__main__":
    typer.run(build)
