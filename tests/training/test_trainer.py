"""Test the trainer on the tiny Gemma 4 base, whose model does not accept the number of label tokens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escoita.errors import WriteError
from escoita.models import family_of
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.arguments import sft_config
from escoita.training.backends import load_for_training
from escoita.training.callbacks import BestAdapter, best_of
from escoita.training.checkpointing import checkpoints_by_step, damage
from escoita.training.data_collator import SpeechCollator
from escoita.training.datasets import clips_by_split, everything, table
from escoita.training.oom import TrainingMemoryError
from escoita.training.sft import train
from escoita.training.trainer import SpeechTrainer
from tests.conftest import write_manifest


@pytest.fixture(scope="module")
def make(short_recipe: Callable[..., Recipe]) -> Callable[..., SpeechTrainer]:
    """Return a function that makes a trainer of 24 clips, with the same weights each time."""

    def trainer(*overrides: str) -> SpeechTrainer:
        recipe = short_recipe("training.dataloader_num_workers=0", *overrides)
        family = family_of(recipe.base)
        processor = family.load_processor(recipe.base)
        rows = table(everything(clips_by_split(recipe, ["train"], 30.0, [])["train"]))
        torch.manual_seed(0)
        model, adapter = load_for_training(recipe, family)
        made = SpeechTrainer(
            model=model,
            args=sft_config(recipe, RunDirectory(recipe.run_path)),
            train_dataset=rows,
            data_collator=SpeechCollator(family, processor, recipe.generation_settings()),
            processing_class=processor,
            peft_config=adapter,
        )
        for name, weights in made.model.named_parameters():
            if "lora_B" in name:  # initialized with zeros, which makes other gradients zero
                torch.nn.init.normal_(weights, std=0.02)
        return made

    return trainer


def gradient(trainer: SpeechTrainer, batches: int) -> tuple[dict[str, torch.Tensor], float]:
    """Return the gradients and the loss of the first optimizer step."""
    trainer.model.zero_grad()
    loader = trainer.get_train_dataloader()
    inputs, items = trainer.get_batch_samples(iter(loader), batches, trainer.args.device)
    trainer.current_gradient_accumulation_steps = batches
    loss = sum(float(trainer.training_step(trainer.model, each, items)) for each in inputs)
    return {name: each.grad.clone() for name, each in trainer.model.named_parameters() if each.requires_grad}, loss


def assert_same(found: tuple[dict[str, torch.Tensor], float], expected: tuple[dict[str, torch.Tensor], float]) -> None:
    """Compare gradients and losses within the error of float32 sums in another order."""
    assert found[1] == pytest.approx(expected[1], rel=1e-5)
    assert found[0].keys() == expected[0].keys() and any(float(each.abs().max()) > 1e-3 for each in found[0].values())
    for name in found[0]:
        torch.testing.assert_close(found[0][name], expected[0][name], rtol=1e-3, atol=2e-6)


@contextmanager
def forward_fails(trainer: SpeechTrainer, capacity: int) -> Iterator[list[int]]:
    """Let memory run out in the forward pass of too many rows, and yield the rows of each attempt."""
    attempts: list[int] = []

    def hook(module: Any, args: Any, kwargs: Any) -> None:
        attempts.append(len(kwargs["labels"]))
        if attempts[-1] > capacity:
            raise torch.OutOfMemoryError("out of memory")

    handle = trainer.model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield attempts
    finally:
        handle.remove()


@contextmanager
def backward_fails(trainer: SpeechTrainer, capacity: int) -> Iterator[list[int]]:
    """Let memory run out in the backward pass, after the gradients of the language tower, and yield the rows."""
    with forward_fails(trainer, capacity=10**6) as attempts:
        first = next(each for name, each in trainer.model.named_parameters() if each.requires_grad and "audio" in name)
        last = [each for name, each in trainer.model.named_parameters() if each.requires_grad][-1]

        def hook(parameter: Any) -> None:
            if attempts[-1] > capacity:
                assert last.grad is not None
                raise torch.OutOfMemoryError("out of memory")

        handle = first.register_post_accumulate_grad_hook(hook)
        try:
            yield attempts
        finally:
            handle.remove()


def test_accumulated_batches_give_the_gradient_of_one(make: Callable[..., SpeechTrainer]) -> None:
    whole = gradient(make(), 1)
    parts = make("training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=2")
    assert_same(gradient(parts, 2), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fails, accumulation, capacity",
    [(forward_fails, 1, 5), (forward_fails, 3, 2), (backward_fails, 1, 1), (backward_fails, 3, 3)],
)
def test_a_split_batch_has_the_same_gradient(
    make: Callable[..., SpeechTrainer], fails: Callable, accumulation: int, capacity: int
) -> None:
    trainer = make(f"training.gradient_accumulation_steps={accumulation}")
    undisturbed = gradient(trainer, accumulation)
    assert trainer.throughput.split_batches == 0
    with fails(trainer, capacity) as attempts:
        assert_same(gradient(trainer, accumulation), undisturbed)
        assert max(attempts) == 8 and trainer.throughput.split_batches == accumulation
        attempts.clear()
        assert_same(gradient(trainer, accumulation), undisturbed)
        assert max(attempts) <= capacity and sum(attempts) == 8 * accumulation  # split in advance


def test_earlier_batches_count_once_if_a_later_one_is_split(
    make: Callable[..., SpeechTrainer],
) -> None:
    trainer = make("training.gradient_accumulation_steps=3")
    undisturbed = gradient(trainer, 3)
    fell: list[bool] = []
    with backward_fails(trainer, capacity=10**6) as attempts:
        audio = next(each for name, each in trainer.model.named_parameters() if each.requires_grad and "audio" in name)

        def once(parameter: Any) -> None:
            if len(attempts) == 3 and not fell:
                fell.append(True)
                raise torch.OutOfMemoryError("out of memory")

        handle = audio.register_post_accumulate_grad_hook(once)
        assert_same(gradient(trainer, 3), undisturbed)
        handle.remove()
    assert fell and attempts[:3] == [8, 8, 8] and trainer.throughput.split_batches == 1


def test_a_single_clip_that_does_not_fit_stops_training(make: Callable[..., SpeechTrainer]) -> None:
    trainer = make()
    longest = max(trainer.train_dataset["length"][:]) / 100
    with forward_fails(trainer, capacity=0), pytest.raises(TrainingMemoryError) as error:
        gradient(trainer, 1)
    assert error.value.clips == 1 and error.value.seconds == pytest.approx(longest, abs=0.01)


@pytest.mark.slow
def test_a_split_evaluation_has_the_same_loss_and_draws_no_random_numbers(make: Callable[..., SpeechTrainer]) -> None:
    trainer = make("training.per_device_eval_batch_size=8")
    state = torch.random.get_rng_state()
    whole = trainer.evaluate(trainer.train_dataset)["eval_loss"]
    assert torch.equal(torch.random.get_rng_state(), state)
    with forward_fails(trainer, capacity=3) as attempts:
        assert trainer.evaluate(trainer.train_dataset)["eval_loss"] == pytest.approx(whole, rel=1e-5)
    assert max(attempts) == 8 and trainer.throughput.split_batches == 0


def test_evaluation_uses_every_clip(make: Callable[..., SpeechTrainer]) -> None:
    trainer = make("training.per_device_eval_batch_size=7")
    batches = len(trainer.get_eval_dataloader(trainer.train_dataset))
    trainer.args.dataloader_drop_last = True
    assert len(trainer.get_eval_dataloader(trainer.train_dataset)) == batches
    assert trainer.args.dataloader_drop_last  # in training


def test_clips_are_read_by_workers_in_the_same_order(make: Callable[..., SpeechTrainer]) -> None:
    without, with_workers = make(), make("training.dataloader_num_workers=2")
    for first, second in zip(without.get_train_dataloader(), with_workers.get_train_dataloader(), strict=True):
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_loader_that_skips_batches_has_the_same_order(make: Callable[..., SpeechTrainer]) -> None:
    from accelerate import skip_first_batches

    trainer = make()
    loader = trainer.get_train_dataloader()
    loader.set_epoch(1)
    every = [batch["input_ids"] for batch in loader]
    skipping = skip_first_batches(trainer.get_train_dataloader(), 1)
    skipping.set_epoch(1)
    skipping.batch_sampler.batch_sampler.set_epoch(1)  # as Trainer does
    remaining = [batch["input_ids"] for batch in skipping]
    assert len(remaining) == len(every) - 1 and all(map(torch.equal, remaining, every[1:]))


@pytest.mark.slow
def test_a_split_batch_with_a_gradient_scaler_has_the_same_gradient(make: Callable[..., SpeechTrainer]) -> None:
    trainer = make("training.gradient_accumulation_steps=2")
    undisturbed = gradient(trainer, 2)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)  # fp16 uses a scaler
    with backward_fails(trainer, 3):
        scaled, loss = gradient(trainer, 2)
    assert_same(({name: each / 2.0**10 for name, each in scaled.items()}, loss), undisturbed)
    assert trainer.throughput.split_batches == 2 and trainer.accelerator.scaler.get_scale() == 2.0**10


def test_the_patience_is_that_of_the_recipe_and_the_count_that_of_the_checkpoint(
    make: Callable[..., SpeechTrainer],
) -> None:
    trainer, before = make(), BestAdapter(patience=2)
    before.not_improved, before.step, before.rates = 2, 4, [0.5, 0.2, 1.0]
    trainer.add_callback(BestAdapter(patience=3))
    trainer.state.stateful_callbacks = {BestAdapter.__name__: before.state()}
    trainer._load_callback_state()
    resumed = best_of(trainer)
    assert (resumed.patience, resumed.not_improved, resumed.step) == (3, 2, 4) and not resumed.out_of_patience


def test_a_checkpoint_that_cannot_be_written_stops_training(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = short_recipe()
    run = RunDirectory(recipe.run_path)
    save = torch.save

    def save_on_a_full_disk(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        if "checkpoint-4/optimizer" in str(path):
            raise RuntimeError("basic_ios::clear: iostream error")
        save(value, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", save_on_a_full_disk)
    with pytest.raises(WriteError) as error:
        train(recipe)
    assert isinstance(error.value.path, Path) and error.value.path.name == "checkpoint-4"
    assert "basic_ios::clear: iostream error" in error.value.problem and "\n" not in str(error.value)
    found = checkpoints_by_step(run.checkpoints)
    assert list(found) == [2] and not damage(found[2])
    assert not (run.checkpoints / "unfinished").exists()


def test_memory_that_runs_out_in_the_optimizer_is_an_error(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(TrainingMemoryError) as error:
        train(short_recipe())
    assert error.value.clips is None


@pytest.mark.parametrize("clips, steps", [(3, 1), (9, 1), (25, 2)])
def test_an_epoch_with_fewer_clips_than_a_step_is_one_step(
    short_recipe: Callable[..., Recipe], tmp_path: Path, clips: int, steps: int
) -> None:
    few = write_manifest(tmp_path / "few.jsonl", "train", clips)
    record = train(
        short_recipe(
            f"corpora.train=[{{name: few, path: {few}}}]",
            "training.gradient_accumulation_steps=3",
            "training.max_steps=-1",
            "training.num_train_epochs=1",
            "training.warmup_steps=0",
        )
    )
    assert record is not None and record.pace is not None and record.steps == steps and record.epochs == 1
    assert record.pace.audio_seconds == pytest.approx(record.corpora[0].audio_seconds, rel=1e-5)
