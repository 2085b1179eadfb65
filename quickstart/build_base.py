"""
Train a tiny base of the quick start from scratch on synthesized speech; writes `quickstart/<family>`.

    apt-get install libespeak-ng1 && pip install -e .[quickstart]
    python quickstart/build_base.py --family gemma4
    python quickstart/build_base.py --family phi4
    python quickstart/build_base.py --family whisper
    python quickstart/build_base.py --family ctc

README.md in this folder describes the bases, and how long it takes.
"""

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from bank import UNSEEN_VOICES, VOICES, Utterance, build_bank
from ctc_pretraining import CtcPretraining
from gemma4_pretraining import Gemma4Pretraining
from phi4_pretraining import Phi4Pretraining
from pretraining import Pretraining
from whisper_pretraining import WhisperPretraining


PRETRAININGS: dict[str, Callable[[int], Pretraining]] = {
    "ctc": CtcPretraining,
    "gemma4": Gemma4Pretraining,
    "phi4": Phi4Pretraining,
    "whisper": WhisperPretraining,
}
SPEECH_LORA = "speech-lora"
WARM_UP = 0.22  # share of the steps with the CTC loss only
BEFORE_LORA = 0.75  # share of the steps before the speech LoRA is added, for a base that has one


def train(
    pretraining: Pretraining,
    bank: list[Utterance],
    unseen: list[Utterance],
    steps: int,
    batch_size: int,
    learning_rate: float,
    warm_up: float,
):
    """
    Train a base, and print the error rates on unseen voices every 1,000 steps.

    Returns:
        `PeftModel` or `None`: The base with its speech LoRA, if it has one.
    """
    decayed = [parameter for parameter in pretraining.model.parameters() if parameter.ndim >= 2]
    plain = [parameter for parameter in pretraining.model.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))
    draw, adapted, started = random.Random(pretraining.seed), None, time.monotonic()
    pretraining.prepare(bank)
    pretraining.model.train()
    for step, utterances in zip(range(steps), pretraining.batches(bank, batch_size, draw), strict=False):
        if isinstance(pretraining, Phi4Pretraining) and step == int(BEFORE_LORA * steps):
            adapted, new = pretraining.add_speech_lora()
            optimizer.add_param_group({"params": new, "weight_decay": 0.02})
        for group in optimizer.param_groups:
            decay = 0.03 + 0.485 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = learning_rate * min(1, (step + 1) / 150) * decay
        loss = pretraining.loss(utterances, warm_up=step + 1 <= warm_up * steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(pretraining.model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 1000 == 0:
            wer, cer = pretraining.error_rates(unseen[:100])
            minutes = (time.monotonic() - started) / 60
            print(f"step {step + 1}: unseen WER {wer:.3f}, CER {cer:.3f}, {minutes:.1f} minutes", flush=True)
    return adapted


def build(
    family: Annotated[
        Literal["gemma4", "phi4", "whisper", "ctc"], typer.Option(help="Model family of the base.")
    ] = "gemma4",
    start: Annotated[
        Path | None, typer.Option(help="Stored base to train further, from the first step with both losses.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder (default: quickstart/<family>).")] = None,
    utterances: Annotated[int, typer.Option(help="Number of synthesized training utterances.")] = 80_000,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 13_000,
    threads: Annotated[int, typer.Option(help="Number of threads of torch, and of processes that synthesize.")] = 2,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> None:
    """Synthesize speech, train a base, and save it; print the error rates on unseen voices."""
    started, out = time.monotonic(), out or Path(__file__).parent / family
    torch.set_num_threads(threads)
    np.random.seed(seed)  # noqa: NPY002 - the encoder of Phi-4 uses this generator in training
    pretraining = PRETRAININGS[family](seed)
    if start:
        stored = type(pretraining.model).from_pretrained(start, dtype=torch.float32)
        pretraining.model.load_state_dict(stored.state_dict())
    bank = build_bank(utterances, VOICES, seed, pretraining.frames_of, threads)
    unseen = build_bank(400, UNSEEN_VOICES, seed + 10_000_000, pretraining.frames_of, threads)
    print(f"{len(bank)} utterances in {(time.monotonic() - started) / 60:.1f} minutes", flush=True)

    adapted = train(pretraining, bank, unseen, steps, batch_size, learning_rate, 0.0 if start else WARM_UP)
    print("unseen WER {:.3f}, CER {:.3f}".format(*pretraining.error_rates(unseen)), flush=True)
    model = pretraining.model
    if adapted is not None:
        with adapted.disable_adapter():
            print(
                "without the speech LoRA: WER {:.3f}, CER {:.3f}".format(*pretraining.error_rates(unseen)), flush=True
            )
        adapted.save_pretrained(out / SPEECH_LORA)
        (out / SPEECH_LORA / "README.md").unlink()  # PEFT's template, which contains only headings
        model = adapted.unload()
    pretraining.processor.save_pretrained(out)
    model.to(pretraining.dtype).save_pretrained(out)


if __name__ == "__main__":
    typer.run(build)
