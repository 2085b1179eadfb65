"""What came of a run or of an evaluation, on one screen, from the records."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from escoita.records.evaluation import BASE, CorpusResult, EvaluationRecord, Interval
from escoita.utils.figures import composition, speed
from escoita.utils.markdown import code, line
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.evaluation.verdicts import above_one, insertions_note, reasons, short


REPORT = "report.html"
RAW = "raw WER"
INTERVAL = "95 %"
# Of a verdict: "measurable", "comparable".
LONGEST_WORD = 10
# Hypotheses that are empty, that loop, and that were cut at the token limit.
FAULTS = "empty/loop/cut"
FIGURES = ("N", "WER", "CER", RAW, FAULTS)


def print_summary(path: Path, console: Console | None = None) -> None:
    """
    Prints what each system heard in each corpus, the minutes of training, and where the files are.

    Args:
        path (`Path`): The run directory.
        console (`Console`, *optional*): Where to; standard output unless given.

    Raises:
        RecordError: The run is not trained or not evaluated yet.
    """
    run, console = RunDirectory(path), console or Console()
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    console.print(_table(evaluation, training.name))
    evaluated = {"Results": run.results, "Report": run.eval / REPORT}
    places = _places({"Adapter": run.adapter, **evaluated, "Card": run.card})
    _say([*_trained(training), *_notes(evaluation), *places], console)


def markdown_summary(path: Path) -> str:
    """
    The same in Markdown, as the summary of a CI job shows it; not where the files are, which nobody there can open.

    Args:
        path (`Path`): The run directory.

    Raises:
        RecordError: The run is not trained or not evaluated yet.
    """
    run = RunDirectory(path)
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    rows = [row for result in evaluation.rows for row in _rows(result, evaluation.normalizer)]
    if len(evaluation.corpora) > 1:
        rows += _means(evaluation)
    rules = ["---:" if heading in FIGURES else "---" for heading in _headings(evaluation)]
    cells = [map(line, _headings(evaluation)), rules, *(map(line, row) for row in rows)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    notes = "\n".join(f"- {line(note)}" for note in [*_trained(training), *_notes(evaluation)])
    return f"### {code(training.name)}\n\n{table}\n\n{notes}\n"


def print_evaluation(folder: Path, table: bool = True, console: Console | None = None) -> None:
    """
    Prints what came of an evaluation: what each system heard in each corpus, and where the files are.

    Args:
        folder (`Path`): Of the results.
        table (`bool`, *optional*, defaults to `True`): Rates too; else only where the files are.
        console (`Console`, *optional*): Where to; standard output unless given.

    Raises:
        RecordError: Nothing is evaluated there.
    """
    results, console = folder / "results.json", console or Console()
    evaluation = EvaluationRecord.read(results)
    if table:
        console.print(_table(evaluation))
        _say(_notes(evaluation), console)
    _say(_places({"Results": results, "Report": folder / REPORT}), console)


def _table(evaluation: EvaluationRecord, title: str = "") -> Table:
    table = Table(title=escape(title) or None, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in _headings(evaluation):
        figure = heading in FIGURES
        # A heading of several words takes several lines, so that the table fits into 80 columns.
        shown = heading.replace(" ", "\n").replace("/", "/\n") if figure else heading
        verdict = heading == _headings(evaluation)[-1]
        table.add_column(
            shown,
            justify="right" if figure else "left",
            no_wrap=figure or heading == INTERVAL,
            overflow="fold",
            min_width=LONGEST_WORD if verdict else None,
        )
    for result in evaluation.rows:
        for row in _rows(result, evaluation.normalizer):
            table.add_row(*row)
        table.add_section()
    for row in _means(evaluation) if len(evaluation.corpora) > 1 else ():
        table.add_row(*row)
    return table


def _headings(evaluation: EvaluationRecord) -> tuple[str, ...]:
    raw = [RAW] if evaluation.normalizer != "raw" else []
    return ("corpus", "N", "system", "WER", INTERVAL, "CER", *raw, FAULTS, f"{evaluation.judged.name} is")


def _trained(training: TrainingRecord) -> Iterator[str]:
    """How long it took, how fast it went, and what was heard meanwhile."""
    pace = training.pace
    fast = f", {pace.step_seconds:.3g} s a step, {speed(pace.audio_hours_per_hour)} h of audio an hour" if pace else ""
    yield f"Trained in {training.train_seconds / 60:.1f} minutes, {training.steps} steps{fast}"
    heard = {point.step: point.wer for point in training.validation if point.wer is not None}
    if heard:
        (first, before), (last, after) = list(heard.items())[0], list(heard.items())[-1]
        step = training.kept_step
        kept = f"; kept step {step}, WER {heard[step]:.3f}" if step in heard else ""
        yield f"WER while training {before:.3f} at step {first}, {after:.3f} at step {last}{kept}"


def _notes(evaluation: EvaluationRecord) -> Iterator[str]:
    if len(evaluation.corpora) > 1:
        yield f"Pooled by words: {composition((each.name, each.word_share) for each in evaluation.corpora)}"
    if evaluation.normalizer != "raw":
        yield f"WER and CER of texts normalized by {evaluation.normalizer}; raw WER of the texts as they are"
    yield f"{FAULTS}: clips with an empty hypothesis, with a loop, and with a hypothesis cut at the token limit"
    for result in evaluation.rows:
        for difference in result.differences:
            for reason in reasons(result, difference.other):
                yield f"{result.name}, {evaluation.judged.name} against {difference.other}: {reason}"
    for result, each in above_one(evaluation.rows):
        yield insertions_note(each, result.name)


def _places(files: Mapping[str, Path]) -> Iterator[str]:
    return (f"{what + ':':<9}{file}" for what, file in files.items() if file.exists())


def _say(lines: Iterable[str], console: Console) -> None:
    for said in lines:
        console.print(said, highlight=False, markup=False, soft_wrap=True)


def _rows(result: CorpusResult, normalizer: str) -> Iterator[list[str]]:
    """Yield a row of the base, one of the judged system, and one of each other system."""
    name, n = result.name, str(result.n)
    for heard in sorted(result.systems, key=lambda heard: heard.system != BASE):
        rates = heard.normalized
        raw = [f"{heard.raw.wer:.3f}"] if normalizer != "raw" else []
        faults = f"{heard.faults.empty}/{heard.faults.loop}/{heard.faults.truncated}"
        figures = [f"{rates.wer:.3f}", _interval(rates.wer_ci95), f"{rates.cer:.3f}", *raw, faults]
        yield [name, n, heard.system, *figures, short(result, heard.system)]
        name = n = ""


def _means(evaluation: EvaluationRecord) -> Iterator[list[str]]:
    name = "mean of the corpora"
    for mean in sorted(evaluation.macro, key=lambda mean: mean.system != BASE):
        empty = [""] * (len(_headings(evaluation)) - 6)
        yield [name, "", mean.system, f"{mean.wer:.3f}", _interval(mean.wer_ci95), f"{mean.cer:.3f}", *empty]
        name = ""


def _interval(bounds: Interval) -> str:
    return f"{bounds[0]:.3f}–{bounds[1]:.3f}"
