"""
The demo: base plus adapter on a page, for the microphone or a file.

```
python space/app.py --run runs/quickstart-uzbek --port 7860
python space/app.py --base quickstart/gemma4 --adapter runs/quickstart-uzbek/adapter
```

Programs send a file and get the text: `Client("http://127.0.0.1:7860").predict(handle_file("clip.wav"),
api_name="/transcribe")`.
"""

import html
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import EscoitaError
from escoita.recipe import Space
from space.look import CSS, FORGET, heading, status_line, theme
from space.recording import MEGABYTE, hear, limits


if TYPE_CHECKING:
    import gradio as gr

    from escoita.transcribe import Transcriber
    from escoita.transcript import Transcript


# Visitors who wait for the model at once; the next one is told to come back.
QUEUE_SIZE = 20
# Seconds: how often uploads are looked through, and how old they grow.
UPLOAD_LIFE = (300, 900)


def serve(
    base: str,
    adapter: str,
    settings: Space,
    title: str,
    port: int,
    host: str = "127.0.0.1",
    revision: str | None = None,
    dtype: str = "auto",
) -> None:
    """
    Loads the model once and serves the page until Ctrl-C; uploads go with it.

    Args:
        base (`str`): A folder, or a repository of the Hub.
        adapter (`str`): The same.
        settings ([`~escoita.recipe.Space`]): Limits and examples.
        title (`str`): Heads the page.
        port (`int`): Where to listen.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): `"0.0.0.0"` lets other machines in.
        revision (`str`, *optional*): Of the base.
        dtype (`str`, *optional*, defaults to `"auto"`): Precision of the base.

    Raises:
        EscoitaError: The model or an example cannot be had, or the port is taken.
    """
    from escoita.transcribe import Transcriber

    # A shell starts what runs in the background with SIGINT ignored.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="escoita-space-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        page = build(Transcriber.load(base, adapter, None, revision, dtype), settings, title, base, adapter)
        try:
            print(f"Listening on {start(page, settings, port, host)} (Ctrl-C ends)", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            page.close(verbose=False)


def start(page: "gr.Blocks", settings: Space, port: int | None = None, host: str = "127.0.0.1") -> str:
    """
    Opens the page to visitors, and returns.

    Args:
        page (`gr.Blocks`): As built.
        settings ([`~escoita.recipe.Space`]): Limits.
        port (`int`, *optional*): Any free one unless given.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): Where to listen.

    Returns:
        `str`: The address.

    Raises:
        EscoitaError: The port is taken.
    """
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            max_file_size=int(settings.max_megabytes * MEGABYTE),
            theme=theme(),
            css=CSS,
            footer_links=[],
            run_history=False,
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise EscoitaError(f"port {port}: taken, or not to be had on {host}; choose another with --port") from error
    return str(address)


def build(
    transcriber: "Transcriber", settings: Space, title: str, base: str, adapter: str | None = None
) -> "gr.Blocks":
    """
    Lays out the page.

    Args:
        transcriber ([`~escoita.transcribe.Transcriber`]): Base and adapter, loaded.
        settings ([`~escoita.recipe.Space`]): Limits and examples.
        title (`str`): Heads the page.
        base (`str`): What the page calls the base.
        adapter (`str`, *optional*): What it calls the adapter.

    Raises:
        EscoitaError: An example is missing.
    """
    import gradio as gr

    for example in settings.examples:
        if not Path(example).is_file():
            raise EscoitaError(f"space.examples: {example}: no such file")
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=UPLOAD_LIFE) as page:
        gr.HTML(heading(title, limits(settings), base, adapter), elem_id="heading")
        transcription(transcriber, settings)
    page.queue(max_size=QUEUE_SIZE, api_open=False)
    return page


def transcription(transcriber: "Transcriber", settings: Space) -> None:
    """Lays out the part that takes one clip and shows its transcript, and opens the endpoint `/transcribe`."""
    import gradio as gr

    def transcribe(audio: str | None) -> tuple[str, "Transcript"]:
        """Transcribes a recording (wav, flac, ogg, mp3, m4a, webm)."""
        try:
            transcript = hear(transcriber, settings, audio)
        except EscoitaError as error:
            # The page shows messages as HTML, and a file may be called anything.
            message = html.escape(str(error), quote=False)
            raise gr.Error(message, duration=None, print_exception=False) from error
        return transcript.text, transcript

    audio = gr.Audio(
        label="Recording",
        sources=["microphone", "upload"],
        type="filepath",
        buttons=[],
        elem_id="recording",
    )
    button = gr.Button("Transcribe", variant="primary", elem_id="transcribe")
    text = gr.Textbox(
        label="Transcript",
        # Also what screen readers call the box: with a copy button in it, the label names the button.
        placeholder="The transcript appears here.",
        lines=4,
        interactive=False,
        buttons=["copy"],
        elem_id="transcript",
    )
    status = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="status")
    # A state is no part of the API: to programs the text alone is returned.
    heard = gr.State()

    def transcribe_on(event: Callable[..., Any], **api: str) -> None:
        done = event(transcribe, audio, [text, heard], concurrency_limit=1, concurrency_id="model", **api)
        done.success(status_line, heard, status, queue=False, show_progress="hidden", api_visibility="private")

    gr.on([audio.change, button.click], None, None, [text, status], js=FORGET, api_visibility="private")
    transcribe_on(button.click, api_name="transcribe")
    if settings.examples:
        examples = gr.Examples(settings.examples, audio, cache_examples=False, api_visibility="private")
        # Gradio would delete its copies of them with the uploads.
        audio.keep_in_cache.update(audio.temp_files)
        transcribe_on(examples.load_input_event.success, api_visibility="private")


if __name__ == "__main__":
    from escoita.cli import script, space_run

    script(space_run)
