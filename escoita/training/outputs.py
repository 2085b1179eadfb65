"""Write the results of a training: the adapter, everything that is needed to use it, and the record."""

import importlib.metadata
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from escoita.data.loading import Gathered
from escoita.hub.files import adapter_record, weights_digest
from escoita.models.trainable import TrainableFamily
from escoita.recipe.schema import Recipe
from escoita.records.training import BaseRecord, CorpusUse, LossPoint, TrainingRecord, ValidationPoint
from escoita.run_directory import UNCHANGED_FILES, RunDirectory
from escoita.training.callbacks import EnergyMeter, best_of, save_weights
from escoita.training.checkpointing import Clock, folder_written
from escoita.training.extension import read_extensions
from escoita.training.resume import DataState
from escoita.training.sanity_checks import check_saved
from escoita.utils.files import public_name, sha256, sync_files, write_atomically
from escoita.utils.limits import LOSS_POINTS, VALIDATION_POINTS
from escoita.utils.locations import as_written
from escoita.utils.processes import device_name, peak_memory_bytes


Point = TypeVar("Point")
VERSIONS = ("escoita", "torch", "transformers", "trl", "peft", "datasets", "tokenizers")


def save_adapter(
    trainer: Any,
    family: TrainableFamily,
    recipe: Recipe,
    run: RunDirectory,
    weights: dict[str, Any] | None = None,
    base: BaseRecord | None = None,
) -> None:
    """
    Write adapter, processor and `escoita.json`, completely or not at all.

    The adapter is the best one, or the last one if none was evaluated. `Trainer.save_model` is not used because it
    writes a pickle file.

    Args:
        trainer ([`SpeechTrainer`]): The trainer after training.
        family ([`TrainableFamily`]): The family of the base.
        recipe ([`Recipe`]): The recipe of the run.
        run ([`RunDirectory`]): The run directory.
        weights (`dict[str, Any]`, *optional*): The weights from [`SpeechTrainer.full_weights`].
        base ([`BaseRecord`], *optional*): The base that was loaded, for `escoita.json` and `adapter_config.json`.

    Raises:
        WriteError: The disk is full or read-only.
        UntrainedError: The adapter is not finite or unchanged by training; it is removed.
    """
    unfinished = run.adapter.with_name(f"{run.adapter.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    best_adapter = best_of(trainer)
    best = best_adapter.weights(trainer.args)
    with folder_written(unfinished):
        if best is not None:
            shutil.copytree(best, unfinished)
        else:
            save_weights(trainer.model, unfinished, weights)
        processor = trainer.processing_class
        family.save_processor(processor, unfinished)
        settings = family.resolved_settings(processor, recipe.generation_settings())
        rendered = family.rendered_prompt(processor, settings)
        settings.model_copy(update={"base": base, "rendered_prompt": rendered}).write(unfinished / "escoita.json")
        if base is not None:
            pin_revision(unfinished / "adapter_config.json", base.commit)
        sync_files(unfinished)
    step = trainer.state.global_step if best_adapter.step is None else best_adapter.step
    check_saved(unfinished, family.tower_of, step)
    shutil.rmtree(run.adapter, ignore_errors=True)
    unfinished.rename(run.adapter)


def pin_revision(path: Path, commit: str | None) -> None:
    """
    Write the commit of the base into an `adapter_config.json` of PEFT, so that programs load the same base.

    The module and the class of the base, which PEFT adds without a task type, are removed: programs would import them.
    """
    config = as_written(json.loads(path.read_text("utf-8"))) | {"revision": commit, "auto_mapping": None}
    write_atomically(path, json.dumps(config, indent=2, sort_keys=True) + "\n")


def update_settings(recipe: Recipe, run: RunDirectory) -> None:
    """
    Replace `recipe.yaml`, `escoita.json` and the digest of the latter in a trained run by those of a changed recipe.

    Args:
        recipe ([`Recipe`]): A recipe that differs from that of the run only in keys that training does not read.
        run ([`RunDirectory`]): The run directory.
    """
    recipe.write(run.recipe)
    before = adapter_record(str(run.adapter))
    trained = {key: getattr(before, key) for key in ("base", "rendered_prompt", "language_token", "target_lang")}
    recipe.generation_settings().model_copy(update=trained).write(run.adapter / "escoita.json")
    record, digests = TrainingRecord.read(run.training), adapter_files(run.adapter)
    if record.adapter_files and record.adapter_files != digests:
        record.model_copy(update={"adapter_files": digests}).write(run.training)


def adapter_files(adapter: Path) -> dict[str, str]:
    """Return the SHA-256 of each file next to the weights of an adapter that is published unchanged, by name."""
    return {path.name: sha256(path) for path in sorted(adapter.iterdir()) if path.name in UNCHANGED_FILES}


def training_record(
    trainer: Any,
    family: TrainableFamily,
    recipe: Recipe,
    run: RunDirectory,
    trainable: dict[str, int],
    clips: dict[str, Gathered],
    base: BaseRecord,
    data: DataState,
) -> TrainingRecord:
    """
    Return the record of a training.

    Args:
        trainer ([`SpeechTrainer`]): The trainer after training.
        family ([`TrainableFamily`]): The family of the base.
        recipe ([`Recipe`]): The recipe of the run.
        run ([`RunDirectory`]): The run directory, with the saved adapter.
        trainable (`dict[str, int]`): The number of trained parameters of each tower.
        clips (`dict[str, Gathered]`): The usable and rejected rows of each corpus, by split.
        base ([`BaseRecord`]): The base that was loaded.
        data ([`DataState`]): The digests of the rows, and the changes of the data since the run began.
    """
    state, settings = trainer.state, adapter_record(str(run.adapter))
    # A checkpoint replaces the callbacks that were passed to the trainer.
    clock = trainer.pop_callback(Clock)
    return TrainingRecord(
        name=recipe.name,
        base=public_name(recipe.base),
        family=family.info.name,
        base_sha256=base.sha256,
        base_commit=base.commit,
        adapter_sha256=weights_digest(str(run.adapter)),
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        trainable_parameters=trainable,
        corpora=data.corpora,
        rejected=[row.public() for corpora in clips.values() for _, rejected in corpora.values() for row in rejected],
        steps=state.global_step,
        epochs=state.epoch or 0.0,
        train_seconds=clock.seconds,
        sessions=clock.sessions,
        loss=thinned(loss_points(state.log_history), LOSS_POINTS),
        validation=thinned(validation_points(state.log_history), VALIDATION_POINTS),
        normalizer=recipe.eval.normalizer,
        primary=recipe.primary,
        kept_step=best_of(trainer).step,
        pace=trainer.throughput.record(),
        processes=trainer.args.world_size,
        engine=recipe.engine,
        method=recipe.method.kind,
        load_in_4bit=recipe.load_in_4bit,
        mixed_precision="bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "no",
        device=device_name(str(trainer.args.device)),
        peak_memory_bytes=peak_memory_bytes(),
        energy_joules=trainer.pop_callback(EnergyMeter).joules,
        versions=versions(recipe),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=trainer.args.seed,
        adapter_files=adapter_files(run.adapter),
        rows_sha256=data.sha256,
        data_changes=data.changes,
        language_token=settings.language_token,
        target_lang=settings.target_lang,
        base_transcribes=family.transcribes_alone,
        extensions=read_extensions(run),
    )


def versions(recipe: Recipe) -> dict[str, str]:
    """Return the versions of the packages that were used, with Unsloth and bitsandbytes if the recipe needs them."""
    names = [*VERSIONS, *(["unsloth"] * (recipe.engine == "unsloth")), *(["bitsandbytes"] * recipe.load_in_4bit)]
    return {name: importlib.metadata.version(name) for name in names}


def thinned(points: list[Point], limit: int) -> list[Point]:
    """Return at most `limit` points at equal distances, including the last one."""
    step = -(-len(points) // limit) or 1
    return points[::-step][::-1]


def loss_points(history: list[dict[str, Any]]) -> list[LossPoint]:
    """Return the training loss from the trainer's log."""
    return [LossPoint(step=entry["step"], loss=entry["loss"]) for entry in history if "loss" in entry]


def validation_points(history: list[dict[str, Any]]) -> list[ValidationPoint]:
    """Return the result of each validation during training from the trainer's log."""
    return [
        ValidationPoint(
            step=entry["step"],
            loss=entry["eval_loss"],
            wer=entry.get("eval_wer"),
            cer=entry.get("eval_cer"),
            utterances=entry.get("eval_utterances", 0),
        )
        for entry in history
        if "eval_loss" in entry
    ]


def corpus_uses(clips: dict[str, Gathered]) -> list[CorpusUse]:
    """Return the numbers of usable and rejected rows of each corpus."""
    return [
        CorpusUse(
            name=name,
            split=split,
            utterances=len(found),
            audio_seconds=sum(found.column("audio_seconds")),
            rejected=len(rejected),
        )
        for split, corpora in clips.items()
        for name, (found, rejected) in corpora.items()
    ]
