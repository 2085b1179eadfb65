"""A run that was never trained: its recipe and its records, made by hand."""

from pathlib import Path
from typing import Any

import yaml

from escoita.recipe import Recipe
from escoita.records import CorpusResult, CorpusUse, EvaluationRecord, LossPoint, TrainingRecord
from escoita.rundir import RunDirectory
from tests.escoita.samples import RECIPE


def result(name: str = "clips", **changes: Any) -> CorpusResult:
    fields = {
        "name": name,
        "language": "uz",
        "n": 1234,
        "rejected": 0,
        "audio_seconds": 3456.5,
        "reference_words": 4321,
        "wer": 0.07118,
        "cer": 0.02342,
        "wer_ci95": (0.06512, 0.07731),
        "cer_ci95": (0.02011, 0.02688),
        "substitutions": 200,
        "deletions": 60,
        "insertions": 48,
        "rtfx": 40.4,
        "base_wer": 1.25167,
        "base_cer": 0.81239,
        "base_wer_ci95": (1.2, 1.3),
        "base_rtfx": 20.2,
    }
    return CorpusResult.model_validate(fields | changes)


def evaluation(*corpora: CorpusResult) -> EvaluationRecord:
    results = list(corpora) or [result()]
    return EvaluationRecord(
        base="./quickstart/gemma4",
        base_sha256="ab" * 32,
        adapter="adapter",
        adapter_sha256="cd" * 32,
        normalizer="raw",
        resamples=1000,
        corpora=results,
        pooled=result("pooled", wer=0.10987, n=sum(item.n for item in results)),
    )


def training(**changes: Any) -> TrainingRecord:
    fields = {
        "name": "small",
        "base": "./quickstart/gemma4",
        "family": "gemma4",
        "base_sha256": "ab" * 32,
        "adapter_sha256": "cd" * 32,
        "parameters": 2_000_000,
        "trainable_parameters": {"audio": 12_345, "vision": 0, "language": 54_321},
        "corpora": [CorpusUse(name="clips", split="train", utterances=800, audio_seconds=1800.0, rejected=0)],
        "rejected": [],
        "steps": 600,
        "epochs": 12.0,
        "train_seconds": 754.0,
        "sessions": 1,
        "loss": [LossPoint(step=25, loss=2.5), LossPoint(step=600, loss=0.125)],
        "device": "cpu",
        "peak_memory_bytes": 1_500_000_000,
        "versions": {"torch": "2.13.0", "peft": "0.21.2"},
        "finished": "2026-01-01T00:00:00+00:00",
    }
    return TrainingRecord.model_validate(fields | changes)


def recipe(**sections: dict[str, Any]) -> Recipe:
    """The small recipe, its sections updated."""
    document = yaml.safe_load(RECIPE)
    for name, changes in sections.items():
        document[name] = document.get(name, {}) | changes
    return Recipe.model_validate(document)


def write_run(
    path: Path,
    recipe: Recipe,
    training_record: TrainingRecord | None = None,
    evaluation_record: EvaluationRecord | None = None,
) -> RunDirectory:
    run = RunDirectory(path)
    recipe.write(run.recipe)
    (training_record or training()).write(run.training)
    (evaluation_record or evaluation()).write(run.results)
    return run
