"""Build the tab in which two models transcribe the same recording."""

import html
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from escoita.inference.fairness import Client
from escoita.inference.streaming import Partial
from escoita.space.differences import Comparison, compare, marked, too_long
from escoita.space.handlers import listen, messages
from escoita.space.status import NOTES
from escoita.space.tabs.about import normalizer_of
from escoita.space.texts import say as said
from escoita.space.texts import visitor_language
from escoita.utils.formatting import percent


if TYPE_CHECKING:
    from escoita.space.demo import Demo


# What programs call the base alone.
BASE = "base"


@dataclass(frozen=True)
class Both:
    """
    What two models have heard so far.

    Args:
        names (`tuple[str, str]`): `base`, or the name of an adapter.
        partials (`tuple[Partial | None, Partial | None]`): The first is asked first; none before it is.
    """

    names: tuple[str, str]
    partials: tuple[Partial | None, Partial | None] = (None, None)

    @property
    def texts(self) -> tuple[str, str]:
        """What each has heard so far."""
        first, second = (heard.text if heard else "" for heard in self.partials)
        return first, second


def both(demo: "Demo", recording: str | None, names: tuple[str, str], client: Client | None = None) -> Iterator[Both]:
    """
    Hears a recording with two models, one after the other.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        recording (`str`, *optional*): As the visitor sent it.
        names (`tuple[str, str]`): `base`, or the name of an adapter. The base is told the prompt of the other.
        client ([`~escoita.inference.fairness.Client`], *optional*): Who asks.

    Raises:
        EscoitaError: See [`~escoita.space.handlers.listen`].
    """
    started, first = time.monotonic(), None
    for place, name in enumerate(names):
        other = names[1 - place]
        adapter, beside = (None, None if other == BASE else other) if name == BASE else (name, None)
        left = demo.settings.max_seconds - (time.monotonic() - started)
        for heard in listen(demo, recording, adapter, beside, left, client):
            yield Both(names, (heard, None) if place == 0 else (first, heard))
        first = heard


def answered(heard: Both, reference: str, normalizer: str) -> dict[str, Any]:
    """
    What programs are told.

    Args:
        heard ([`Both`]): So far.
        reference (`str`): What was said; may be empty.
        normalizer (`str`): What makes texts alike before edits are counted.

    Returns:
        `dict`: `done`; and `models`, for each its `name`, its `text`, and where there is a reference `wer` and `cer`,
        fractions, under `normalizer`.
    """
    models: list[dict[str, Any]] = [
        {"name": name, "text": text} for name, text in zip(heard.names, heard.texts, strict=True)
    ]
    done = all(each is not None and each.transcript is not None for each in heard.partials)
    if done and reference.strip() and not too_long(reference, *heard.texts):
        for model in models:
            rated = compare(reference, model["text"], normalizer, reference=True)
            model |= {"wer": rated.wer, "cer": rated.cer}
    return {"done": done, "models": models, "normalizer": normalizer}


# Messages and texts belong to the recording before.
FORGET = """() => {
    document.querySelectorAll('[data-testid="toast-close"]').forEach((close) => close.click());
    return ["", "", "", ""];
}"""


def compare_tab(demo: "Demo", say: Callable[..., Any]) -> None:
    """
    Lays out the tab, and opens the endpoint `/compare`.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        say (`Callable`): Text of a label, by its key.
    """
    import gradio as gr

    several, normalizer = len(demo.adapters) > 1, normalizer_of(demo.published)
    choices = [(say("compare.base"), BASE), *((name, name) for name in demo.adapters)]
    audio = gr.Audio(
        label=say("recording.label"),
        sources=["microphone", "upload"],
        type="filepath",
        buttons=[],
        elem_id="compare-recording",
        elem_classes="recording",
    )
    with gr.Row(visible=several):
        first = gr.Dropdown(choices, value=BASE, label=say("compare.first"))
        second = gr.Dropdown(choices, value=next(iter(demo.adapters)), label=say("compare.second"))
    reference = gr.Textbox(
        value="",  # without it programs would have to give one
        label=say("compare.reference_label"),
        placeholder=say("compare.reference_placeholder"),
        lines=2,
    )
    with gr.Row():
        button = gr.Button(say("compare.button"), variant="primary", elem_id="compare")
        stop = gr.Button(say("transcribe.stop"), elem_id="compare-stop")
    status = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="compare-status", elem_classes="status")
    with gr.Row():
        labels = ("compare.first", "compare.second") if several else ("compare.base", "compare.adapter")
        texts = [gr.Textbox(label=say(label), lines=3, interactive=False) for label in labels]
    result = gr.HTML(elem_id="comparison")
    # What programs get; the page shows the same in other shapes.
    answer, ask = gr.JSON(visible=False), gr.Button(visible=False)
    asked, both_texts = [audio, first, second], [*texts, reference, first, second]

    def show(audio: str | None, first: str, second: str, request: gr.Request) -> Iterator[tuple[str, str, str]]:
        language = visitor_language(request, demo.settings.languages)
        with messages(language):
            if demo.loading():
                yield "", "", said("status.loading", language)
            for heard in both(demo, audio, (first, second), demo.clients.of(request)):
                yield *heard.texts, status_line(demo, heard, language)

    def judge(one: str, other: str, reference: str, first: str, second: str, request: gr.Request) -> str:
        language = visitor_language(request, demo.settings.languages)
        return differences(demo, (first, second), (one, other), reference, normalizer, language)

    def tell(
        recording: str | None, first: str, second: str, reference: str, request: gr.Request
    ) -> Iterator[dict[str, Any]]:
        """Hears a recording with two models (`base`, or the name of an adapter); rates where a reference is given."""
        with messages(visitor_language(request, demo.settings.languages)):
            for heard in both(demo, recording, (first, second), demo.clients.of(request)):
                yield answered(heard, reference, normalizer)

    def stopped(request: gr.Request) -> str:
        return said("status.stopped", visitor_language(request, demo.settings.languages))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    audio.change(None, None, [*texts, status, result], js=FORGET, **private)
    shown = gr.on([button.click, reference.submit], show, asked, [*texts, status], concurrency_limit=None, **private)
    judging = partial(gr.on, fn=judge, inputs=both_texts, outputs=result, queue=False, **private)
    judging([reference.change], trigger_mode="always_last")
    shown.success(judge, both_texts, result, queue=False, **private)
    stop.click(stopped, None, status, cancels=[shown], queue=False, **private)
    ask.click(tell, [*asked, reference], answer, concurrency_limit=None, api_name="compare")
    if demo.settings.examples:
        gr.Examples(
            demo.settings.examples, audio, label=say("examples.label"), cache_examples=False, api_visibility="private"
        )
        # Gradio would delete its copies of them with the uploads.
        audio.keep_in_cache.update(audio.temp_files)


