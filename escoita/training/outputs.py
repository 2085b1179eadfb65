"""What is kept of a training: the adapter, all that is needed to use it, and the record."""

import importlib.metadata
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from escoita.data.loading import Gathered
from escoita.hub.files import adapter_record, weights_digest
from escoita.models.chat import ChatFamily
from escoita.recipe.schema import Recipe
from escoita.records.training import BaseRecord, CorpusUse, LossPoint, TrainingRecord, ValidationPoint
from escoita.run_directory import UNCHANGED_FILES, RunDirectory
from escoita.training.callbacks import EnergyMeter, best_of, save_weights
from escoita.training.checkpointing import Clock, written_whole
from escoita.training.resume import DataState
from escoita.training.sanity_checks import check_saved
from escoita.utils.files import public_name, sha256, sync_files, write_atomically
from escoita.utils.limits import LOSS_POINTS, VALIDATION_POINTS
from escoita.utils.processes import device_name, peak_memory_bytes


Point = TypeVar("Point")
VERSIONS = ("escoita", "torch", "transformers", "trl", "peft", "datasets", "tokenizers")


def save_adapter(
    trainer: Any,
    family: ChatFamily,
    recipe: Recipe,
    run: RunDirectory,
    weights: dict[str, Any] | None = None,
    base: BaseRecord | None = None,
) -> None:
    """
    Writes the best adapter, or the last where none was heard, the processor and `escoita.json`, whole or not at all.

    `Trainer.save_model` is not used because it adds a pickle.

    Args:
        trainer ([`SpeechTrainer`]): After training.
        family ([`ChatFamily`]): Of the base.
        recipe ([`Recipe`]): What was asked for.
        run ([`RunDirectory`]): Where to.
        weights (`dict[str, Any]`, *optional*): See [`SpeechTrainer.whole_weights`].
        base ([`BaseRecord`], *optional*): The base that was loaded, for `escoita.json` and `adapter_config.json`.

    Raises:
        WriteError: The disk is full, or may not be written to.
        UntrainedError: The adapter is not finite, or is as it was before training; nothing is left.
    """
    unfinished = run.adapter.with_name(f"{run.adapter.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    kept = best_of(trainer)
    best = kept.weights(trainer.args)
    with written_whole(unfinished):
        if best is not None:
            shutil.copytree(best, unfinished)
        else:
            save_weights(trainer.model, unfinished, weights)
        family.save_processor(trainer.processing_class, unfinished)
        write_settings(recipe, unfinished, base, family.render(trainer.processing_class, recipe.prompt))
        if base is not None:
            pin_revision(unfinished / "adapter_config.json", base.commit)
        sync_files(unfinished)
    check_saved(unfinished, family.tower_of, trainer.state.global_step if kept.step is None else kept.step)
    shutil.rmtree(run.adapter, ignore_errors=True)
    unfinished.rename(run.adapter)


def write_settings(
    recipe: Recipe, folder: Path, base: BaseRecord | None = None, rendered_prompt: str | None = None
) -> None:
    """Write `escoita.json` into the folder of an adapter, with the base and the prompt as training rendered it."""
    measured = {"base": base, "rendered_prompt": rendered_prompt}
    recipe.generation_settings().model_copy(update=measured).write(folder / "escoita.json")


def pin_revision(path: Path, commit: str | None) -> None:
    """Write the commit of the base into an `adapter_config.json` of PEFT, so that every program can load the same."""
    config = json.loads(path.read_text("utf-8")) | {"revision": commit}
    write_atomically(path, json.dumps(config, indent=2, sort_keys=True) + "\n")


def update_settings(recipe: Recipe, run: RunDirectory) -> None:
    """
    Write the settings of a changed recipe into a run that is already trained.

    Args:
        recipe ([`Recipe`]): Differs from that of the run only in keys that training does not read.
        run ([`RunDirectory`]): Its `recipe.yaml`, `escoita.json` and the digest of the latter are replaced.
    """
    recipe.write(run.recipe)
    before = adapter_record(str(run.adapter))
    write_settings(recipe, run.adapter, before.base, before.rendered_prompt)
    record, digests = TrainingRecord.read(run.training), adapter_files(run.adapter)
    if record.adapter_files and record.adapter_files != digests:
        record.model_copy(update={"adapter_files": digests}).write(run.training)


def adapter_files(adapter: Path) -> dict[str, str]:
    """Return the SHA-256 of each file next to the weights of an adapter that is published unchanged, by its name."""
    return {path.name: sha256(path) for path in sorted(adapter.iterdir()) if path.name in UNCHANGED_FILES}


def training_record(
    trainer: Any,
    family: ChatFamily,
    recipe: Recipe,
    adapter: Path,
    trainable: dict[str, int],
    clips: dict[str, Gathered],
    base: BaseRecord,
    data: DataState,
) -> TrainingRecord:
    """
    Collects what happened.

    Args:
        trainer ([`SpeechTrainer`]): After training.
        family ([`ChatFamily`]): Of the base.
        recipe ([`Recipe`]): What was asked for.
        adapter (`Path`): The folder of the saved adapter.
        trainable (`dict[str, int]`): Trained parameters of each tower.
        clips (`dict[str, Gathered]`): Used and not usable, by split and corpus.
        base ([`BaseRecord`]): The base that was loaded.
        data ([`DataState`]): Of these clips, and of earlier ones.
    """
    state = trainer.state
    # Not the ones that went in: going on from a checkpoint puts those from there in their places.
    clock = trainer.pop_callback(Clock)
    return TrainingRecord(
        name=recipe.name,
        base=public_name(recipe.base),
        family=family.info.name,
        base_sha256=base.sha256,
        base_commit=base.commit,
        adapter_sha256=weights_digest(str(adapter)),
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
        kept_step=best_of(trainer).step,
        pace=trainer.pace.record(),
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
        adapter_files=adapter_files(adapter),
        rows_sha256=data.sha256,
        data_changes=data.changes,
    )


def versions(recipe: Recipe) -> dict[str, str]:
    """Of what trained: of Unsloth and bitsandbytes only where they had a part in it."""
    names = [*VERSIONS, *(["unsloth"] * (recipe.engine == "unsloth")), *(["bitsandbytes"] * recipe.load_in_4bit)]
    return {name: importlib.metadata.version(name) for name in names}


def thinned(points: list[Point], most: int) -> list[Point]:
    """At most so many points at equal distances, the last among them; a record holds no more."""
    step = -(-len(points) // most) or 1
    return points[::-step][::-1]


def loss_points(history: list[dict[str, Any]]) -> list[LossPoint]:
    """The training loss, from the trainer's log."""
    return [LossPoint(step=entry["step"], loss=entry["loss"]) for entry in history if "loss" in entry]


def validation_points(history: list[dict[str, Any]]) -> list[ValidationPoint]:
    """What each evaluation while training found, from the trainer's log."""
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
    """What each corpus of each split gave."""
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
