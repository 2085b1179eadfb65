"""What is kept of a training: the adapter, all that is needed to use it, and the record."""

import importlib.metadata
import resource
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from escoita.corpora import Rejected, Utterance
from escoita.families.chat import ChatFamily
from escoita.files import public_name
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
    clips: dict[str, list[Utterance]],
    rejected: dict[str, list[Rejected]],
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
        clips (`dict[str, list[Utterance]]`): Used, by split.
        rejected (`dict[str, list[Rejected]]`): Not usable, by split.
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
        corpora=[use for split in clips for use in corpus_uses(recipe, split, clips[split], rejected[split])],
        rejected=[row.public() for rows in rejected.values() for row in rows],
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


def corpus_uses(recipe: Recipe, split: str, clips: list[Utterance], rejected: list[Rejected]) -> list[CorpusUse]:
    """What each corpus of a split gave."""
    uses = []
    for corpus in getattr(recipe.corpora, split):
        lengths = [clip.audio_seconds for clip in clips if clip.corpus == corpus.name]
        bad = sum(row.manifest == str(Path(corpus.manifest)) for row in rejected)
        uses.append(
            CorpusUse(name=corpus.name, split=split, utterances=len(lengths), audio_seconds=sum(lengths), rejected=bad)
        )
    return uses


def peak_memory_bytes() -> int:
    """Peak memory of the GPU where there is one, else peak resident memory of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
