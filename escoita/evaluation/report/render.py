"""
Shows an evaluation on one page that opens anywhere: no server, no network, nothing beside the file.

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
from escoita.evaluation.report.data import confusions, read_scored_predictions
from escoita.evaluation.report.exhibits import (
    confusion_tables,
    plots,
    share,
    slice_tables,
    with_players,
    worst_utterances,
)
from escoita.records.evaluation import METRICS, EvaluationRecord
from escoita.resources import resource
from escoita.run_directory import RunDirectory
from escoita.utils import formatting as figures
from escoita.utils.files import write_atomically
from escoita.utils.processes import say


# As many as a person reads.
WORST = 20


def report_run(path: Path) -> Path:
    """
    Writes the report of a run anew, from its records, its predictions, and the recordings that may be shipped; and the
    counts of corpora whose references may not be published, where the recipe says so only now.

    Args:
        path (`Path`): The run directory.

    Returns:
        `Path`: The page.

    Raises:
        EscoitaError: It is not evaluated yet, or its predictions are not those of its record.
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
                say(f"No recordings in the report: {error}")
    record = EvaluationRecord.read(run.results)
    page = write_report(run.eval, record, clips, playable, recipe.card.title)
    tested = {result.name for result in record.corpora}
    write_counts(run.eval, [corpus for corpus in recipe.corpora.test if corpus.name in tested], record.normalizer)
    return page


def write_report(
    folder: Path,
    record: EvaluationRecord,
    clips: Mapping[str, Utterances] | None = None,
    playable: Collection[str] = (),
    title: str | None = None,
) -> Path:
    """
    Writes `report.html` and its plots, `wer-by-corpus.svg`, `wer-by-duration.svg` and `wer-distribution.svg`.

    Args:
        folder (`Path`): Holds the predictions that the record was made from; the files go there.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): What they came to.
        clips (`Mapping[str, Utterances]`, *optional*): Rows of each corpus, for players beside the worst utterances.
        playable (`Collection[str]`, *optional*): Corpora whose licence lets clips be shipped; none unless given.
        title (`str`, *optional*): Of the page; the adapter and its base, or the model that is judged, unless given.

    Returns:
        `Path`: The page. The same bytes whenever it is made from the same files.

    Raises:
        RecordError: The predictions are not those of the record.
    """
    heard = read_scored_predictions(folder, record)
    main_system = heard[record.main_system.name]
    drawn = plots(record, heard)
    for plot in drawn:
        write_atomically(folder / f"{plot.name}.svg", plot.svg)
    for left_over in set(folder.glob("wer-*.svg")) - {folder / f"{plot.name}.svg" for plot in drawn}:
        left_over.unlink()
    worst, silent = with_players(worst_utterances(main_system, WORST), clips or {}, playable)
    references, hypotheses = (
        [text for part in main_system for text in getattr(part, name)] for name in ("references", "hypotheses")
    )
    template = _environment().get_template("report.html.jinja")
    page = template.render(
        title=title or presentation.model_of(record.main_system),
        record=record,
        main_system=record.main_system,
        metrics=list(METRICS),
        rows=presentation.rows(record),
        verdicts=presentation.verdicts(record),
        notes=presentation.notes_on_insertions(record),
        composition=figures.composition((corpus.name, corpus.word_share) for corpus in record.corpora),
        compared=bool(record.pooled.differences),
        width=4 + len(METRICS) * (1 + (record.normalizer != "raw")) + 3 * bool(record.pooled.differences),
        faults=presentation.FAULTS,
        plots=drawn,
        slices=slice_tables(record),
        worst=worst,
        silent=silent,
        confusions=confusion_tables(confusions(references, hypotheses)),
    )
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def duration(seconds: float) -> str:
    """Return a length of time in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def digest(sha256: str) -> str:
    """Return the beginning of a digest, enough to tell two apart."""
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
        figures.interval,
        figures.points,
        figures.points_interval,
        figures.probability,
        figures.speed,
        share,
        duration,
        digest,
    )
    environment.filters |= {function.__name__: function for function in functions}
    environment.filters["name"] = presentation.name_of
    return environment
