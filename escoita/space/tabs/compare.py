"""Build the tab in which two models transcribe the same recording."""

import html
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from escoita.inference.fairness import Client
from escoita.inference.streaming import Partial
from escoita.space.differences import Comparison, compare, marked, too_long
from escoita.space.handlers import error_line, messages, transcribe_recording
from escoita.space.jobs import Job
from escoita.space.saved import add_restore, add_stop, browser_state, storable
from escoita.space.status import NOTES, queue_line
from escoita.space.tabs.about import normalizer_of
from escoita.space.tabs.transcribe import example_labels
from escoita.space.texts import translate, visitor_language
from escoita.space.uploads import PROBLEM
from escoita.utils.formatting import percent
from escoita.utils.languages import direction


if TYPE_CHECKING:
    from escoita.space.demo import Demo


# The name of the base in the API.
BASE = "base"


@dataclass(frozen=True)
class PairResult:
    """
    Hold the partial results of two models for the same recording.

    Args:
        names (`tuple[str, str]`): The names of the models, `base` or the name of an adapter.
        partials (`tuple[Partial | None, Partial | None]`): The partial results; `None` before the model starts.
    """

    names: tuple[str, str]
    partials: tuple[Partial | None, Partial | None] = (None, None)

    @property
    def done(self) -> bool:
        """Whether both models have transcribed the whole recording."""
        return all(each is not None and each.transcript is not None for each in self.partials)

    @property
    def texts(self) -> tuple[str, str]:
        """Return the text of each model so far."""
        first, second = (partial.text if partial else "" for partial in self.partials)
        return first, second


def transcribe_with_both(
    demo: "Demo", recording: str | None, names: tuple[str, str], client: Client | None = None
) -> Generator[PairResult, None, None]:
    """
    Transcribe a recording with two models, one after the other.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        recording (`str`, *optional*): The upload of the visitor.
        names (`tuple[str, str]`): The names of the models, `base` or the name of an adapter. The base gets the prompt
            of the adapter.
        client ([`~escoita.inference.fairness.Client`], *optional*): The sender of the request.

    Raises:
        EscoitaError: See [`~escoita.space.handlers.transcribe_recording`].
    """
    started, first = time.monotonic(), None
    for position, name in enumerate(names):
        other = names[1 - position]
        adapter, prompt_adapter = (None, None if other == BASE else other) if name == BASE else (name, None)
        left = demo.settings.max_seconds - (time.monotonic() - started)
        for partial_result in transcribe_recording(demo, recording, adapter, prompt_adapter, left, client):
            yield PairResult(names, (partial_result, None) if position == 0 else (first, partial_result))
        first = partial_result


def api_answer(result: PairResult, reference: str, normalizer: str) -> dict[str, Any]:
    """
    Return the answer of the endpoint `/compare`.

    Args:
        result ([`PairResult`]): The partial results.
        reference (`str`): The reference; may be empty.
        normalizer (`str`): The text normalizer.

    Returns:
        `dict`: The fields `done`, `normalizer` and `models`: for each model its `name` and `text`, and with a
        reference `wer` and `cer` as fractions.
    """
    models: list[dict[str, Any]] = [
        {"name": name, "text": text} for name, text in zip(result.names, result.texts, strict=True)
    ]
    if result.done and reference.strip() and not too_long(reference, *result.texts):
        for model in models:
            comparison = compare(reference, model["text"], normalizer, reference=True)
            model |= {"wer": comparison.wer, "cer": comparison.cer}
    return {"done": result.done, "models": models, "normalizer": normalizer}


# Messages and texts belong to the previous recording, also in the storage of the browser.
RESET = """() => {
    document.querySelectorAll('[data-testid="toast-close"]').forEach((close) => close.click());
    return ["", "", "", "", {}];
}"""


