"""Score stored predictions again, with another normalizer or another number of resamples."""

from pathlib import Path

from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.report.render import report_run, write_report
from escoita.metrics.normalizers import NORMALIZERS
from escoita.records.evaluation import EvaluationRecord, Scoring
from escoita.run_directory import RunDirectory


def rescore_run(path: Path, overrides: list[str] | None = None) -> EvaluationRecord:
    """
    Score the predictions of a run again, and write record and report; no model and no recording is read, except the
    recordings that the report may contain.

    Args:
        path (`Path`): The run directory.
        overrides (`list[str]`, *optional*): The overrides of its recipe, `eval.normalizer` and `eval.resamples`.

    Raises:
        EscoitaError: The run was not evaluated, or its references are hashed, so that only the normalizer of their
            counts can be used.
    """
    run = RunDirectory(path)
    settings = run.load_recipe(overrides).eval
    record = rescored(run.eval, settings.normalizer, settings.resamples)
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


def rescored(folder: Path, normalizer: str | None = None, resamples: int | None = None) -> EvaluationRecord:
    """
    Return the record of stored predictions under other settings, which contains those of the evaluation.

    Args:
        folder (`Path`): The folder of an evaluation, with `results.json`.
        normalizer (`str`, *optional*): The normalizer. The default is that of the record.
        resamples (`int`, *optional*): The number of bootstrap resamples. The default is that of the record.

    Raises:
        RecordError: Record or predictions are missing, cannot be read or do not match.
    """
    before = EvaluationRecord.read(folder / "results.json")
    corpora = before.predicted
    systems = [system.name for system in before.systems]
    first = before.rescored or Scoring(normalizer=before.normalizer, resamples=before.resamples)
    record = score(
        folder,
        normalizer or before.normalizer,
        resamples or before.resamples,
        corpora,
        systems,
        primary=before.primary,
    )
    same = (record.normalizer, record.resamples) == (first.normalizer, first.resamples)
    return record.model_copy(update={"rescored": None if same else first})
