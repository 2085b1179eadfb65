"""Print the results of a run as tables in a terminal, as plain text or as Markdown."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from escoita.evaluation.presentation import decodings, rescored_text, titles_of
from escoita.evaluation.rows import Row, rows
from escoita.evaluation.verdict_texts import notes, retention_notes
from escoita.metrics.primary import metric_name, metrics_by_rank
from escoita.records.evaluation import METRICS, EvaluationRecord, Interval
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import code, composition, line, speed, visible


REPORT = "report.html"
INTERVAL = "95 %"
# The length of the longest word of a verdict, "measurable" or "comparable".
LONGEST_WORD = 10
# The number of speakers.
SPEAKERS = "spk"
SYSTEM = "system"
# The column of systems takes at most so many characters if others need the width.
LONGEST_SYSTEM = 16
# Hypotheses that are empty, that loop, and that were truncated at the token limit.
FAULTS = "empty/loop/cut"
# The columns of figures.
FIGURES = ("N", SPEAKERS, *(name for metric in METRICS for name in (metric.upper(), f"raw {metric.upper()}")), FAULTS)


def print_summary(path: Path, console: Console | None = None) -> None:
    """
    Print the error rates of each system on each corpus, the training time, and the paths of the files.

    Args:
        path (`Path`): The run directory.
        console (`Console`, *optional*): The console; defaults to standard output.

    Raises:
        RecordError: The run is not trained or not evaluated.
    """
    run, console = RunDirectory(path), console or Console()
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    _print_lines([training.name], console)
    _print_rates(evaluation, console)
    evaluated = {"Results": run.results, "Report": run.eval / REPORT}
    paths = _paths({"Adapter": run.adapter, **evaluated, "Card": run.card})
    _print_lines([*_trained(training), *_notes(evaluation), *paths], console)


def markdown_summary(path: Path) -> str:
    """
    Return the same as Markdown, for the summary of a CI job, without the paths.

    Args:
        path (`Path`): The run directory.

    Raises:
        RecordError: The run is not trained or not evaluated.
    """
    run = RunDirectory(path)
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    headings, groups = _filled(evaluation)
    rules = ["---:" if heading in FIGURES else "---" for heading in headings]
    cells = [map(line, headings), rules, *(map(line, row) for group in groups for row in group)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    notes = "\n".join(f"- {line(visible(note))}" for note in [*_trained(training), *_notes(evaluation)])
    return f"### {code(training.name)}\n\n{table}\n\n{notes}\n"


def print_evaluation(folder: Path, console: Console | None = None) -> None:
    """
    Print the error rates of each system on each corpus, and the paths of the files.

    Args:
        folder (`Path`): The folder of the results.
        console (`Console`, *optional*): The console; defaults to standard output.

    Raises:
        RecordError: The folder holds no results.
    """
    results, console = folder / "results.json", console or Console()
    evaluation = EvaluationRecord.read(results)
    _print_rates(evaluation, console)
    _print_lines(_notes(evaluation), console)
    _print_lines(_paths({"Results": results, "Report": folder / REPORT}), console)


def _print_rates(evaluation: EvaluationRecord, console: Console) -> None:
    """Print the rates of each corpus under its name, in columns that fit into 80 characters."""
    headings, groups = _filled(evaluation)
    first, verdict = headings.index(SYSTEM), _headings(evaluation)[-1]
    # The figures of all corpora have the same widths, so that the tables are aligned.
    widths = [max(len(cells[i]) for group in groups for cells in group) for i in range(len(headings))]
    for number, (row, group) in enumerate(zip(_rows(evaluation), groups, strict=True)):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_header=number == 0)
        for heading, width in list(zip(headings, widths, strict=True))[first:]:
            figure = heading in FIGURES
            # A heading of several words has several lines.
            shown = heading.replace(" ", "\n").replace("/", "/\n") if figure else heading
            least = max(min(width, LONGEST_SYSTEM), *map(len, shown.split("\n")))
            table.add_column(
                shown,
                justify="right" if figure else "left",
                no_wrap=figure or heading == INTERVAL,
                overflow="fold",
                min_width=LONGEST_WORD if heading == verdict else least,
            )
        for cells in group:
            table.add_row(*cells[first:])
        counts = ((row.clips, "clip"), (row.speakers, "speaker"))
        size = ", ".join(f"{count:,} {noun}{'s' * (count != 1)}" for count, noun in counts if count is not None)
        _print_lines([f"{row.title}{': ' if size else ''}{size}"], console)
        console.print(table)


def _filled(evaluation: EvaluationRecord) -> tuple[list[str], list[list[list[str]]]]:
    """Return the headings, and the rows of each corpus, without empty columns, such as the verdict on one system."""
    headings = _headings(evaluation)
    groups = [list(_cells(row, evaluation)) for row in _rows(evaluation)]
    kept = [index for index in range(len(headings)) if any(cells[index] for group in groups for cells in group)]
    return [headings[i] for i in kept], [[[cells[i] for i in kept] for cells in group] for group in groups]


def _headings(evaluation: EvaluationRecord) -> tuple[str, ...]:
    first, *others = _names(evaluation)  # the interval follows the first rate
    raw = [f"raw {first}"] if evaluation.normalizes else []
    rates = (first, INTERVAL, *others, *raw)
    return ("corpus", "N", SPEAKERS, SYSTEM, *rates, FAULTS, f"{evaluation.main_system.name} is")


def _names(evaluation: EvaluationRecord) -> list[str]:
    """Return the names of the rates, the primary one first."""
    return [metric_name(metric) for metric in metrics_by_rank(evaluation.primary)]


def _trained(training: TrainingRecord) -> Iterator[str]:
    """Yield lines with training time, throughput and the validation rate."""
    throughput = training.pace
    rates = ""
    if throughput:
        rates = (
            f", {throughput.step_seconds:.3g} s per step, {speed(throughput.audio_hours_per_hour)} h of audio per hour"
        )
    yield f"Trained in {training.train_seconds / 60:.1f} minutes, {training.steps} steps{rates}"
    found = {point.step: getattr(point, training.primary) for point in training.validation if point.wer is not None}
    if found:
        (first, before), (last, after) = list(found.items())[0], list(found.items())[-1]
        step, name = training.kept_step, metric_name(training.primary)
        best = f"; best adapter: step {step}, {name} {found[step]:.3f}" if step in found else ""
        yield f"Validation {name} {before:.3f} at step {first}, {after:.3f} at step {last}{best}"


def _notes(evaluation: EvaluationRecord) -> Iterator[str]:
    if len(evaluation.corpora) > 1:
        shares = composition((each.name, each.share) for each in evaluation.corpora)
        yield f"Pooled by {METRICS[evaluation.primary]}: {shares}"
    if evaluation.normalizes:
        names = _names(evaluation)
        texts = f"texts normalized with {evaluation.normalizer}; raw {names[0]} without normalization"
        yield f"{' and '.join(names)} of {texts}"
    if text := rescored_text(evaluation):
        yield text
    yield f"Decoding: {decodings(evaluation, str)}"
    yield f"{FAULTS}: clips with an empty hypothesis, with a loop, and with a hypothesis truncated at the token limit"
    yield from _over_speakers(evaluation)
    yield from retention_notes(evaluation.retention)
    yield from notes(evaluation)


def _over_speakers(evaluation: EvaluationRecord) -> Iterator[str]:
    """Yield the intervals over speakers of each corpus with few of them."""
    metric = evaluation.primary
    for result in evaluation.rows:
        bounds = {each.system: each.normalized.speaker_ci95(metric) for each in result.systems}
        known = ", ".join(f"{name} {_interval(each)}" for name, each in bounds.items() if each)
        if known:
            yield f"{result.name}, 95 % interval of the {metric_name(metric)} over speakers: {known}"


def _paths(files: Mapping[str, Path]) -> Iterator[str]:
    return (f"{what + ':':<9}{file}" for what, file in files.items() if file.exists())


def _print_lines(lines: Iterable[str], console: Console) -> None:
    for text in lines:
        console.print(visible(text), highlight=False, markup=False, soft_wrap=True)


def _rows(evaluation: EvaluationRecord) -> list[Row]:
    """Return the rows with short titles, which fit into 80 columns."""
    return rows(evaluation, titles_of(evaluation, pooled=evaluation.pooled.name), mean="mean of the corpora")


def _cells(row: Row, evaluation: EvaluationRecord) -> Iterator[list[str]]:
    """Yield the cells of the base, of the adapter, and of each other system."""
    title, clips = row.title, "" if row.clips is None else str(row.clips)
    speakers = "" if row.speakers is None else str(row.speakers)
    primary = evaluation.primary
    for each in row.base_first:
        first, *others = (f"{each.rates.rate(metric):.3f}" for metric in metrics_by_rank(primary))
        raw = [f"{each.raw.rate(primary):.3f}" if each.raw else ""] if evaluation.normalizes else []
        faults = f"{each.faults.empty}/{each.faults.loop}/{each.faults.truncated}" if each.faults else ""
        bounds = _interval(each.rates.ci95(primary))
        yield [title, clips, speakers, each.system, first, bounds, *others, *raw, faults, each.verdict]
        title = clips = speakers = ""


def _interval(bounds: Interval) -> str:
    return f"{bounds[0]:.3f}–{bounds[1]:.3f}"