def compare_tab(demo: "Demo", label: Callable[..., Any]) -> None:
    """
    Build the tab, and add the endpoint `/compare`.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        label (`Callable`): The function that returns a text by its key.
    """
    import gradio as gr

    rtl = direction(demo.language) == "rtl"
    several, normalizer = len(demo.adapters) > 1, normalizer_of(demo.published)
    choices = [(label("compare.base"), BASE), *((name, name) for name in demo.adapters)]
    audio = gr.Audio(
        label=label("recording.label"),
        sources=["microphone", "upload"],
        type="filepath",
        buttons=[],
        elem_id="compare-recording",
        elem_classes="recording",
    )
    gr.HTML(html_template='<p role="alert">${value}</p>', elem_classes=["status", PROBLEM])
    with gr.Row(visible=several):
        first = gr.Dropdown(choices, value=BASE, label=label("compare.first"))
        second = gr.Dropdown(choices, value=next(iter(demo.adapters)), label=label("compare.second"))
    reference = gr.Textbox(
        value="",  # makes the argument of the API optional
        label=label("compare.reference_label"),
        placeholder=label("compare.reference_placeholder"),
        lines=2,
        rtl=rtl,
    )
    with gr.Row():
        button = gr.Button(label("compare.button"), variant="primary", elem_id="compare")
        stop = gr.Button(label("transcribe.stop"), elem_id="compare-stop", visible=False)
    status = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="compare-status", elem_classes="status")
    with gr.Row(elem_id="compare-texts"):
        keys = ("compare.first", "compare.second") if several else ("compare.base", "compare.adapter")
        texts = [gr.Textbox(label=label(key), lines=3, interactive=False, rtl=rtl) for key in keys]
    comparison = gr.HTML(elem_id="comparison")
    # The API has components of its own.
    api_json, api_button = gr.JSON(visible=False), gr.Button(visible=False)
    inputs, both_texts = [audio, first, second], [*texts, reference, first, second]

    saved = browser_state(demo, "compare")

    def show(audio: str | None, first: str, second: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        language, client = visitor_language(request, demo.settings.languages), demo.clients.of(request)
        job = demo.jobs.start(audio or "", lambda: transcribe_with_both(demo, audio, (first, second), client))
        line = translate("status.loading" if demo.loading() else "status.transcribing", language)
        yield "", "", line, storable(job, models=(first, second)), gr.Button(visible=True)
        yield from follow(job, language)

    def follow(job: Job[PairResult], language: str, note: str = "") -> Iterator[tuple[Any, ...]]:
        try:
            for result in job.follow():
                line = note + status_line(demo, result, language)
                button = gr.Button(visible=not (result.done or job.stopped))
                yield *result.texts, line, storable(job, result.texts, result.names), button
        except Exception as error:
            yield gr.skip(), gr.skip(), error_line(error, language), {}, gr.Button(visible=False)

    def show_differences(one: str, other: str, reference: str, first: str, second: str, request: gr.Request) -> str:
        language = visitor_language(request, demo.settings.languages)
        return differences(demo, (first, second), (one, other), reference, normalizer, language)

    def compare_api(
        recording: str | None, first: str, second: str, reference: str, request: gr.Request
    ) -> Iterator[dict[str, Any]]:
        """Transcribe a recording with two models (`base` or the name of an adapter); WER and CER with a reference."""
        with messages(visitor_language(request, demo.settings.languages)):
            for result in transcribe_with_both(demo, recording, (first, second), demo.clients.of(request)):
                yield api_answer(result, reference, normalizer)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    audio.change(None, None, [*texts, status, comparison, saved], js=RESET, **private)
    outputs = [*texts, status, saved, stop]
    events = [gr.on([button.click, reference.submit], show, inputs, outputs, concurrency_limit=None, **private)]
    restoring = add_restore(
        demo, saved, follow, outputs, texts, status, private, [first, second], concurrency_limit=None
    )
    events.append(restoring)
    differences_events: dict[str, Any] = {"inputs": both_texts, "outputs": comparison, "queue": False, **private}
    reference.change(show_differences, trigger_mode="always_last", **differences_events)
    for event in events:
        event.success(show_differences, **differences_events)
    add_stop(demo, saved, stop, status, events, private)
    api_button.click(compare_api, [*inputs, reference], api_json, concurrency_limit=None, api_name="compare")
    if demo.settings.examples:
        gr.Examples(
            demo.settings.examples,
            audio,
            label=label("examples.label"),
            example_labels=example_labels(demo),
            cache_examples=False,
            api_visibility="private",
        )
        # Gradio would delete its copies of the examples together with the uploads.
        audio.keep_in_cache.update(audio.temp_files)


def status_line(demo: "Demo", result: PairResult, language: str) -> str:
    """
    Return the HTML of the progress of both models.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        result ([`PairResult`]): The partial results.
        language (`str`): The language of the page.
    """
    lines = []
    for name, partial in zip(result.names, result.partials, strict=True):
        if partial is not None:
            lines.append(f"{display_name(demo, name, language)}: {_state(demo, partial, language)}")
    return "<br>".join(html.escape(line) for line in lines)


def differences(
    demo: "Demo", names: tuple[str, str], texts: tuple[str, str], reference: str, normalizer: str, language: str
) -> str:
    """
    Return the HTML of the differences of each text from the reference, or without it of the two texts.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        names (`tuple[str, str]`): The names of the models, `base` or the name of an adapter.
        texts (`tuple[str, str]`): The texts of the models.
        reference (`str`): The reference; may be empty.
        normalizer (`str`): The text normalizer for a comparison with the reference.
        language (`str`): The language of the page.

    Returns:
        `str`: Escaped HTML; the page needs [`CSS`].
    """
    if not any(texts):
        return ""
    if too_long(reference, *texts):
        return f"<p>{html.escape(translate('differences.too_long', language))}</p>"
    first, second = (display_name(demo, name, language) for name in names)
    spoken_language = demo.language or ""
    if not reference.strip():
        return _titled(f"{first} – {second}", marked(compare(*texts), first, second, spoken_language, language))
    title = translate("compare.reference", language)
    pieces = []
    for name, text in zip((first, second), texts, strict=True):
        comparison = compare(reference, text, normalizer, reference=True)
        piece = marked(comparison, title, name, spoken_language, language)
        pieces.append(_titled(name, piece + _raw_rates(reference, text, comparison, language)))
    return f'<div class="columns">{"".join(pieces)}</div>'


def display_name(demo: "Demo", name: str, language: str) -> str:
    """Return the name of a model on the page; adapters are named if there are several."""
    if name == BASE:
        return translate("compare.base", language)
    return name if len(demo.adapters) > 1 else translate("compare.adapter", language)


def _titled(title: str, piece: str) -> str:
    return f"<section><h3>{html.escape(title)}</h3>{piece}</section>"


def _raw_rates(reference: str, text: str, comparison: Comparison, language: str) -> str:
    """Return the HTML of the rates without normalization if they differ from the normalized ones."""
    raw = compare(reference, text, reference=True)
    if raw.wer is None or raw.cer is None or (raw.wer, raw.cer) == (comparison.wer, comparison.cer):
        return ""
    rates = translate("differences.rates", language, wer=percent(raw.wer), cer=percent(raw.cer))
    return f'<p class="raw">{html.escape(rates)} {html.escape(translate("differences.raw", language))}</p>'


def _state(demo: "Demo", partial: Partial, language: str) -> str:
    if (transcript := partial.transcript) is not None:
        audio, compute = f"{transcript.audio_seconds:.1f}", f"{transcript.compute_seconds:.1f}"
        pieces = [translate("status.done", language, audio=audio, compute=compute)]
        if not partial.text:
            pieces.append(translate("status.no_words", language))
        pieces += [translate(NOTES[note], language) for note in transcript.notes]
        return "; ".join(pieces)
    if partial.before is None:
        return translate("status.transcribing", language)
    return queue_line(partial.before, demo.settings, language)


CSS = """
@media (max-width: 480px) { #compare-texts { flex-direction: column; align-items: stretch; } }
#comparison h3 { font-size: 1rem; font-weight: 650; margin: .6rem 0 .2rem; overflow-wrap: anywhere; }
#comparison .columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
#comparison .raw { font-size: .9rem; margin: .4rem 0; color: var(--body-text-color-subdued); }
"""
