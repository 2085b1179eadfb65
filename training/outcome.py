"""What is kept of a training: the adapter, all that is needed to use it, and the record."""

import importlib.metadata
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from escoita.corpora.gather import Gathered
from escoita.families.chat import ChatFamily
from escoita.files import public_name
from escoita.hardware import peak_memory_bytes
from escoita.recipe import Recipe
from escoita.records import AdapterRecord, CorpusUse, LossPoint, TrainingRecord
from escoita.resolve import weights_digest
from training.session import Clock


VERSIONS = ("escoita", "torch", "transformers", "trl", "peft", "datasets", "tokenizers")


def save_adapter(trainer: Any, family: ChatFamily, recipe: Recipe, folder: Path) -> None:
    """
    Writes the adapter, the processor and `escoita.json` into a folder, whole or not at all.

    The README that PEFT writes beside an adapter is dropped: it names a local path as base. `Trainer.save_model` is
    not used because it adds a pickle.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    trainer.model.save_pretrained(unfinished)
    (unfinished / "README.md").unlink(missing_ok=True)
    family.save_processor(trainer.processing_class, unfinished)
    write_settings(recipe, unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def write_settings(recipe: Recipe, folder: Path) -> None:
    """Writes `escoita.json` into the folder of an adapter."""
    settings = AdapterRecord(language=recipe.language, prompt=recipe.prompt, max_new_tokens=recipe.eval.max_new_tokens)
    settings.write(folder / "escoita.json")


def training_record(
    trainer: Any,
    family: ChatFamily,
    recipe: Recipe,
    adapter: Path,
    clock: Clock,
    trainable: dict[str, int],
    clips: dict[str, Gathered],
) -> TrainingRecord:
    """
    Collects what happened.

    Args:
        trainer: The SFTTrainer, after training.
        family ([`ChatFamily`]): Of the base.
        recipe ([`Recipe`]): What was asked for.
        adapter (`Path`): The folder of the saved adapter.
        clock ([`Clock`]): Of this training.
        trainable (`dict[str, int]`): Trained parameters of each tower.
        clips (`dict[str, Gathered]`): Used and not usable, by split and corpus.
    """
    state = trainer.state
    return TrainingRecord(
        name=recipe.name,
        base=public_name(recipe.base),
        family=family.model_type,
        base_sha256=weights_digest(recipe.base, recipe.base_revision),
        adapter_sha256=weights_digest(str(adapter)),
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        trainable_parameters=trainable,
        corpora=corpus_uses(clips),
        rejected=[row.public() for corpora in clips.values() for _, rejected in corpora.values() for row in rejected],
        steps=state.global_step,
        epochs=state.epoch or 0.0,
        train_seconds=clock.seconds,
        sessions=clock.sessions,
        loss=[LossPoint(step=entry["step"], loss=entry["loss"]) for entry in state.log_history if "loss" in entry],
        device=str(trainer.args.device),
        peak_memory_bytes=peak_memory_bytes(),
        versions={name: importlib.metadata.version(name) for name in VERSIONS},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


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
