"""Make a recipe and records of a run that was not trained."""

from pathlib import Path
from typing import Any

import yaml

from escoita.recipe.schema import Recipe
from escoita.records.data import Clip, DataRecord, Leak, Pair
from escoita.records.evaluation import (
    CorpusResult,
    Difference,
    EvaluationRecord,
    Faults,
    MacroMean,
    ProbeResult,
    Rates,
    System,
    SystemResult,
)
from escoita.records.training import CorpusUse, LossPoint, Throughput, TrainingRecord, ValidationPoint
from escoita.run_directory import RunDirectory
from tests.samples import RECIPE


def rates(wer: float = 0.07118, **changes: Any) -> Rates:
    fields = {
        "wer": wer,
        "cer": 0.02342,
        "wer_ci95": (0.06512, 0.07731),
        "cer_ci95": (0.02011, 0.02688),
        "substitutions": 200,
        "deletions": 60,
        "insertions": 48,
        "reference_words": 4321,
        "reference_characters": 22_222,
    }
    return Rates.model_validate(fields | changes)


BASE_RATES = {"cer": 0.81239, "wer_ci95": (1.2, 1.3), "cer_ci95": (0.8, 0.9)}


def system_result(
    system: str = "adapter", normalized: Rates | None = None, raw: Rates | None = None, **faults: int
) -> SystemResult:
    """Return the result of a system; by default, the raw rates are equal to the normalized ones, without faults."""
    own = rates() if system == "adapter" else rates(1.25167, **BASE_RATES)
    counts = dict.fromkeys(Faults.model_fields, 0) | faults
    return SystemResult(
        system=system,
        normalized=normalized or own,
        raw=raw or normalized or own,
        faults=Faults.model_validate(counts),
        rtfx=40.4 if system == "adapter" else 20.2,
        tokens_per_second=99.9,
    )


def difference(other: str = "base", **changes: Any) -> Difference:
    fields = {"other": other, "wer": -1.18049, "ci95": (-1.2345, -1.1234), "p_value": 0.002, "verdict": "better"}
    return Difference.model_validate(fields | changes)


def result(name: str = "clips", systems: list[SystemResult] | None = None, **changes: Any) -> CorpusResult:
    """Return the result of adapter and base, or of the given systems, on one corpus."""
    systems = systems or [system_result(), system_result("base")]
    fields = {
        "name": name,
        "language": "uz",
        "n": 1234,
        "rejected": 0,
        "audio_seconds": 3456.5,
        "word_share": 1.0,
        "unit": "utterance",
        "units": 1234,
        "merged": 0,
        "split": 0,
        "systems": systems,
        "differences": [difference(system.system) for system in systems[1:]],
        "slices": [],
    }
    return CorpusResult.model_validate(fields | changes)


def system(name: str = "adapter", **changes: Any) -> System:
    fields = {
        "name": name,
        "base": "./quickstart/gemma4",
        "base_sha256": "ab" * 32,
        "adapter": "adapter" if name == "adapter" else None,
        "adapter_sha256": "cd" * 32 if name == "adapter" else None,
        "max_new_tokens": 64,
        "batch_seconds": 60.0,
        "processes": 1,
        "device": "cpu",
        "dtype": "float32",
        "peak_memory_bytes": 2_300_000_000,
    }
    return System.model_validate(fields | changes)


def macro(name: str = "adapter", **changes: Any) -> MacroMean:
    fields = {"system": name, "wer": 0.33333, "cer": 0.11111, "wer_ci95": (0.3, 0.4), "cer_ci95": (0.1, 0.2)}
    return MacroMean.model_validate(fields | changes)


def evaluation(*corpora: CorpusResult, normalizer: str = "raw", **changes: Any) -> EvaluationRecord:
    """Return a record of the systems of the corpora."""
    results = list(corpora) or [result()]
    names = [item.system for item in results[0].systems]
    ours = system_result(normalized=rates(0.10987))
    fields = {
        "systems": [system(name) for name in names],
        "normalizer": normalizer,
        "resamples": 1000,
        "corpora": results,
        "pooled": result(
            "pooled",
            [ours, *results[0].systems[1:]],
            n=sum(item.n for item in results),
            unit="corpus",
            units=len(results),
        ),
        "macro": [macro(name) for name in names],
        "probes": [],
    }
    return EvaluationRecord.model_validate(fields | changes)


def probe(name: str, with_text: int) -> ProbeResult:
    return ProbeResult(system=name, n=12, with_text=with_text, words=3 * with_text)


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


def validated_training(**changes: Any) -> TrainingRecord:
    """Return a record with three validations on 48 clips, of which the second one is best."""
    points = [(0, 3.11, 1.26512, 0.53481), (300, 0.52, 0.02371, 0.00561), (600, 0.43, 0.03125, 0.00672)]
    validation = [
        ValidationPoint(step=step, loss=loss, wer=wer, cer=cer, utterances=48) for step, loss, wer, cer in points
    ]
    pace = Throughput(
        step_seconds=0.2512,
        waiting_share=0.0123,
        audio_seconds=21_600.0,
        audio_hours_per_hour=143.2,
        padding_share=0.0456,
        halved_batches=0,
    )
    return training(**({"validation": validation, "kept_step": 300, "pace": pace} | changes))


def leak(by: str, clips: int, corpus: str = "clips", **changes: Any) -> Leak:
    """Return an overlap of a test corpus with the training data."""
    pair = Pair(
        clip=Clip(split="test", corpus=corpus, id="t-7", text="chiroqni yoq"),
        like=Clip(split="train", corpus="clips", id="l-9", text="Chiroqni yoq!"),
    )
    fields = {
        "corpus": corpus,
        "split": "test",
        "seen": ["train", "validation"],
        "by": by,
        "compared": 160,
        "clips": clips,
        "share": clips / 160,
        "distinct": clips // 2,
        "examples": [pair] * min(clips, 3),
    }
    return Leak.model_validate(fields | changes)


def data(*leaks: Leak) -> DataRecord:
    return DataRecord(
        name="small",
        max_audio_seconds=30.0,
        normalizer="raw",
        duration_edges=[0.0],
        corpora=[],
        missing=[],
        duplicates=[],
        leaks=list(leaks),
    )


def recipe(**sections: dict[str, Any]) -> Recipe:
    """Return the small recipe with changed sections."""
    document = yaml.safe_load(RECIPE) | {
        "eval": {"batch_seconds": 60.0, "max_new_tokens": 64, "probes": False, "normalizer": "raw"}
    }
    for name, changes in sections.items():
        document[name] = document.get(name, {}) | changes
    return Recipe.model_validate(document)


def write_run(
    path: Path,
    recipe: Recipe,
    training_record: TrainingRecord | None = None,
    evaluation_record: EvaluationRecord | None = None,
    data_record: DataRecord | None = None,
) -> RunDirectory:
    run = RunDirectory(path)
    recipe.write(run.recipe)
    (training_record or training()).write(run.training)
    (evaluation_record or evaluation()).write(run.results)
    if data_record:
        data_record.write(run.data)
    return run
