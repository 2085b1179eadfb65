"""
Trains a speech adapter with TRL's SFTTrainer, as a recipe says.

    python training/sft.py --recipe recipes/quickstart-uzbek.yaml
    python training/sft.py --recipe recipes/quickstart-uzbek.yaml --set training.learning_rate=1e-3
    python training/sft.py --recipe recipes/quickstart-uzbek.yaml --set hub.repo=user/name --push

A run that was interrupted resumes from its last checkpoint when the command is given again, and SIGTERM and SIGINT let
it write one first; `--restart` trains from the first step. With `--push` the token, the
repository and the card are checked before training starts, and evaluation, card and upload follow it; without it
nothing touches the network, unless the base is a repository: the Hub is asked for its commit, and for what is not in
the cache yet.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from escoita.data.loading import Gathered, gather, weighted
from escoita.data.rows import Utterances
from escoita.errors import TrainingError
from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.interruption import Interrupted, StopRequest
from escoita.utils.processes import leave, main_first, main_only, say


if TYPE_CHECKING:
    from datasets import Dataset
    from trl import SFTConfig

    from escoita.models.chat import ChatFamily
    from escoita.training.data_collator import SpeechCollator
    from escoita.training.resume import DataState
    from escoita.training.trainer import SpeechTrainer


def train(
    recipe: Recipe, dry_run: bool = False, restart: bool = False, accept_changed_data: bool = False
) -> TrainingRecord | None:
    """
    Trains the adapter of a recipe; does nothing when the run is already finished.

    Args:
        recipe ([`Recipe`]): What to train on what.
        dry_run (`bool`, *optional*, defaults to `False`): Do everything but load weights and take steps.
        restart (`bool`, *optional*, defaults to `False`): Remove checkpoints, adapter and record of the run before
            training, whatever recipe they are of.
        accept_changed_data (`bool`, *optional*, defaults to `False`): Resume from a checkpoint though the rows are not
            those that the run was trained on; `training.json` then tells of both.

    Returns:
        [`TrainingRecord`]: What happened, also written to `training.json`; `None` after a dry run.

    Raises:
        EscoitaError: The recipe, a corpus or the base is not what it should be.
        Interrupted: A signal stopped it after a step, of which a checkpoint was written.
    """
    from escoita.training.backends import import_first

    import_first(recipe)
    from accelerate import PartialState
    from transformers import set_seed

    from escoita.models import family_of
    from escoita.models.base import marks_of
    from escoita.training.arguments import planned_steps, refuse_warmup_alone, sft_config
    from escoita.training.checkpointing import (
        only_one,
        refuse_other_recipe,
        refuse_strangers,
        start_over,
        usable_checkpoint,
    )
    from escoita.training.checks import check_precision_of_steps, check_trained
    from escoita.training.data_collator import SpeechCollator
    from escoita.training.outputs import corpus_uses, save_adapter, training_record, update_settings
    from escoita.training.resume import DataState, base_of_run, keep_base, pinned, refuse_unused_data, resumed_data
    from escoita.training.sampler import data_seed

    run = RunDirectory(recipe.run_path)
    arguments = sft_config(recipe, run)
    state = PartialState()
    refuse_strangers(state.num_processes, arguments.n_gpu)
    if not restart:
        refuse_other_recipe(run, recipe)
    if run.training.exists() and not (dry_run or restart):
        if state.is_main_process:
            update_settings(recipe, run)
        say(f"Already trained: {run.training} (--restart trains again)")
        return TrainingRecord.read(run.training)

    base = base_of_run(recipe, run, state, restart)
    resolved = pinned(recipe, base)
    family = family_of(resolved.base, resolved.base_revision)
    check_precision_of_steps(family, arguments.fp16)
    processor = family.load_processor(resolved.base, resolved.base_revision)
    splits = ["train"] if arguments.eval_strategy == "no" else ["train", "validation"]
    marks = sorted(marks_of(processor.tokenizer).values())
    clips = main_first(lambda: clips_by_split(recipe, splits, family.max_audio_seconds, marks), state)
    rows = table(weighted(clips["train"], recipe.corpora.train, data_seed(arguments)))
    refuse_warmup_alone(arguments, planned_steps(arguments, len(rows), state.num_processes))
    collator = SpeechCollator(family, processor, recipe.prompt, arguments.max_length)
    counts = check_without_weights(resolved, family, collator, rows, arguments.per_device_train_batch_size)
    today = DataState.of(clips, corpus_uses(clips))

    def resume(checkpoint: Path | None) -> DataState:
        return main_first(lambda: resumed_data(checkpoint, today, accept_changed_data), state)

    if dry_run:
        resume(None if restart or run.training.exists() else usable_checkpoint(run, state))
        say(f"{trained_parameters(counts)}\nDry run: everything but weights and steps is in order")
        return None

    with only_one(run, state):
        set_seed(arguments.seed)  # before the adapter is initialised
        if restart and state.is_main_process:
            start_over(run)
        checkpoint = usable_checkpoint(run, state)
        data = resume(checkpoint)
        if state.is_main_process:
            recipe.write(run.recipe)
        heard = everything(clips["validation"]) if "validation" in splits else None
        request = StopRequest()
        trainer, counts = ready_trainer(resolved, family, arguments, collator, rows, heard, request, data)
        loaded = main_only(lambda: keep_base(run, base), state)
        with request.deferring():
            take_steps(trainer, checkpoint)
            if not trainer.stopped:
                refuse_unused_data(checkpoint, data, trainer.state.global_step)
                check_trained(trainer, family.tower_of)
                weights = trainer.whole_weights()
                if state.is_main_process:
                    save_adapter(trainer, family, recipe, run, weights, loaded)
                    record = training_record(trainer, family, recipe, run.adapter, counts, clips, loaded, data)
                    record.write(run.training)
                    shutil.rmtree(run.best, ignore_errors=True)  # its last is in the adapter's folder now
                state.wait_for_everyone()
        if signum := trainer.signal_received():
            leave()
            step = trainer.state.global_step
            raise Interrupted(signum, f"stopped at step {step}; run the same command to resume")
        return TrainingRecord.read(run.training)


def check_without_weights(
    recipe: Recipe, family: "ChatFamily", collator: "SpeechCollator", rows: "Dataset", batch_size: int
) -> dict[str, int]:
    """
    Checks what would make a training worthless or impossible, as far as it shows before the weights are waited for.

    Args:
        recipe ([`Recipe`]): What is to be trained.
        family ([`ChatFamily`]): Of the base.
        collator ([`SpeechCollator`]): Makes the batches.
        rows (`Dataset`): To train on.
        batch_size (`int`): Of these, as many as are looked at.

    Returns:
        `dict[str, int]`: Trainable parameters of each tower.

    Raises:
        EscoitaError: A batch, the precision of the base, or what would be trained, is not what it should be, or
            SFTTrainer, PEFT or the model refuses what the recipe says.
    """
    from escoita.models.loading import check_precision, stored_quantization
    from escoita.training.arguments import without_effect
    from escoita.training.checks import check_batch, check_trainable, count_trainable
    from escoita.training.trial import check_by_trial

    first = rows.select(range(min(len(rows), batch_size)))
    check_batch(family, collator.processor, collator(first.to_list()), first["text"])
    check_precision(recipe.base, stored_quantization(recipe.base, recipe.base_revision), recipe.load_in_4bit)
    adapted = untrained(recipe)
    counts = count_trainable(family, adapted)
    check_trainable(counts, recipe.method.trainable)
    for line in without_effect(recipe):
        say(line)
    check_by_trial(recipe, family, collator.processor, rows, adapted)
    return counts


def ready_trainer(
    recipe: Recipe,
    family: "ChatFamily",
    arguments: "SFTConfig",
    collator: "SpeechCollator",
    rows: "Dataset",
    heard: Utterances | None,
    request: StopRequest,
    data: "DataState | None" = None,
) -> tuple["SpeechTrainer", dict[str, int]]:
    """
    Loads the base, puts the adapter on it, and says what of it trains.

    Args:
        recipe ([`Recipe`]): What is to be trained.
        family ([`ChatFamily`]): Of the base.
        arguments (`SFTConfig`): Of the recipe.
        collator ([`SpeechCollator`]): Makes the batches.
        rows (`Dataset`): To train on.
        heard ([`Utterances`], *optional*): To evaluate on.
        request ([`StopRequest`]): Stops the training.
        data ([`DataState`], *optional*): Is written into each checkpoint.

    Returns:
        `tuple`: The trainer, and the trainable parameters of each tower.

    Raises:
        EscoitaError: The base cannot be loaded, or the adapter is not what the recipe says.
    """
    from escoita.training.backends import load_for_training, prepare_precision
    from escoita.training.callbacks import BestAdapter, EnergyMeter, keep_inside
    from escoita.training.checkpointing import Clock
    from escoita.training.checks import GradientWatch, InitialWeights, check_trainable, count_trainable
    from escoita.training.trainer import SpeechTrainer
    from escoita.training.validation import CheckpointingCheck, Listening

    model, adapter = load_for_training(recipe, family)
    keep_inside(RunDirectory(recipe.run_path), arguments.report_to)
    processor = collator.processor
    trainer = SpeechTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=table(heard) if heard else None,
        data_collator=collator,
        processing_class=processor,
        peft_config=adapter,
        callbacks=[
            Clock(),
            EnergyMeter(),
            GradientWatch(family.tower_of),
            InitialWeights(),
            CheckpointingCheck(),
            BestAdapter(recipe.validation.patience),
        ],
        request=request,
        data=data,
        listening=Listening.to(heard, recipe, family, processor) if heard and recipe.validation.clips else None,
    )
    prepare_precision(trainer.model)
    counts = count_trainable(family, trainer.model)
    check_trainable(counts, recipe.method.trainable)
    say(trained_parameters(counts))
    return trainer, counts


def take_steps(trainer: "SpeechTrainer", checkpoint: Path | None) -> None:
    """
    Trains, from a checkpoint if there is one; from one of the last step no step is taken.

    Raises:
        EscoitaError: Other processes trained before, a clip or a checkpoint cannot be read or written, gradients are
            not numbers, or memory runs out where no batch can be halved.
    """
    from escoita.training.checkpointing import refuse_other_processes
    from escoita.training.oom import is_out_of_memory

    if checkpoint:
        refuse_other_processes(checkpoint, trainer.args.world_size)
        say(f"Resuming from {checkpoint}")
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            "training: out of memory outside of batches, which alone are taken in halves; give --restart and set"
            " load_in_4bit, a training.optim that needs less, such as adamw_8bit, or train fewer parameters"
        ) from error


def clips_by_split(
    recipe: Recipe, splits: list[str], max_audio_seconds: float, marks: list[str]
) -> dict[str, Gathered]:
    """Usable and rejected rows of each split."""
    share = recipe.corpora.max_rejected_share
    return {
        split: gather(getattr(recipe.corpora, split), recipe.language, max_audio_seconds, share, marks)
        for split in splits
    }


def everything(gathered: Gathered) -> Utterances:
    """All usable rows of a split."""
    return Utterances.concatenated([utterances for utterances, _ in gathered.values()])


def table(clips: Utterances) -> "Dataset":
    """The rows, never decoded audio; `length` lets the sampler group clips of like length."""
    import pyarrow.compute as pc
    from datasets import Dataset
    from datasets.fingerprint import generate_random_fingerprint

    lengths = pc.round(pc.multiply(clips.table["audio_seconds"], 100.0)).cast("int64")
    rows = clips.table.append_column("length", lengths)
    # Unless it is given one, a dataset pickles all of its recordings to make a fingerprint, which nobody asks for.
    return Dataset(rows, fingerprint=generate_random_fingerprint()).select(clips.order)


def untrained(recipe: Recipe) -> Any:
    """
    The model with its adapter, without weights: for counting.

    Raises:
        TrainingError: The base has no layers that the method names, or none that it takes.
    """
    import torch
    from peft import get_peft_model

    from escoita.models import family_of
    from escoita.training.arguments import peft_config

    family = family_of(recipe.base, recipe.base_revision)
    with torch.device("meta"):
        model = family.empty_model(recipe.base, recipe.base_revision)
        try:
            return get_peft_model(model, peft_config(recipe))
        except ValueError as error:  # PEFT names targets that it does not find or take
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(f"method: the adapter cannot be put on the base: {reason}") from error


def trained_parameters(counts: dict[str, int]) -> str:
    """One line: what trains, by tower."""
    towers = ", ".join(f"{tower} {count:,}" for tower, count in counts.items())
    return f"Trainable parameters: {sum(counts.values()):,} ({towers})"


def main(
    recipe: Annotated[Path, typer.Option(help="YAML file of the adapter.")],
    push: Annotated[bool, typer.Option("--push", help="Evaluate and publish afterwards; checked before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Everything but weights and steps.")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Remove checkpoints and adapter of the run, and train from the first step."),
    ] = False,
    accept_changed_data: Annotated[
        bool, typer.Option("--accept-changed-data", help="Resume a run although its training rows have changed.")
    ] = False,
) -> None:
    """Trains the adapter of a recipe; an interrupted run resumes from its last checkpoint."""
    from escoita.cli.main import train as command

    command(recipe, push, dry_run, overrides, restart, accept_changed_data)


if __name__ == "__main__":
    from escoita.cli.main import script

    script(main)
