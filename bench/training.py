"""Measure training: the data path compared with prepared batches, and all of it compared with a plain script."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.measurement import Measurement
from bench.quickstart import ROOT
from escoita.recipe.schema import Recipe, load_recipe
from escoita.utils.processes import say


if TYPE_CHECKING:
    from escoita.data.rows import Utterances

STEPS = 50  # an epoch of the quick start, so that all get the same clips
ROUNDS = 3
PLAIN = "TRL with a collator of a few lines, random order, no worker"


def measure_training(steps: int = STEPS, rounds: int = ROUNDS) -> list[Measurement]:
    """
    Measure training steps of the quick start in three ways, in alternation and from the same weights.

    The time is measured from before the first batch to after the last step, without loading the model. The model uses
    one core and leaves the others to the data, as with a GPU; otherwise the data workers would slow it down.

    Args:
        steps (`int`, *optional*, defaults to 50): Number of steps per measurement; 50 are one epoch.
        rounds (`int`, *optional*, defaults to 3): Number of measurements of each, in alternation.
    """
    took: dict[str, list[float]] = {"ours": [], "prepared": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe(
            ROOT / "recipes/quickstart-uzbek.yaml",
            [
                f"run_dir={folder}",
                f"base={ROOT / 'quickstart/gemma4'}",
                f"corpora.train=[{{name: uz, path: {ROOT / 'quickstart/corpus/uz/train.jsonl'}}}]",
                "corpora.validation=[]",
                "training.eval_strategy=no",
                "validation.patience=null",
                "training.save_strategy=no",
                "training.dataloader_num_workers=1",
                "training.logging_strategy=no",
                f"training.max_steps={steps}",
            ],
        )
        with _on_one_core():
            for number in range(rounds):
                say(f"Training: round {number + 1} of {rounds}")
                for way, seconds in took.items():
                    seconds.append(_seconds(WAYS[way](recipe)))
    size = recipe.training["per_device_train_batch_size"]
    samples = {way: steps * size / median(seconds) for way, seconds in took.items()}
    pairs = list(zip(took["ours"], took["prepared"], took["plain"], strict=True))
    return [
        Measurement(
            "Training, step with the real data path",
            median(ours / prepared for ours, prepared, _ in pairs),
            "times as long",
            "batches that lie ready in memory",
            at_most=1.10,
        ),
        Measurement(
            "Training, samples in a second",
            median(plain / ours for ours, _, plain in pairs),
            "times as many",
            f"{PLAIN}: {samples['plain']:.3g} a second, not {samples['ours']:.3g}",
            at_least=1.4,
        ),
        Measurement(
            "Training, padding",
            _padding(recipe, "group_by_length"),
            "of the audio",
            f"random order: {_padding(recipe, 'random'):.3g}",
            at_most=0.10,
        ),
    ]


@contextmanager
def _on_one_core() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _clips(recipe: Recipe) -> "Utterances":
    from escoita.training.datasets import clips_by_split, everything

    return everything(clips_by_split(recipe, ["train"], 30.0, [])["train"])


def _parts(recipe: Recipe) -> dict[str, Any]:
    """Return the arguments of the trainer, which are the same in all three ways."""
    from transformers import set_seed

    from escoita.models import family_of
    from escoita.run_directory import RunDirectory
    from escoita.training.arguments import sft_config
    from escoita.training.backends import load_for_training
    from escoita.training.data_collator import SpeechCollator
    from escoita.training.datasets import table

    family = family_of(recipe.base)
    processor = family.load_processor(recipe.base)
    arguments = sft_config(recipe, RunDirectory(recipe.run_path))
    set_seed(arguments.seed)
    model, adapter = load_for_training(recipe, family)
    return {
        "model": model,
        "args": arguments,
        "train_dataset": table(_clips(recipe)),
        "data_collator": SpeechCollator(family, processor, recipe.generation_settings()),
        "processing_class": processor,
        "peft_config": adapter,
    }


def _ours(recipe: Recipe) -> Any:
    from escoita.training.trainer import SpeechTrainer

    return SpeechTrainer(**_parts(recipe))


def _prepared(recipe: Recipe) -> Any:
    from escoita.training.trainer import SpeechTrainer

    class PreparedTrainer(SpeechTrainer):
        def get_train_dataloader(self) -> list[Any]:
            return batches

    parts = _parts(recipe)
    parts["args"].dataloader_num_workers = 0
    trainer = PreparedTrainer(**parts)
    batches = list(SpeechTrainer.get_train_dataloader(trainer))
    return trainer


def _plain(recipe: Recipe) -> Any:
    from trl import SFTTrainer

    from bench.plain_script import PlainCollator

    parts = _parts(recipe)
    parts["data_collator"] = PlainCollator(parts["processing_class"], recipe.prompt)
    parts["args"].train_sampling_strategy = "random"
    parts["args"].dataloader_num_workers = 0  # TRL's default
    return SFTTrainer(**parts)


WAYS: dict[str, Callable[[Recipe], Any]] = {"ours": _ours, "prepared": _prepared, "plain": _plain}


def _seconds(trainer: Any) -> float:
    """Return the seconds from before the first batch to after the last step."""
    from transformers import TrainerCallback

    stamps = []

    class Stamps(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            stamps.append(time.perf_counter())

        def on_step_end(self, args, state, control, **kwargs):
            stamps.append(time.perf_counter())

    trainer.add_callback(Stamps())
    trainer.train()
    return stamps[-1] - stamps[0]


def _padding(recipe: Recipe, strategy: str) -> float:
    """Return the padding ratio of twelve epochs, which is the number of the quick start."""
    from escoita.training.sampler import Batches, padding_share

    lengths = np.array(_clips(recipe).column("audio_seconds"))
    batches = Batches(lengths, recipe.training["per_device_train_batch_size"], strategy=strategy)
    shares = []
    for epoch in range(12):
        batches.set_epoch(epoch)
        shares.append(padding_share(lengths, list(batches)))
    return float(np.mean(shares))
