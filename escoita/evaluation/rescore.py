"""Score stored predictions again, with another normalizer, number of resamples, or primary metric."""

from collections.abc import Mapping
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.counts import warn_of_characters, warn_of_marks
from escoita.evaluation.prediction_folder import read_folder
from escoita.evaluation.report.render import report_run, write_report
from escoita.metrics.normalizers import NORMALIZERS
from escoita.records.evaluation import PROBES, EvaluationRecord, Metric, Scoring
from escoita.run_directory import RunDirectory


# The keys of a recipe that scoring reads and options can override; it also reads the normalizers of eval.retention.
SETTINGS = ("eval.normalizer", "eval.resamples", "eval.primary")


def rescore_run(path: Path, overrides: list[str] | None = None) -> EvaluationRecord:
    """
    Score the predictions of a run again, and write record and report; no model and no recording is read, except the
    recordings that the report may contain.

    Args:
        path (`Path`): The run directory.
        overrides (`list[str]`, *optional*): The overrides of its recipe, of keys in [`SETTINGS`].

    Raises:
        EscoitaError: The run was not evaluated, its references are hashed, so that only the normalizer of their counts
            can be used, or scoring does not read an override.
    """
    for override in overrides or []:
        if override.partition("=")[0] not in SETTINGS:
            hint = f"set keys of {', '.join(SETTINGS)}, or leave out --rescore"
            raise EscoitaError("scoring does not read this key", key="--set", value=override, hint=hint)
    run = RunDirectory(path)
    recipe = run.load_recipe(overrides)
    retention = {corpus.name: corpus.normalizer for corpus in recipe.eval.retention}
    record = rescored(run.eval, recipe.eval.normalizer, recipe.eval.resamples, recipe.primary, retention)
    record.write(run.results)
    report_run(path)  # with the counts of corpora whose references may not be published
    return record


def rescore_folder(folder: Path, normalizer: str | None = None) -> EvaluationRecord:
    """
    Score the predictions in the folder of an evaluation again, and write record and report.

    Args:
        folder (`Path`): The folder of an evaluation, with `results.json`.
        normalizer (`str`, *optional*): The normalizer. The default is that of the record.

    Raises:
        EscoitaError: The folder contains no results, or the normalizer is unknown.
    """
    if normalizer is not None and normalizer not in NORMALIZERS:
        hint = f"use one of {', '.join(NORMALIZERS)}"
        raise EscoitaError("unknown normalizer", key="--normalizer", value=normalizer, hint=hint)
    record = rescored(folder, normalizer)
    record.write(folder / "results.json")
    write_report(folder, record)
    return record


def rescored(
    folder: Path,
    normalizer: str | None = None,
    resamples: int | None = None,
    primary: Metric | None = None,
    retention_normalizers: Mapping[str, str] | None = None,
) -> EvaluationRecord:
    """
    Return the record of stored predictions under other settings, which contains those of the evaluation.

    Args:
        folder (`Path`): The folder of an evaluation, with `results.json`.
        normalizer (`str`, *optional*): The normalizer. The default is that of the record.
        resamples (`int`, *optional*): The number of bootstrap resamples. The default is that of the record.
        primary (`str`, *optional*): The metric of differences and verdicts. The default is that of the record.
        retention_normalizers (`Mapping[str, str]`, *optional*): The normalizers of test corpora of other languages, by
            name. The default is those of the record.

    Raises:
        RecordError: Record or predictions are missing, cannot be read or do not match.
    """
    before = EvaluationRecord.read(folder / "results.json")
    corpora = before.predicted
    systems = [system.name for system in before.systems]
    first = before.rescored or _settings_of(before)
    record = score(
        folder,
        normalizer or before.normalizer,
        resamples or before.resamples,
        corpora,
        systems,
        primary=primary or before.primary,
        retention_normalizers=before.retention_normalizers | dict(retention_normalizers or {}),
    )
    references = {
        corpus.name: corpus.clips["reference"].to_pylist()
        for corpus in read_folder(folder, corpora, systems)[1]
        if corpus.counts is None and corpus.name != PROBES
    }
    for name, texts in references.items():
        if record.retention_normalizers.get(name, record.normalizer) == "basic":
            warn_of_marks(name, texts)
    warn_of_characters(record, references)
    return record.model_copy(update={"rescored": None if _settings_of(record) == first else first})


def _settings_of(record: EvaluationRecord) -> Scoring:
    return Scoring(normalizer=record.normalizer, resamples=record.resamples, primary=record.primary)
