"""What came of a run, on one screen, from its records."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from escoita.records import CorpusResult, EvaluationRecord, TrainingRecord
from escoita.rundir import RunDirectory


def print_summary(path: Path) -> None:
    """
    Prints base beside adapter for each corpus, the minutes of training, and where the files are.

    Raises:
        RecordError: The run is not trained or not evaluated yet.
    """
    run = RunDirectory(path)
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    table = Table(title=training.name)
    for column, justify in (("corpus", "left"), ("N", "right"), ("", "left"), ("WER", "right"), ("CER", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for result in evaluation.rows:
        for row in _rows(result):
            table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(f"Trained in {training.train_seconds / 60:.1f} minutes, {training.steps} steps", highlight=False)
    for what, where in (("Adapter", run.adapter), ("Results", run.results), ("Card", run.card)):
        if where.exists():
            console.print(f"{what + ':':<9}{where}", highlight=False, markup=False, soft_wrap=True)


def _rows(result: CorpusResult) -> list[list[str]]:
    low, high = result.wer_ci95
    adapter = ["adapter", f"{result.wer:.3f} (95 %: {low:.3f} to {high:.3f})", f"{result.cer:.3f}"]
    if result.base_wer is None or result.base_cer is None:
        return [[result.name, str(result.n), *adapter]]
    base = ["base", f"{result.base_wer:.3f}", f"{result.base_cer:.3f}"]
    return [[result.name, str(result.n), *base], ["", "", *adapter]]
