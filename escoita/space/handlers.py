"""Handle the requests of visitors: limits, uploads, and streamed text."""

import html
import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from escoita.errors import BusyError, EscoitaError, ShareError
from escoita.inference.fairness import Client, anyone
from escoita.inference.streaming import Partial
from escoita.records.transcript import Transcript
from escoita.space.client_limits import HEADER, Clients, check_limits
from escoita.space.refusals import Refusal, ShareRefusal, refusal, translatable
from escoita.space.texts import translate


if TYPE_CHECKING:
    import gradio as gr

    from escoita.space.demo import Demo


@dataclass
class Transcribed:
    """
    Store a recording that was transcribed in this session.

    Args:
        recording (`str`): The path of the recording.
        transcript ([`~escoita.records.transcript.Transcript`]): The result.
        drawn (`bool`, *optional*, defaults to `False`): Whether its waveform was drawn.
        corrected (`bool`, *optional*, defaults to `False`): Whether a correction of it was stored.
    """

    recording: str
    transcript: Transcript
    drawn: bool = False
    corrected: bool = False


def require_transcribed(transcribed: Transcribed | None, recording: str | None) -> Transcribed:
    """
    Check that a session has transcribed a recording, and has not corrected it.

    Args:
        transcribed ([`Transcribed`], *optional*): The last transcribed recording of the session.
        recording (`str`, *optional*): The path of the recording to correct.

    Raises:
        Refusal: The recording was not transcribed, or the transcript is already corrected.
    """
    if transcribed is None or transcribed.recording != recording:
        raise Refusal("not_transcribed")
    if transcribed.corrected:
        raise Refusal("corrected")
    return transcribed


def refuse_addresses(page: "gr.Blocks") -> None:
    """
    Prevent a page from downloading files from URLs.

    Gradio refuses paths of the server, but downloads a URL that an API call names. Each component handles a file
    before it is used: this step refuses URLs.

    Args:
        page (`gr.Blocks`): The page with all its components.
    """
    from gradio.components import Component

    for block in page.blocks.values():
        if isinstance(block, Component):
            _guard(block)


def delete_what_models_send(page: "gr.Blocks", clients: Clients) -> None:
    """
    Count and delete recordings that arrive over the Model Context Protocol like uploads.

    Gradio writes such a recording to a file before it uploads it to itself, and never deletes that file. The upload
    does not name the client; therefore the recording is counted here, and the upload is not counted.

    Args:
        page (`gr.Blocks`): The launched page; without an MCP server it is not changed.
        clients ([`~escoita.space.client_limits.Clients`]): The counters of the clients.
    """
    server: Any = page.mcp_server_obj
    if server is None:
        return
    convert, connect = server.convert_strings_to_filedata, server._get_or_create_client
    inner = clients.header(Client("mcp", None))

    def convert_and_count(value: Any, positions: list[list[str | int]]) -> Any:
        arguments = convert(value, positions)
        files = [each["path"] for each in arguments.values() if isinstance(each, dict) and "path" in each]
        page.upload_file_set.update(files)
        client = clients.known(server.mcp_server.request_context.request.headers)
        for path in map(Path, files):
            if client is not None and path.is_file():
                clients.take_upload(client, path.stat().st_size)
        return arguments

    def connect_with_header() -> Any:
        connection = connect()
        connection.headers[HEADER] = inner
        return connection

    server.convert_strings_to_filedata, server._get_or_create_client = convert_and_count, connect_with_header


def _guard(block: "gr.components.Component") -> None:
    import gradio as gr
    from gradio_client.utils import is_http_url_like

    move = block.async_move_resource_to_block_cache

    async def move_unless_url(source: str | Path | None) -> str | None:
        if source is not None and is_http_url_like(str(source)):
            raise gr.Error(translate("refusal.address"), duration=None, print_exception=False)
        path: str | None = await move(source)
        return path

    block.async_move_resource_to_block_cache = move_unless_url


def transcribe_recording(
    demo: "Demo",
    recording: str | None,
    adapter: str | None,
    prompt_adapter: str | None = None,
    seconds: float | None = None,
    client: Client | None = None,
) -> Generator[Partial, None, None]:
    """
    Transcribe a recording, within the limits of the page.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        recording (`str`, *optional*): The upload of the visitor, if there is one.
        adapter (`str`, *optional*): The name of the adapter; without it the base is used.
        prompt_adapter (`str`, *optional*): The name of the adapter whose prompt the base gets.
        seconds (`float`, *optional*): The time limit in seconds. Defaults to `max_seconds` of the recipe.
        client ([`~escoita.inference.fairness.Client`], *optional*): The sender of the request.

    Returns:
        `Generator[Partial, None, None]`: The partial results; closing the iterator releases the place in the queue.

    Raises:
        EscoitaError: The request fails; a [`~escoita.space.refusals.Refusal`] if the page has a text for the reason.
            An error of a recording has its file name without the folder.
    """
    if recording is None:
        raise Refusal("no_recording")
    check_limits(Path(recording), demo.settings)
    client = client or anyone()
    if demo.loading():  # the queue of the engine does not exist yet
        try:
            with demo.clients.loading.take(client, demo.settings.max_queue):
                demo.ready()
        except BusyError as error:
            raise _busy_refusal(error, demo) from error
    engine = demo.ready()
    limit = demo.settings.max_seconds
    deadline = time.monotonic() + (limit if seconds is None else seconds)
    try:
        stream = cast(Generator[Partial, None, None], engine.stream(recording, adapter, prompt_adapter, client))
        with translatable(demo.settings), closing(stream) as partials:
            for partial in partials:
                yield partial
                if partial.transcript is None and time.monotonic() > deadline:
                    raise Refusal("time", time=limit)
    except BusyError as error:
        raise _busy_refusal(error, demo) from error


def _busy_refusal(error: BusyError, demo: "Demo") -> Refusal:
    if isinstance(error, ShareError):
        return ShareRefusal("share")
    return Refusal("queue_full", size=error.waiting or demo.settings.max_queue)


def message_of(error: Exception, language: str) -> str:
    """
    Return the message of an error, as HTML. The details of an internal error are logged and not shown.

    Args:
        error (`Exception`): The error.
        language (`str`): The language of the visitor.
    """
    if isinstance(error, EscoitaError):
        return html.escape(refusal(error, language), quote=False)
    logging.getLogger(__name__).error("internal error", exc_info=error)
    return translate("refusal.internal", language)


def error_line(error: Exception, language: str) -> str:
    """Return the HTML of an error for the status line of a tab, where it covers nothing; see [`message_of`]."""
    return f'<strong class="error" role="alert">{message_of(error, language)}</strong>'


@contextmanager
def messages(language: str) -> Iterator[None]:
    """
    Answer calls of the API with the message of an error.

    Args:
        language (`str`): The language of the visitor.

    Raises:
        gr.Error: The message, escaped because Gradio shows it as HTML.
    """
    import gradio as gr

    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(message_of(error, language), duration=None, print_exception=False) from error