def status_line(demo: "Demo", heard: Both, language: str) -> str:
    """
    What is going on, as HTML.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        heard ([`Both`]): So far.
        language (`str`): Of the page.
    """
    lines = []
    for name, known in zip(heard.names, heard.partials, strict=True):
        if known is not None:
            lines.append(f"{called(demo, name, language)}: {_state(demo, known, language)}")
    return "<br>".join(html.escape(line) for line in lines)


def differences(
    demo: "Demo", names: tuple[str, str], texts: tuple[str, str], reference: str, normalizer: str, language: str
) -> str:
    """
    HTML of what differs: each text from the reference, or where there is none, the one from the other.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        names (`tuple[str, str]`): `base`, or the name of an adapter.
        texts (`tuple[str, str]`): What each has heard.
        reference (`str`): What was said; may be empty.
        normalizer (`str`): What makes texts alike before edits are counted; between two models nothing does.
        language (`str`): Of the page.

    Returns:
        `str`: Escaped; it wants [`CSS`] on the page.
    """
    if not any(texts):
        return ""
    if too_long(reference, *texts):
        return f"<p>{html.escape(said('differences.too_long', language))}</p>"
    one, other = (called(demo, name, language) for name in names)
    spoken_language = demo.language or ""
    if not reference.strip():
        return _titled(f"{one} – {other}", marked(compare(*texts), one, other, spoken_language, language))
    title = said("compare.reference", language)
    pieces = []
    for name, text in zip((one, other), texts, strict=True):
        rated = compare(reference, text, normalizer, reference=True)
        pieces.append(
            _titled(
                name,
                marked(rated, title, name, spoken_language, language) + _raw(reference, text, rated, language),
            )
        )
    return f'<div class="beside">{"".join(pieces)}</div>'


def called(demo: "Demo", name: str, language: str) -> str:
    """What the page calls a model; an adapter by its name where there are several."""
    if name == BASE:
        return said("compare.base", language)
    return name if len(demo.adapters) > 1 else said("compare.adapter", language)


def _titled(title: str, piece: str) -> str:
    return f"<section><h3>{html.escape(title)}</h3>{piece}</section>"


def _raw(reference: str, text: str, rated: Comparison, language: str) -> str:
    """Raw rates stand beside normalised ones, here as everywhere, where they are others."""
    raw = compare(reference, text, reference=True)
    if raw.wer is None or raw.cer is None or (raw.wer, raw.cer) == (rated.wer, rated.cer):
        return ""
    rates = said("differences.rates", language, wer=percent(raw.wer), cer=percent(raw.cer))
    return f'<p class="raw">{html.escape(rates)} {html.escape(said("differences.raw", language))}</p>'


def _state(demo: "Demo", known: Partial, language: str) -> str:
    if known.transcript is not None:
        audio, compute = (
            f"{seconds:.1f}" for seconds in (known.transcript.audio_seconds, known.transcript.compute_seconds)
        )
        pieces = [said("status.done", language, audio=audio, compute=compute)]
        if not known.text:
            pieces.append(said("status.no_words", language))
        pieces += [said(NOTES[note], language) for note in known.transcript.notes]
        return "; ".join(pieces)
    if known.before is None:
        return said("status.listening", language)
    if known.before == 0:
        return said("status.next", language)
    return said("status.queued", language, place=known.before + 1, size=demo.settings.max_queue)


CSS = """
#comparison h3 { font-size: 1rem; font-weight: 650; margin: .6rem 0 .2rem; overflow-wrap: anywhere; }
#comparison .beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
#comparison .raw { font-size: .9rem; margin: .4rem 0; color: var(--body-text-color-subdued); }
"""
