"""Build the tab that shows the records of the models."""

import base64
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from escoita.errors import EscoitaError, RecipeError, RecordError
from escoita.hub.files import adapter_record
from escoita.metrics.primary import metric_name, metrics_by_rank
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import METRICS, EvaluationRecord, Interval
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.resources import resource
from escoita.run_directory import RunDirectory
from escoita.space.client_limits import limits
from escoita.space.rates import names, sentences, tables
from escoita.space.texts import translate, visitor_language
from escoita.space.theme import short_name
from escoita.utils.formatting import duration, percent, thousands
from escoita.utils.languages import language_name


if TYPE_CHECKING:
    from jinja2 import Template

    from escoita.space.demo import Demo


Found = TypeVar("Found")


@dataclass(frozen=True)
class Published:
    """
    Hold the published records of an adapter.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): The recipe.
        training ([`~escoita.records.training.TrainingRecord`], *optional*): The record of the training.
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`], *optional*): The record of the evaluation.
        plots (`dict[str, str]`): The data URL of each plot, by its file name (`*.svg`).
        unreadable (`Sequence[str]`): The errors of records that cannot be read.
    """

    recipe: Recipe | None
    training: TrainingRecord | None
    evaluation: EvaluationRecord | None
    plots: dict[str, str]
    unreadable: Sequence[str]


def read_published(run: RunDirectory | None) -> Published:
    """
    Read the existing records.

    Args:
        run ([`RunDirectory`], *optional*): A run directory, or a downloaded repository of an adapter, which has the
            same layout.
    """
    if run is None:
        return Published(None, None, None, {}, [])
    unreadable: list[str] = []

    def read(path: Path, load: Callable[[], Found]) -> Found | None:
        try:
            return load() if path.is_file() else None
        except (RecipeError, RecordError) as error:
            # The location of the run is not shown.
            unreadable.append(str(error).replace(f"{run.path}/", ""))
            return None

    return Published(
        read(run.recipe, run.load_recipe),
        read(run.training, lambda: TrainingRecord.read(run.training)),
        read(run.results, lambda: EvaluationRecord.read(run.results)),
        {path.name: data_url(path.read_bytes()) for path in _plots(run)},
        unreadable,
    )


def normalizer_of(run: RunDirectory | None) -> str:
    """Return the text normalizer of the published recipe; `raw` without a recipe."""
    recipe = read_published(run).recipe
    return recipe.eval.normalizer if recipe else "raw"


def data_url(plot: bytes) -> str:
    """Return an SVG as the data URL of an image, in which a browser runs no scripts and downloads nothing."""
    return f"data:image/svg+xml;base64,{base64.b64encode(plot).decode()}"


def _plots(run: RunDirectory) -> Iterator[Path]:
    yield from sorted(run.eval.glob("*.svg"))
    if run.curve.is_file():
        yield run.curve


# Plots that have a title in every language; the title of others is the file name.
PLOTS = {
    "wer-by-corpus.svg": "about.by_corpus",
    "wer-by-duration.svg": "about.by_duration",
    "wer-distribution.svg": "about.distribution",
    "training.svg": "about.curve",
}


@dataclass(frozen=True)
class Adapter:
    """
    Hold an adapter.

    Args:
        name (`str`): The name of the adapter.
        record ([`~escoita.records.training.AdapterRecord`], *optional*): The record, if it can be read.
    """

    name: str
    record: AdapterRecord | None


@dataclass(frozen=True)
class Plot:
    """
    Hold a plot.

    Args:
        title (`str`): The title.
        url (`str`): The data URL.
    """

    title: str
    url: str


def about_tab(demo: "Demo", label: Callable[..., Any]) -> None:
    """
    Build the tab, whose initial value [`~escoita.space.first_paint.initial_values`] gives. The records are read again
    when the tab is selected.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        label (`Callable`): The function that returns a text by its key.
    """
    import gradio as gr
    from gradio.context import Context

    def show(request: gr.Request) -> str:
        return about(demo, visitor_language(request, demo.settings.languages))

    page = gr.HTML(elem_id="about")
    if isinstance(Context.block, gr.Tab):
        Context.block.select(show, None, page, queue=False, show_progress="hidden", api_visibility="private")


