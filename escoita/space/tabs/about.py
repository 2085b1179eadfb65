"""Build the tab that shows what the records of the models say."""

import base64
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from escoita.errors import EscoitaError, RecipeError, RecordError
from escoita.hub.files import adapter_record
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import METRICS, EvaluationRecord, Interval
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.resources import resource
from escoita.run_directory import RunDirectory
from escoita.space.client_limits import limits
from escoita.space.rates import names, sentences, tables
from escoita.space.texts import say as said
from escoita.space.texts import visitor_language
from escoita.space.theme import short_name
from escoita.utils.formatting import duration, percent, thousands


if TYPE_CHECKING:
    from jinja2 import Template

    from escoita.space.demo import Demo


Found = TypeVar("Found")


@dataclass(frozen=True)
class Published:
    """
    The records of an adapter, as far as there are any.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): What was asked for.
        training ([`~escoita.records.training.TrainingRecord`], *optional*): What happened.
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`], *optional*): How well it hears.
        plots (`dict[str, str]`): Address of each plot, by the name of its file, which ends in `.svg`.
        unreadable (`Sequence[str]`): Of each record that is there and cannot be read, why.
    """

    recipe: Recipe | None
    training: TrainingRecord | None
    evaluation: EvaluationRecord | None
    plots: dict[str, str]
    unreadable: Sequence[str]


def read_published(run: RunDirectory | None) -> Published:
    """
    Reads what is there.

    Args:
        run ([`RunDirectory`], *optional*): A run directory, or a repository of an adapter that was
            downloaded, which has the same layout.
    """
    if run is None:
        return Published(None, None, None, {}, [])
    unreadable: list[str] = []

    def read(path: Path, load: Callable[[], Found]) -> Found | None:
        try:
            return load() if path.is_file() else None
        except (RecipeError, RecordError) as error:
            # Where the run lies is nobody's business.
            unreadable.append(str(error).replace(f"{run.path}/", ""))
            return None

    return Published(
        read(run.recipe, run.load_recipe),
        read(run.training, lambda: TrainingRecord.read(run.training)),
        read(run.results, lambda: EvaluationRecord.read(run.results)),
        {path.name: data_address(path.read_bytes()) for path in _drawn(run)},
        unreadable,
    )


def normalizer_of(run: RunDirectory | None) -> str:
    """What the recipe makes texts alike with before edits are counted; `raw` where none was published."""
    recipe = read_published(run).recipe
    return recipe.eval.normalizer if recipe else "raw"


def data_address(plot: bytes) -> str:
    """An SVG as the address of a picture: what a browser shows so neither runs scripts nor fetches anything."""
    return f"data:image/svg+xml;base64,{base64.b64encode(plot).decode()}"


def _drawn(run: RunDirectory) -> Iterator[Path]:
    yield from sorted(run.eval.glob("*.svg"))
    if run.curve.is_file():
        yield run.curve


# Plots that have a name in every language; others are called by their files.
PLOTS = {
    "wer-by-corpus.svg": "about.by_corpus",
    "wer-by-duration.svg": "about.by_duration",
    "wer-distribution.svg": "about.distribution",
    "training.svg": "about.curve",
}


@dataclass(frozen=True)
class Spoken:
    """What an adapter says of itself; no record where it says nothing that can be read."""

    name: str
    record: AdapterRecord | None


@dataclass(frozen=True)
class Plot:
    """A plot with its title, at an address that holds it."""

    title: str
    address: str


def about_tab(demo: "Demo", say: Callable[..., Any]) -> None:
    """
    Lays out the tab; it is filled when the page is opened, and anew whenever the tab is.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        say (`Callable`): Text of a label, by its key.
    """
    import gradio as gr
    from gradio.context import Context

    def show(request: gr.Request) -> str:
        return about(demo, visitor_language(request, demo.settings.languages))

    page = gr.HTML(elem_id="about")
    events = [block.load for block in (Context.root_block,) if block is not None]
    if isinstance(Context.block, gr.Tab):
        events.append(Context.block.select)
    gr.on(events, show, None, page, queue=False, show_progress="hidden", api_visibility="private")


def about(demo: "Demo", language: str) -> str:
    """
    HTML of all that is known.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        language (`str`): Of the page.

    Returns:
        `str`: Escaped; it wants [`CSS`] on the page.
    """
    found, say = read_published(demo.published), partial(said, language=language)
    link = found.recipe.card.license_link if found.recipe else None
    return _template().render(
        language=language,
        say=say,
        unreadable=found.unreadable,
        metrics=list(METRICS),
        names=names(found.evaluation, language) if found.evaluation else {},
        tables=tables(found.evaluation, found.recipe, language) if found.evaluation else [],
        sentences=list(sentences(found.evaluation, found.recipe, language)) if found.evaluation else [],
        other_base=bool(found.evaluation and found.evaluation.main_system.expected_base_sha256),
        measure=_measure(demo),
        plots=[Plot(say(PLOTS[name]) if name in PLOTS else name, place) for name, place in found.plots.items()],
        base=short_name(demo.base),
        adapters=[Spoken(name, _spoken(source)) for name, source in demo.adapters.items()],
        trained=trained(found.training, language) if found.training else "",
        card=found.recipe.card if found.recipe else None,
        license_link=link if link and link.startswith(("https://", "http://")) else None,
        limits=limits(demo.settings, language),
    )


def trained(training: TrainingRecord, language: str) -> str:
    """On what, how long, and until when."""
    used = [corpus for corpus in training.corpora if corpus.split == "train"]
    return said(
        "about.trained",
        language,
        clips=thousands(sum(corpus.utterances for corpus in used)),
        audio=duration(sum(corpus.audio_seconds for corpus in used)),
        steps=thousands(training.steps),
        date=training.finished[:10],
    )


def _spoken(adapter: str) -> AdapterRecord | None:
    try:
        return _record(adapter)
    except EscoitaError:
        return None  # loading it says why


# Of a repository the Hub would be asked whenever the page is opened.
_record = cache(adapter_record)


def _measure(demo: "Demo") -> str:
    """A command; in the place of folders, which are nobody's business, what stands for them."""
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
.about .judged > :not([rowspan]) { font-weight: 650; }
@media (max-width: 480px) {
    .about table { font-size: .8rem; }
    .about .wide th, .about .wide td { padding: .3rem; }
    .about thead small { white-space: normal; }
}
.about figure { margin: .8rem 0; }
.about figcaption { font-size: .9rem; font-weight: 600; }
.about img { display: block; width: 100%; min-width: 34rem; margin: 0; }
.about dt { font-weight: 600; margin-top: .5rem; }
.about dd { margin: 0; }
.about .prompt, .about pre { white-space: pre-wrap; }
.about pre, .about .prompt { font-family: var(--font-mono); font-size: .9rem; }
.about pre { padding: .5rem .7rem; background: var(--background-fill-secondary); border-radius: .3rem; }
"""
