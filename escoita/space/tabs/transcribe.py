"""The tab in which a recording becomes text, which grows while the visitor reads it."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.audio.loading import read_recording
from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record
from escoita.space.client_limits import page_words
from escoita.space.downloads import segments_of, write_downloads
from escoita.space.handlers import Transcribed, listen, messages
from escoita.space.status import generation_settings_line, progress_line, segment_list, waveform
from escoita.space.tabs.feedback import feedback_box
from escoita.space.texts import say as said
from escoita.space.texts import visitor_language


if TYPE_CHECKING:
    import gradio as gr

    from escoita.space.demo import Demo

# Messages, text and files belong to the recording before.
FORGET = """() => {
    document.querySelectorAll('[data-testid="toast-close"]').forEach((close) => close.click());
    return ["", "", "", "", null];
}"""


def transcribe_tab(demo: "Demo", say: Callable[..., Any]) -> None:
    """
    Lays out the tab, and opens the endpoint `/transcribe`.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        say (`Callable`): Text of a label, by its key.
    """
    import gradio as gr

    names = list(demo.adapters)
    audio = gr.Audio(
        label=say("recording.label"),
        sources=["microphone", "upload"],
        type="filepath",
        buttons=[],
        elem_id="recording",
        elem_classes="recording",
    )
    adapter = gr.Dropdown(
        names,
        value=names[0],
        label=say("adapter.label"),
        visible=len(names) > 1,
        elem_id="adapter",
    )
    status_line = gr.HTML(html_template="<p>${value}</p>", elem_id="spoken", elem_classes="status")
    with gr.Row():
        button = gr.Button(say("transcribe.button"), variant="primary", elem_id="transcribe")
        stop = gr.Button(say("transcribe.stop"), elem_id="stop")
    text = gr.Textbox(
        label=say("transcript.label"),
        # Also what screen readers call the box: with a copy button in it, the label names the button.
        placeholder=say("transcript.placeholder"),
        lines=4,
        interactive=False,
        buttons=["copy"],
        elem_id="transcript",
    )
    status = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="status", elem_classes="status")
    wave = gr.HTML(elem_id="waveform")
    segments = gr.HTML(elem_id="segments")
    files = gr.File(
        label=say("downloads.label"), file_count="multiple", interactive=False, height="auto", elem_id="downloads"
    )
    # A state is no part of the API; what programs get is a component of its own.
    heard, answer, ask = gr.State(), gr.Textbox(visible=False), gr.Button(visible=False)

    def transcribe(audio: str | None, adapter: str | None, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        language = visitor_language(request, demo.settings.languages)
        with messages(language):
            if demo.loading():
                yield "", said("status.loading", language), "", "", None, None
            for known in listen(demo, audio, adapter or None, client=demo.clients.of(request)):
                line = progress_line(known, demo.settings, language)
                rows = segment_list(known.segments, known.audio_seconds, language)
                done = Transcribed(audio, known.transcript) if audio and known.transcript else None
                yield known.text, line, "", rows, None, done

    def finish(done: Transcribed | None, request: gr.Request) -> tuple[str, list[str]]:
        language = visitor_language(request, demo.settings.languages)
        with messages(language), page_words(demo.settings):
            if done is None or done.drawn:
                return "", []
            done.drawn, transcript, recording = True, done.transcript, done.recording
            # Gradio deletes what it serves together with the uploads.
            paths = write_downloads(transcript, Path(files.GRADIO_CACHE) / uuid.uuid4().hex, recording)
            samples = read_recording(recording, max_seconds=demo.settings.max_minutes * 60).samples
            drawn = waveform(samples, segments_of(transcript), language)
        return drawn, [str(path) for path in paths]

    def tell(audio: str | None, adapter: str | None, request: gr.Request) -> Iterator[str]:
        """Transcribes a recording (wav, flac, ogg, mp3, m4a, webm); text grows until it is whole."""
        with messages(visitor_language(request, demo.settings.languages)):
            for known in listen(demo, audio, adapter or None, client=demo.clients.of(request)):
                yield known.text

    def stopped(request: gr.Request) -> str:
        return said("status.stopped", visitor_language(request, demo.settings.languages))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    together: dict[str, Any] = {"concurrency_limit": most_at_once(demo), "concurrency_id": "model"}
    audio.change(None, None, [text, status, wave, segments, files], js=FORGET, **private)
    shown = [text, status, wave, segments, files, heard]
    # First: Gradio names private events after their functions, and a name that is taken gets a number.
    ask.click(tell, [audio, adapter], answer, api_name="transcribe", **together)
    hearing = [button.click(transcribe, [audio, adapter], shown, **together, **private)]
    if demo.settings.examples:
        examples = gr.Examples(
            demo.settings.examples, audio, label=say("examples.label"), cache_examples=False, api_visibility="private"
        )
        # Gradio would delete its copies of them with the uploads.
        audio.keep_in_cache.update(audio.temp_files)
        hearing.append(examples.load_input_event.success(transcribe, [audio, adapter], shown, **together, **private))
    for event in hearing:
        event.success(finish, heard, [wave, files], queue=False, **private)
    stop.click(stopped, None, status, cancels=hearing, queue=False, **private)
    _tell_of_adapter(demo, adapter, status_line, private)
    feedback_box(demo, say, audio, text, heard)


def most_at_once(demo: "Demo") -> int:
    """How many are heard or wait in the engine, which alone says who waits too many."""
    return 2 * demo.settings.max_queue + 1


def _tell_of_adapter(demo: "Demo", adapter: "gr.Dropdown", status_line: "gr.HTML", private: dict[str, Any]) -> None:
    import gradio as gr
    from gradio.context import Context

    record_of = cache(adapter_record)  # the Hub is not asked again for each visitor

    def told(name: str | None, request: gr.Request) -> str:
        record = None
        if name in demo.adapters:
            with suppress(EscoitaError):  # loading it says why
                record = record_of(demo.adapters[name])
        return generation_settings_line(record, visitor_language(request, demo.settings.languages))

    events = [page.load for page in (Context.root_block,) if page is not None]
    gr.on([*events, adapter.change], told, adapter, status_line, queue=False, **private)


CSS = """
#transcript [data-testid="status-tracker"]:has(> .error) { display: none; }
#downloads:not(:has(a)), #waveform:not(:has(svg)), #segments:not(:has(li)), #spoken:not(:has(b)) { display: none; }
#downloads td:has(> .label-clear-button) { display: none; }
#segments h2 { font-size: 1rem; font-weight: 650; margin: .2rem 0; }
#segments ol { list-style: none; padding: 0; margin: 0; }
#segments li { margin: .25rem 0; overflow-wrap: anywhere; }
#segments span { font-variant-numeric: tabular-nums; color: var(--body-text-color-subdued); margin-inline-end: .4rem; }
#spoken b { font-weight: 500; }
#status progress { width: 8rem; max-width: 100%; vertical-align: middle; accent-color: currentColor; }
"""
