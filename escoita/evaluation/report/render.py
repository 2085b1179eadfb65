"""
Write the report of an evaluation as one HTML file that needs no server, no network and no other file.

    python eval/report.py --run runs/quickstart-uzbek
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from escoita.data.readers import read_corpus
from escoita.data.rows import Utterances
from escoita.errors import CorpusError
from escoita.evaluation import presentation
from escoita.evaluation.counts import write_counts
from escoita.evaluation.interval_texts import notes_on_speakers
from escoita.evaluation.report.data import confusions, read_scored_predictions
from escoita.evaluation.report.elements import (
    confusion_tables,
    plots,
    share,
    slice_tables,
    with_players,
    worst_utterances,
)
from escoita.evaluation.rows import retention_rows, rows
from escoita.evaluation.verdict_texts import notes_on_insertions, significance, verdicts
from escoita.metrics.primary import metrics_by_rank, token_name
from escoita.records.evaluation import METRICS, CorpusResult, EvaluationRecord
from escoita.resources import resource
from escoita.run_directory import RunDirectory
from escoita.utils import formatting as figures
from escoita.utils.files import write_atomically
from escoita.utils.languages import name_and_tag, text_direction, without_spaces
from escoita.utils.processes import say


# Number of worst utterances in the report.
WORST = 20


def report_run(path: Path) -> Path:
    """
    Write the report of a run again, from its records, its predictions, and the recordings that may be published. Also
    write the counts of corpora whose references may not be published, in case the recipe changed.

    Args:
        path (`Path`): The run directory.

    Returns:
        `Path`: The report.

    Raises:
        EscoitaError: The run was not evaluated, or its predictions are not those of its record.
    """
    run = RunDirectory(path)
    recipe = run.load_recipe()
    clips: dict[str, Utterances] = {}
    playable = {corpus.name for corpus in recipe.corpora.test if corpus.publish_audio}
    for corpus in recipe.corpora.test:
        if corpus.name in playable:
            try:
                clips[corpus.name], _ = read_corpus(corpus, recipe.language)
            except CorpusError as error:
                say(f"The report has no recordings of {corpus.name}: {error}")
    record = EvaluationRecord.read(run.results)
    page = write_report(run.eval, record, clips, playable, recipe.card.title)
    evaluated = {result.name for result in [*record.corpora, *record.retention]}
    corpora = [corpus for corpus in recipe.evaluated_corpora if corpus.name in evaluated]
    write_counts(run.eval, corpora, record.normalizer, record.retention_normalizers)
    return page


def write_report(
    folder: Path,
    record: EvaluationRecord,
    clips: Mapping[str, Utterances] | None = None,
    playable: Collection[str] = (),
    title: str | None = None,
) -> Path:
    """
    Write `report.html` and its plots, `wer-by-corpus.svg`, `wer-by-duration.svg` and `wer-distribution.svg`.

    Args:
        folder (`Path`): Folder with the predictions that the record was computed from, and for the files.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        clips (`Mapping[str, Utterances]`, *optional*): Rows of each corpus, for recordings of the worst utterances.
        playable (`Collection[str]`, *optional*): Corpora whose license permits publishing clips.
        title (`str`, *optional*): Title of the report. Defaults to the adapter and its base, or to the model.

    Returns:
        `Path`: The report. The same files give the same bytes.

    Raises:
        RecordError: The predictions are not those of the record.
    """
    predictions = read_scored_predictions(folder, record)
    main_system = predictions[record.main_system.name]
    drawn = plots(record, predictions)
    for plot in drawn:
        write_atomically(folder / f"{plot.name}.svg", plot.svg)
    for outdated in set(folder.glob("wer-*.svg")) - {folder / f"{plot.name}.svg" for plot in drawn}:
        outdated.unlink()
    worst, missing_recordings = with_players(worst_utterances(main_system, WORST), clips or {}, playable)
    references, hypotheses = (
        [text for part in main_system for text in getattr(part, name)] for name in ("references", "hypotheses")
    )
    template = _environment().get_template("report.html.jinja")
    page = template.render(
        title=title or presentation.model_of(record.main_system),
        record=record,
        main_system=record.main_system,
        metrics=metrics_by_rank(record.primary),
        primary=record.primary,
        unit=token_name(record.primary),
        without_spaces=without_spaces(record.pooled.language),
        rows=rows(record),
        retention=retention_rows(record.retention),
        verdicts=verdicts(record),
        notes=[
            *filter(None, [presentation.rescored_text(record)]),
            *notes_on_speakers(record, presentation.titles_of(record)),
            *notes_on_insertions(record),
        ],
        composition=figures.composition((corpus.name, corpus.share) for corpus in record.corpora),
        compared=bool(record.pooled.differences),
        width=4 + len(METRICS) * (1 + record.normalizes) + 3 * bool(record.pooled.differences),
        faults=presentation.FAULTS,
        plots=drawn,
        slices=slice_tables(record, {part.corpus: part.rows["speaker"].to_pylist() for part in main_system}),
        worst=worst,
        missing_recordings=missing_recordings,
        confusions=confusion_tables(confusions(references, hypotheses)),
    )
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def speakers(result: CorpusResult) -> str:
    """Return the number of speakers for a list after the number of clips; empty if it is unknown."""
    if result.speakers is None:
        return ""
    return f", {figures.thousands(result.speakers)} {'speaker' if result.speakers == 1 else 'speakers'}"


def digest(sha256: str) -> str:
    """Return the first characters of a digest."""
    return sha256[:12]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(resource("eval/templates")),
        undefined=StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (
        figures.thousands,
        figures.percent,
        figures.points,
        speakers,
        figures.probability,
        figures.speed,
        share,
        duration,
        digest,
    )
    environment.filters |= {function.__name__: function for function in functions}
    environment.filters |= {"name_and_tag": name_and_tag, "text_direction": text_direction}
    environment.filters["name"] = presentation.name_of
    environment.filters["decoding"] = presentation.decoding_text
    environment.filters["conditions"] = presentation.conditions_text
    environment.filters["significance"] = significance
    return environment