def about(demo: "Demo", language: str, plots: bool = True) -> str:
    """
    Return the HTML of the tab.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        language (`str`): The language of the page.
        plots (`bool`, *optional*, defaults to `True`): Whether to show the plots, which are large.

    Returns:
        `str`: Escaped HTML; the page needs [`CSS`].
    """
    records, text = read_published(demo.published), partial(translate, language=language)
    evaluation, recipe = records.evaluation, records.recipe
    link = recipe.card.license_link if recipe else None
    metric = metric_name(evaluation.primary if evaluation else "wer")
    return _template().render(
        language=language,
        text=text,
        unreadable=records.unreadable,
        metrics=metrics_by_rank(evaluation.primary) if evaluation else list(METRICS),
        language_name=partial(language_name, language=language),
        names=names(evaluation, language) if evaluation else {},
        tables=tables(evaluation, recipe, language) if evaluation else [],
        sentences=list(sentences(evaluation, recipe, language)) if evaluation else [],
        other_base=bool(evaluation and evaluation.main_system.expected_base_sha256),
        command=_evaluation_command(demo),
        plots=[
            Plot(text(PLOTS[name], metric=metric) if name in PLOTS else name, url)
            for name, url in records.plots.items()
            if plots
        ],
        base=short_name(demo.base),
        adapters=[Adapter(name, _record_of(source)) for name, source in demo.adapters.items()],
        training=training_summary(records.training, language) if records.training else "",
        card=recipe.card if recipe else None,
        license_link=link if link and link.startswith(("https://", "http://")) else None,
        limits=limits(demo.settings, language),
    )


def training_summary(training: TrainingRecord, language: str) -> str:
    """Return the clips, the steps and the date of a training in words."""
    used = [corpus for corpus in training.corpora if corpus.split == "train"]
    return translate(
        "about.trained",
        language,
        clips=thousands(sum(corpus.utterances for corpus in used)),
        audio=duration(sum(corpus.audio_seconds for corpus in used)),
        steps=thousands(training.steps),
        date=training.finished[:10],
    )


def _record_of(adapter: str) -> AdapterRecord | None:
    try:
        return cached_record(adapter)
    except EscoitaError:
        return None  # loading the adapter reports the error


# Without the cache, each visit of the page would send a request to the Hub.
cached_record = cache(adapter_record)


def _evaluation_command(demo: "Demo") -> str:
    """Return the command that evaluates the adapter, without the locations of folders."""
    adapter = short_name(next(iter(demo.adapters.values()), "ADAPTER"))
    return f"escoita eval --base {shlex.quote(short_name(demo.base))} --adapter {shlex.quote(adapter)}" + (
        " --corpus MANIFEST --out DIR"
    )


def _span(bounds: Interval) -> str:
    return f"{100 * bounds[0]:.2f}–{100 * bounds[1]:.2f} %"


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(resource("space/templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "thousands": thousands, "span": _span}
    return environment.get_template("about.html.jinja")


CSS = """
.about { overflow-wrap: anywhere; }
.about h2 { font-size: 1.15rem; font-weight: 650; margin: 1.6rem 0 .5rem; }
.about h2:first-child { margin-top: .4rem; }
.about p, .about ul, .about dl { margin: .4rem 0; }
.about ul { list-style: disc; padding-inline-start: 1.2rem; }
.about li { margin: .2rem 0; }
.about .notice { border-inline-start: 3px solid currentColor; padding-inline-start: .6rem; }
.about .wide { overflow-x: auto; }
.about table { border-collapse: collapse; font-size: .9rem; width: 100%; margin: .6rem 0; }
.about caption { caption-side: top; text-align: start; font-weight: 600; padding: .3rem 0; }
.about .wide th, .about .wide td { border: 0; text-align: start; vertical-align: top; padding: .35rem .6rem; }
.about .wide th, .about .wide td { overflow-wrap: normal; }
.about thead, .about tbody { border-bottom: 1px solid var(--body-text-color-subdued); }
.about tbody th { font-weight: 400; }
.about small { display: block; font-weight: 400; color: var(--body-text-color-subdued); }
.about .wide .figure { text-align: end; white-space: nowrap; font-variant-numeric: tabular-nums; }
.about .main-system > :not([rowspan]) { font-weight: 650; }
@media (max-width: 480px) {
    .about table { font-size: .8rem; }
    .about .wide th, .about .wide td { padding: .3rem; }
    .about thead small, .about .figure .speakers { white-space: normal; }
}
.about figure { margin: .8rem 0; }
.about figcaption { font-size: .9rem; font-weight: 600; }
.about img { display: block; width: 100%; margin: 0; }
.about dt { font-weight: 600; margin-top: .5rem; }
.about dd { margin: 0; }
.about .prompt, .about pre { white-space: pre-wrap; }
.about pre, .about .prompt { font-family: var(--font-mono); font-size: .9rem; }
.about pre { padding: .5rem .7rem; background: var(--background-fill-secondary); border-radius: .3rem; }
"""
