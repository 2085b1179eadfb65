"""
Train a speech adapter with TRL's SFTTrainer from a recipe, in steps that can be called one by one.

`training/sft.py` and [`train`] call them in order. An interrupted run resumes from its last checkpoint. The network is
used only if the base is a repository: for its commit, and for files that are not in the cache.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from escoita.data.loading import weighted
from escoita.data.token_lengths import over_limit
from escoita.models.base_model import Base
from escoita.recipe.schema import Recipe
from escoita.records.training import BaseRecord, TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.training.datasets import Datasets, clips_by_split, everything, row_problem, table, with_texts
from escoita.utils.interruption import Interrupted, StopRequest
from escoita.utils.processes import destroy_process_group, is_out_of_memory, main_first, main_only, say, stage


if TYPE_CHECKING:
    from accelerate import PartialState
    from trl import SFTConfig

    from escoita.models.trainable import TrainableFamily
    from escoita.training.data_collator import SpeechCollator
    from escoita.training.resume import DataState
    from escoita.training.trainer import SpeechTrainer


# The title of the imports of torch and the libraries on top of it, which take seconds.
IMPORTING = "Importing libraries"


@dataclass(frozen=True)
class Setup:
    """
    Hold the settings of a training before its data and its model are loaded; see [`prepare`].

    Args:
        original ([`Recipe`]): The recipe as the user wrote it, with the defaults of family and memory.
        recipe ([`Recipe`]): The same recipe with the commit of its base.
        run ([`RunDirectory`]): The directory of checkpoints, adapter and record.
        arguments (`SFTConfig`): The arguments of SFTTrainer.
        processes (`PartialState`): The processes that train together.
        base ([`Base`]): The base, whose weights are not loaded.
        family ([`TrainableFamily`]): The family of the base.
        restart (`bool`): Whether to remove checkpoints, adapter and record of the run.
        accept_changed_data (`bool`): Whether to resume on other rows than the run began with.
    """

    original: Recipe
    recipe: Recipe
    run: RunDirectory
    arguments: "SFTConfig"
    processes: "PartialState"
    base: Base
    family: "TrainableFamily"
    restart: bool = False
    accept_changed_data: bool = False


def train(
    recipe: Recipe,
    dry_run: bool = False,
    restart: bool = False,
    accept_changed_data: bool = False,
    json_logs: bool = False,
    resume: bool = False,
) -> TrainingRecord | None:
    """
    Train the adapter of a recipe; do nothing if the run is already finished with as many steps.

    Args:
        recipe ([`Recipe`]): The recipe, with base, method and corpora.
        dry_run (`bool`, *optional*, defaults to `False`): Check everything, but load no weights and take no steps.
        restart (`bool`, *optional*, defaults to `False`): Remove checkpoints, adapter and record of the run before
            training, also if they belong to another recipe.
        accept_changed_data (`bool`, *optional*, defaults to `False`): Resume a run although its rows have changed.
        json_logs (`bool`, *optional*, defaults to `False`): Print one JSON object per log entry and evaluation on the
            standard output.
        resume (`bool`, *optional*, defaults to `False`): Refuse to begin at the first step. A run with a checkpoint
            resumes in any case, unless `restart` is given.

    Returns:
        [`TrainingRecord`]: The record, also written to `training.json`; `None` after a dry run.

    Raises:
        EscoitaError: The recipe, a corpus or the base is refused.
        Interrupted: A signal stopped the training after a step, and a checkpoint of that step was written.
    """
    if not (dry_run or restart) and (record := finished(recipe)):
        return record
    setup = prepare(recipe, restart, accept_changed_data, resume)
    processor = load_processor(setup)
    datasets = make_datasets(setup, processor)
    collator = make_collator(setup, processor)
    counts = check_before_training(setup, collator, datasets)
    if dry_run:
        end_dry_run(setup, datasets, counts)
        return None
    with training_lock(setup) as checkpoint:
        trainer = make_trainer(setup, collator, datasets, checkpoint, json_logs)
        with trainer.request.deferring():
            take_steps(trainer, checkpoint)
            save_adapter(setup, trainer, datasets, checkpoint)
        return result(setup, trainer)


def finished(recipe: Recipe) -> TrainingRecord | None:
    """
    Return the record of a trained run, and update the parts of its recipe that may change; return `None` if the run is
    not trained, or the recipe extends it.

    Raises:
        ChangedRecipeError: The run was trained with another recipe.
    """
    with stage(IMPORTING):
        from escoita.training.backends import import_first

        import_first(recipe)
        from accelerate import PartialState

        from escoita.training.arguments import sft_config
        from escoita.training.checkpointing import refuse_other_recipe
        from escoita.training.defaults import with_defaults
        from escoita.training.extension import extension_of_run
        from escoita.training.outputs import update_settings

    run = RunDirectory(recipe.run_path)
    if not run.training.exists():
        return None
    recipe = with_defaults(recipe)
    sft_config(recipe, run)  # checks the recipe
    refuse_other_recipe(run, recipe)
    if extension_of_run(run, recipe):
        return None
    if PartialState().is_main_process:
        update_settings(recipe, run)
    say(f"Already trained: {run.training} (--restart trains again)")
    return TrainingRecord.read(run.training)


def prepare(recipe: Recipe, restart: bool = False, accept_changed_data: bool = False, resume: bool = False) -> Setup:
    """
    Make the arguments of a recipe, and find its base.

    Args:
        recipe ([`Recipe`]): The recipe of the training.
        restart (`bool`, *optional*, defaults to `False`): See [`train`].
        accept_changed_data (`bool`, *optional*, defaults to `False`): See [`train`].
        resume (`bool`, *optional*, defaults to `False`): See [`train`].

    Raises:
        NoCheckpointError: `resume` is given, or the recipe extends a trained run, and there is no checkpoint.
        EscoitaError: SFTConfig refuses the arguments, the run has another recipe, or the base is not found.
    """
    with stage(IMPORTING):
        from escoita.training.backends import import_first

        import_first(recipe)
        from accelerate import PartialState

        from escoita.models import family_of
        from escoita.training.arguments import sft_config
        from escoita.training.checkpointing import (
            checkpoints_by_step,
            refuse_other_recipe,
            refuse_separate_processes,
        )
        from escoita.training.defaults import differences, with_defaults
        from escoita.training.extension import NoCheckpointError, extension_of_run
        from escoita.training.resume import base_of_run, pinned
        from escoita.training.sanity_checks import check_precision_of_steps

    run = RunDirectory(recipe.run_path)
    given, recipe = recipe, with_defaults(recipe, restart)
    arguments = sft_config(recipe, run)
    processes = PartialState()
    refuse_separate_processes(processes.num_processes, arguments.n_gpu)
    if not restart:
        refuse_other_recipe(run, recipe)
        begun = bool(checkpoints_by_step(run.checkpoints))
        if not begun and (resume or run.training.exists()):
            raise NoCheckpointError(path=run.path, key="--resume" if resume else None)
        if begun and (extension := extension_of_run(run, recipe)):
            say(str(extension))
    base = base_of_run(recipe, run, processes, restart)
    resolved = pinned(recipe, base)
    family = family_of(resolved.base, resolved.base_revision)
    check_precision_of_steps(family, arguments.fp16)
    if chosen := differences(given, recipe):
        say(f"Settings that the recipe leaves to the model family and the memory: {', '.join(chosen)}")
    return Setup(recipe, resolved, run, arguments, processes, base, family, restart, accept_changed_data)


def load_processor(setup: Setup) -> Any:
    """Return the processor of the base: tokenizer and feature extractor."""
    recipe = setup.recipe
    with stage(f"Loading the processor of {recipe.base}", spinner=Path(recipe.base).is_dir()):
        return setup.family.load_processor(recipe.base, recipe.base_revision)


def make_datasets(setup: Setup, processor: Any) -> Datasets:
    """
    Read the corpora of the recipe, and reject unusable rows.

    Args:
        setup ([`Setup`]): The settings of the training.
        processor (`ProcessorMixin`): The processor of the base, whose special tokens transcripts must not contain.

    Raises:
        EscoitaError: A corpus cannot be read, or too many of its rows are unusable.
    """
    from escoita.metrics.normalizers import normalizer
    from escoita.models.base import special_tokens_of
    from escoita.models.ctc_vocabulary import training_text, unknown_characters, unknown_line
    from escoita.training.arguments import planned_steps, refuse_warmup_only
    from escoita.training.sampler import data_seed

    recipe, arguments, longest = setup.recipe, setup.arguments, setup.family.max_audio_seconds
    splits = ["train"] if arguments.eval_strategy == "no" else ["train", "validation"]
    marks = sorted(special_tokens_of(processor.tokenizer).values())
    problem = row_problem(setup.family, processor, recipe.eval.normalizer)
    gathered = main_first(lambda: clips_by_split(recipe, splits, longest, marks, problem), setup.processes)
    if setup.family.own_vocabulary:
        normalize = training_text(normalizer(recipe.eval.normalizer))
        gathered = {split: with_texts(corpora, normalize) for split, corpora in gathered.items()}
        setup.family.learn_vocabulary(processor, everything(gathered["train"]).each("text"))
        tokens = processor.tokenizer.get_vocab()
        say(f"Vocabulary: {len(tokens)} tokens of the training transcripts")
        for split in splits[1:]:
            unknown = unknown_characters(everything(gathered[split]).each("text"), tokens)
            if line := unknown_line(unknown):
                say(f"{split}: {line}")
    rows = table(weighted(gathered["train"], recipe.corpora.train, data_seed(arguments)))
    refuse_warmup_only(arguments, planned_steps(arguments, len(rows), setup.processes.num_processes))
    return Datasets(rows, everything(gathered["validation"]) if "validation" in gathered else None, gathered)


def make_collator(setup: Setup, processor: Any) -> "SpeechCollator":
    """Return the collator that makes batches of decoded audio, prompts and labels."""
    from escoita.training.data_collator import SpeechCollator

    settings = setup.family.resolved_settings(processor, setup.recipe.generation_settings())
    return SpeechCollator(setup.family, processor, settings, setup.arguments.max_length)


def check_before_training(setup: Setup, collator: "SpeechCollator", datasets: Datasets) -> dict[str, int]:
    """
    Check everything that would make the training fail or useless, before the weights are loaded.

    Args:
        setup ([`Setup`]): The settings of the training.
        collator ([`SpeechCollator`]): The collator.
        datasets ([`Datasets`]): The rows; the first batch is checked.

    Returns:
        `dict[str, int]`: The number of trainable parameters of each tower.

    Raises:
        EscoitaError: A batch, the precision of the base, or the trainable parameters are wrong, or SFTTrainer, PEFT or
            the model refuses the recipe.
    """
    from escoita.models.loading import check_precision, stored_quantization
    from escoita.training.arguments import without_effect
    from escoita.training.backends import untrained
    from escoita.training.sanity_checks import check_batch, check_trainable, count_trainable
    from escoita.training.trial import check_by_trial

    recipe, family, rows, processor = setup.recipe, setup.family, datasets.train, collator.processor
    first = rows.select(range(min(len(rows), setup.arguments.per_device_train_batch_size)))
    check_batch(family, processor, collator(first.to_list()), first["text"])
    check_precision(recipe.base, stored_quantization(recipe.base, recipe.base_revision), recipe.load_in_4bit)
    with stage("Building the model without its weights"):
        adapted = untrained(recipe, processor)
    counts = count_trainable(family, adapted)
    check_trainable(counts, recipe.method.trainable)
    for line in without_effect(recipe):
        say(line)
    for split, corpora in datasets.gathered.items():
        for name, (usable, _) in corpora.items():
            if family.token_limit and (over := over_limit(usable, processor.tokenizer, recipe.eval.max_new_tokens)):
                say(f"{name}, {split}: {over}; raise eval.max_new_tokens above {over.most_tokens}")
    with stage("Trying one step on a small copy"):
        check_by_trial(recipe, family, processor, rows, adapted)
    return counts


def end_dry_run(setup: Setup, datasets: Datasets, counts: dict[str, int]) -> None:
    """
    Compare the rows with those of the checkpoint from which the run would resume, and log the trainable parameters.

    Raises:
        ChangedDataError: The rows differ, and `accept_changed_data` is `False`.
    """
    from escoita.training.checkpointing import usable_checkpoint
    from escoita.training.extension import extension_of_run

    extended = extension_of_run(setup.run, setup.recipe)
    no_resume = setup.restart or (setup.run.training.exists() and not extended)
    compare_data(setup, datasets, None if no_resume else usable_checkpoint(setup.run, setup.processes))
    say(f"{trained_parameters(counts)}\nDry run: all checks passed; no weights were loaded, and no step was taken")


def compare_data(setup: Setup, datasets: Datasets, checkpoint: Path | None) -> "DataState":
    """
    Compare the rows with those of a checkpoint.

    Returns:
        [`DataState`]: The digests of the rows, and the changes since the run began.

    Raises:
        ChangedDataError: The rows differ, and `accept_changed_data` is `False`.
    """
    from escoita.training.outputs import corpus_uses
    from escoita.training.resume import DataState, resumed_data

    now = DataState.of(datasets.gathered, corpus_uses(datasets.gathered))
    return main_first(lambda: resumed_data(checkpoint, now, setup.accept_changed_data), setup.processes)


@contextmanager
def training_lock(setup: Setup) -> Iterator[Path | None]:
    """
    Hold the lock of a run, and yield the checkpoint to resume from, if there is one.

    Raises:
        RunLockedError: Another command trains the run.
        OutOfPatienceError: The recipe extends a run that early stopping ended.
    """
    from transformers import set_seed

    from escoita.training.checkpointing import run_locked, start_over, usable_checkpoint
    from escoita.training.extension import reopen

    with run_locked(setup.run, setup.processes):
        set_seed(setup.arguments.seed)  # before the adapter is initialized
        if setup.restart and setup.processes.is_main_process:
            start_over(setup.run)
        checkpoint = usable_checkpoint(setup.run, setup.processes)
        patience, finished = setup.recipe.validation.patience, setup.run.training.exists()
        main_only(lambda: reopen(setup.run, checkpoint, patience) if finished else None, setup.processes)
        yield checkpoint


def make_trainer(
    setup: Setup,
    collator: "SpeechCollator",
    datasets: Datasets,
    checkpoint: Path | None = None,
    json_logs: bool = False,
) -> "SpeechTrainer":
    """
    Load the base, add the adapter, and return the trainer.

    Args:
        setup ([`Setup`]): The settings of the training.
        collator ([`SpeechCollator`]): The collator.
        datasets ([`Datasets`]): The rows.
        checkpoint (`Path`, *optional*): The checkpoint from which the run resumes; see [`training_lock`].
        json_logs (`bool`, *optional*, defaults to `False`): See [`train`].

    Raises:
        EscoitaError: The base cannot be loaded, the adapter differs from the recipe, or the rows differ from those of
            the checkpoint.
    """
    from escoita.training.backends import load_for_training, prepare_precision
    from escoita.training.callbacks import BestAdapter, EnergyMeter, set_tracking_folders
    from escoita.training.checkpointing import Clock
    from escoita.training.extension import save_extension
    from escoita.training.progress import show_progress
    from escoita.training.resume import save_base
    from escoita.training.sanity_checks import GradientWatch, InitialWeights, check_trainable, count_trainable
    from escoita.training.trainer import SpeechTrainer
    from escoita.training.validation import CheckpointingCheck, ValidationSet

    recipe, family, validation = setup.recipe, setup.family, datasets.validation
    data = compare_data(setup, datasets, checkpoint)
    if setup.processes.is_main_process:
        save_extension(setup.run, setup.original, checkpoint)
        setup.original.write(setup.run.recipe)
    processor = collator.processor
    family.check_vocabulary(processor, checkpoint)
    model, adapter = load_for_training(recipe, family, processor)
    family.check_model(model, processor, collator.settings)
    set_tracking_folders(setup.run, setup.arguments.report_to)
    validation_set = (
        ValidationSet.of(validation, recipe, family, processor) if validation and recipe.validation.clips else None
    )
    trainer = SpeechTrainer(
        model=model,
        args=setup.arguments,
        train_dataset=datasets.train,
        # The loss is computed on the clips that are transcribed; without transcription, on all of them.
        eval_dataset=table(validation_set.clips if validation_set else validation) if validation else None,
        data_collator=collator,
        processing_class=processor,
        peft_config=adapter,
        callbacks=[
            Clock(),
            EnergyMeter(),
            GradientWatch(family.tower_of),
            InitialWeights(),
            CheckpointingCheck(),
            BestAdapter(recipe.validation.patience, recipe.primary),
        ],
        request=StopRequest(),
        data=data,
        validation_set=validation_set,
    )
    show_progress(trainer, json_logs, recipe.primary)
    prepare_precision(trainer.model)
    counts = count_trainable(family, trainer.model)
    check_trainable(counts, recipe.method.trainable)
    say(trained_parameters(counts))
    main_only(lambda: save_base(setup.run, setup.base), setup.processes)
    return trainer


def take_steps(trainer: "SpeechTrainer", checkpoint: Path | None = None) -> None:
    """
    Train, from a checkpoint if there is one; a checkpoint of the last step needs no further step.

    Raises:
        EscoitaError: The number of processes changed, a clip cannot be read, a checkpoint cannot be read or written,
            gradients are not finite, or memory runs out and no batch can be split.
    """
    from escoita.training.checkpointing import refuse_other_process_count
    from escoita.training.oom import TrainingMemoryError
    from escoita.training.progress import close_progress

    if checkpoint:
        refuse_other_process_count(checkpoint, trainer.args.world_size)
        say(f"Resuming from {checkpoint}")
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingMemoryError(
            "out of memory outside of a batch; only batches can be split",
            key="training",
            hint="give --restart and set load_in_4bit, or a training.optim that needs less memory, such as adamw_8bit,"
            " or train fewer parameters",
        ) from error
    finally:
        close_progress(trainer)


def save_adapter(setup: Setup, trainer: "SpeechTrainer", datasets: Datasets, checkpoint: Path | None = None) -> None:
    """
    Check that the adapter was trained, and write it with its processor, its settings and `training.json`.

    Nothing is written if a signal stopped the training; see [`result`].

    Args:
        setup ([`Setup`]): The settings of the training.
        trainer ([`SpeechTrainer`]): The trainer after [`take_steps`].
        datasets ([`Datasets`]): The rows.
        checkpoint (`Path`, *optional*): The checkpoint from which the run resumed.

    Raises:
        UntrainedError: No step was taken, the weights of a tower did not change, or a weight is not finite.
        WriteError: The disk is full or read-only.
    """
    from escoita.training import outputs
    from escoita.training.resume import read_base, refuse_unused_data
    from escoita.training.sanity_checks import check_trained, count_trainable
    from escoita.training.sharding import full_weights

    if trainer.stopped:
        return
    run, family, data = setup.run, setup.family, cast("DataState", trainer.data)
    refuse_unused_data(checkpoint, data, trainer.state.global_step)
    check_trained(trainer, family.tower_of)
    weights = full_weights(trainer.model)
    if setup.processes.is_main_process:
        base, counts = cast("BaseRecord", read_base(run)), count_trainable(family, trainer.model)
        outputs.save_adapter(trainer, family, setup.original, run, weights, base)
        outputs.training_record(trainer, family, setup.original, run, counts, datasets.gathered, base, data).write(
            run.training
        )
        shutil.rmtree(run.best, ignore_errors=True)  # the best adapter was copied
    setup.processes.wait_for_everyone()


def result(setup: Setup, trainer: "SpeechTrainer") -> TrainingRecord:
    """
    Return the record in `training.json`.

    Raises:
        Interrupted: A signal stopped the training after a step, and a checkpoint of that step was written.
    """
    if signum := trainer.signal_received():
        destroy_process_group()
        step = trainer.state.global_step
        raise Interrupted(signum, f"stopped at step {step}; run the same command to resume")
    return TrainingRecord.read(setup.run.training)


def trained_parameters(counts: dict[str, int]) -> str:
    """Return a line with the number of trainable parameters of each tower."""
    towers = ", ".join(f"{tower} {count:,}" for tower, count in counts.items())
    return f"Trainable parameters: {sum(counts.values()):,} ({towers})"
