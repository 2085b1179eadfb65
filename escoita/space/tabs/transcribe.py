"""Build the tab that transcribes a recording, with streamed text."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.audio.loading import read_recording
from escoita.errors import EscoitaError
from escoita.space.client_limits import check_limits
from escoita.space.downloads import segments_of, write_downloads
from escoita.space.handlers import Transcribed, error_line, messages, transcribe_recording
from escoita.space.jobs import Job
from escoita.space.refusals import translatable
from escoita.space.saved import add_restore, add_stop, browser_state, storable
from escoita.space.status import generation_settings_line, progress_line, segment_list, waveform
from escoita.space.tabs.about import cached_record
from escoita.space.tabs.feedback import feedback_box
from escoita.space.texts import translate, visitor_language
from escoita.space.uploads import PROBLEM
from escoita.utils.languages import direction


if TYPE_CHECKING:
    from escoita.inference.streaming import Partial
    from escoita.space.demo import Demo

# Messages, text and files belong to the previous recording, also in the storage of the browser.
RESET = """() => {
    document.querySelectorAll('[data-testid="toast-close"]').forEach((close) => close.click());
    return ["", "", "", "", null, {}];
}"""


def transcribe_tab(demo: "Demo", label: Callable[..., Any]) -> None:
    """
    Build the tab, and add the endpoint `/transcribe`.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        label (`Callable`): The function that returns a text by its key.
    """
    import gradio as gr

    names = list(demo.adapters)
    audio = gr.Audio(
        label=label("recording.label"),
        sources=["microphone", "upload"],
        type="filepath",
        buttons=[],
        elem_id="recording",
        elem_classes="recording",
    )
    gr.HTML(html_template='<p role="alert">${value}</p>', elem_classes=["status", PROBLEM])
    adapter = gr.Dropdown(
        names,
        value=names[0],
        label=label("adapter.label"),
        visible=len(names) > 1,
        elem_id="adapter",
    )
    settings_line = gr.HTML(html_template="<p>${value}</p>", elem_id="generation-settings", elem_classes="status")
    with gr.Row():
        button = gr.Button(label("transcribe.button"), variant="primary", elem_id="transcribe")
        stop = gr.Button(label("transcribe.stop"), elem_id="stop", visible=False)
    text = gr.Textbox(
        label=label("transcript.label"),
        # Screen readers use the placeholder as the name: the label names the copy button.
        placeholder=label("transcript.placeholder"),
        lines=4,
        interactive=False,
        buttons=["copy"],
        rtl=direction(demo.language) == "rtl",
        elem_id="transcript",
    )
    status = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="status", elem_classes="status")
    wave = gr.HTML(elem_id="drawing")  # Gradio's player has an element with the id `waveform`
    segments = gr.HTML(elem_id="segments")
    files = gr.File(
        label=label("downloads.label"), file_count="multiple", interactive=False, height="auto", elem_id="downloads"
    )
    # The API has endpoints of its own, because a state is not part of the API.
    transcribed, api_text, api_button = gr.State(), gr.Textbox(visible=False), gr.Button(visible=False)
    saved = browser_state(demo, "transcribe")

    def transcribe(audio: str | None, adapter: str | None, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        language, client = visitor_language(request, demo.settings.languages), demo.clients.of(request)
        job = demo.jobs.start(audio or "", lambda: transcribe_recording(demo, audio, adapter or None, client=client))
        line = translate("status.loading" if demo.loading() else "status.transcribing", language)
        yield "", line, "", "", None, None, storable(job), gr.Button(visible=True)
        yield from follow(job, language)

    def follow(job: "Job[Partial]", language: str, note: str = "") -> Iterator[tuple[Any, ...]]:
        try:
            for partial in job.follow():
                line = progress_line(partial, demo.settings, language)
                rows = segment_list(partial.segments, partial.audio_seconds, language, demo.language)
                done = Transcribed(job.recording, partial.transcript) if partial.transcript else None
                yield (
                    partial.text,
                    note + line,
                    "",
                    rows,
                    None,
                    done,
                    storable(job, [partial.text]),
                    gr.Button(visible=done is None),
                )
        except Exception as error:
            skip, hidden = gr.skip(), gr.Button(visible=False)
            yield skip, error_line(error, language), skip, skip, skip, None, {}, hidden

    def finish(done: Transcribed | None, line: str, request: gr.Request) -> tuple[str, list[str], str]:
        language = visitor_language(request, demo.settings.languages)
        if done is None or done.drawn:
            return "", [], line
        try:
            with translatable(demo.settings):
                check_limits(Path(done.recording), demo.settings)
                samples = read_recording(done.recording, max_seconds=demo.settings.max_minutes * 60).samples
        except EscoitaError as error:
            return "", [], f"{line}<br>{error_line(error, language)}"
        done.drawn, transcript = True, done.transcript
        # Gradio deletes the files in its cache together with the uploads.
        folder = Path(files.GRADIO_CACHE) / uuid.uuid4().hex
        paths = write_downloads(transcript, samples, folder, done.recording, demo.language)
        return waveform(samples, segments_of(transcript), language), [str(path) for path in paths], line

    def transcribe_api(audio: str | None, adapter: str | None, request: gr.Request) -> Iterator[str]:
        """Transcribe a recording (WAV, FLAC, OGG, MP3, M4A, WebM, MP4, MOV, 3GP, CAF), with streamed text."""
        with messages(visitor_language(request, demo.settings.languages)):
            for partial in transcribe_recording(demo, audio, adapter or None, client=demo.clients.of(request)):
                yield partial.text

    def show_settings(name: str | None, request: gr.Request) -> str:
        return _settings_line(demo, name, visitor_language(request, demo.settings.languages))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    shared: dict[str, Any] = {"concurrency_limit": max_concurrent(demo), "concurrency_id": "model"}
    audio.change(None, None, [text, status, wave, segments, files, saved], js=RESET, **private)
    outputs = [text, status, wave, segments, files, transcribed, saved, stop]
    # The public event is first: Gradio names private events after their functions, and numbers equal names.
    api_button.click(transcribe_api, [audio, adapter], api_text, api_name="transcribe", **shared)
    events = [button.click(transcribe, [audio, adapter], outputs, **shared, **private)]
    if demo.settings.examples:
        examples = gr.Examples(
            demo.settings.examples,
            audio,
            label=label("examples.label"),
            example_labels=example_labels(demo),
            cache_examples=False,
            api_visibility="private",
        )
        # Gradio would delete its copies of the examples together with the uploads.
        audio.keep_in_cache.update(audio.temp_files)
        events.append(examples.load_input_event.success(transcribe, [audio, adapter], outputs, **shared, **private))
    events.append(add_restore(demo, saved, follow, outputs, [text], status, private, **shared))
    for event in events:
        event.success(finish, [transcribed, status], [wave, files, status], queue=False, **private)
    add_stop(demo, saved, stop, status, events, private)
    adapter.change(show_settings, adapter, settings_line, queue=False, **private)
    feedback_box(demo, label, audio, text, transcribed)


def example_labels(demo: "Demo") -> list[str]:
    """Return the sentence of each example; the file name if the recipe has none."""
    texts = demo.settings.example_texts
    return [texts.get(Path(example).name) or Path(example).name for example in demo.settings.examples]


def max_concurrent(demo: "Demo") -> int:
    """Return the maximum number of concurrent events; the engine itself refuses requests over its limits."""
    return 2 * demo.settings.max_queue + 1


def first_settings_line(demo: "Demo", language: str) -> str:
    """Return the HTML of the generation settings of the default adapter."""
    return _settings_line(demo, next(iter(demo.adapters), None), language)


def _settings_line(demo: "Demo", name: str | None, language: str) -> str:
    record = None
    if name in demo.adapters:
        with suppress(EscoitaError):  # loading the adapter reports the error
            record = cached_record(demo.adapters[name])
    return generation_settings_line(record, language)


CSS = """
#transcript [data-testid="status-tracker"]:has(> .error) { display: none; }
#downloads:not(:has(a)), #drawing:not(:has(svg)), #segments:not(:has(li)),
#generation-settings:not(:has(b)) { display: none; }
#downloads td:has(> .label-clear-button) { display: none; }
#segments h2 { font-size: 1rem; font-weight: 650; margin: .2rem 0; }
#segments ol { list-style: none; padding: 0; margin: 0; }
#segments li { margin: .25rem 0; overflow-wrap: anywhere; }
#segments span { font-variant-numeric: tabular-nums; color: var(--body-text-color-subdued); margin-inline-end: .4rem; }
#generation-settings b { font-weight: 500; }
#status progress { width: 8rem; max-width: 100%; vertical-align: middle; accent-color: currentColor; }
"""
