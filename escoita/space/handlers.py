"""Handle what visitors send: limits, uploads, and text that grows."""

import html
import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from escoita.errors import AudioError, BusyError, EscoitaError, ShareError
from escoita.inference.fairness import Client, anyone
from escoita.inference.streaming import Partial
from escoita.records.transcript import Transcript
from escoita.space.client_limits import HEADER, Clients, check_limits, page_words
from escoita.space.texts import refusal, say, spoken_time


if TYPE_CHECKING:
    import gradio as gr

    from escoita.space.demo import Demo


@dataclass
class Transcribed:
    """
    A recording that was transcribed in this session.

    Args:
        recording (`str`): The file.
        transcript ([`~escoita.records.transcript.Transcript`]): The result.
        drawn (`bool`, *optional*, defaults to `False`): Whether its waveform was drawn.
        corrected (`bool`, *optional*, defaults to `False`): Whether a correction of it was taken.
    """

    recording: str
    transcript: Transcript
    drawn: bool = False
    corrected: bool = False


def require_transcribed(transcribed: Transcribed | None, recording: str | None) -> Transcribed:
    """
    Checks that a session has transcribed a recording, and has not corrected it yet.

    Raises:
        EscoitaError: It has not, or it has.
    """
    if transcribed is None or transcribed.recording != recording:
        raise EscoitaError(say("refusal.not_heard"))
    if transcribed.corrected:
        raise EscoitaError(say("refusal.corrected"))
    return transcribed


def refuse_addresses(page: "gr.Blocks") -> None:
    """
    Keeps a page from fetching files from other machines.

    Gradio refuses paths of the machine that it runs on, but fetches what an API call names by its address. Each
    component is asked before it takes a file: there an address is refused.

    Args:
        page (`gr.Blocks`): Laid out.
    """
    from gradio.components import Component

    for block in page.blocks.values():
        if isinstance(block, Component):
            _guard(block)


def delete_what_models_send(page: "gr.Blocks", clients: Clients) -> None:
    """
    Has recordings that come over the Model Context Protocol counted and deleted as uploads are.

    Gradio writes such a recording to a file before it uploads it to itself, and forgets that file. It uploads it
    without saying for whom; so it is counted here, and not as an upload of this machine.

    Args:
        page (`gr.Blocks`): Launched; nothing is done where it has no MCP server.
        clients ([`~escoita.space.client_limits.Clients`]): Counts them.
    """
    server: Any = page.mcp_server_obj
    if server is None:
        return
    convert, connect = server.convert_strings_to_filedata, server._get_or_create_client
    inner = clients.header(Client("mcp", None))

    def converted(value: Any, positions: list[list[str | int]]) -> Any:
        given = convert(value, positions)
        files = [each["path"] for each in given.values() if isinstance(each, dict) and "path" in each]
        page.upload_file_set.update(files)
        client = clients.known(server.mcp_server.request_context.request.headers)
        for path in map(Path, files):
            if client is not None and path.is_file():
                clients.take_upload(client, path.stat().st_size)
        return given

    def connected() -> Any:
        connection = connect()
        connection.headers[HEADER] = inner
        return connection

    server.convert_strings_to_filedata, server._get_or_create_client = converted, connected


def _guard(block: "gr.components.Component") -> None:
    import gradio as gr
    from gradio_client.utils import is_http_url_like

    take = block.async_move_resource_to_block_cache

    async def guarded(source: str | Path | None) -> str | None:
        if source is not None and is_http_url_like(str(source)):
            raise gr.Error(say("refusal.address"), duration=None, print_exception=False)
        path: str | None = await take(source)
        return path

    block.async_move_resource_to_block_cache = guarded


def listen(
    demo: "Demo",
    recording: str | None,
    adapter: str | None,
    beside: str | None = None,
    seconds: float | None = None,
    client: Client | None = None,
) -> Iterator[Partial]:
    """
    Hears a recording.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        recording (`str`, *optional*): As the visitor sent it; none when the visitor sent none.
        adapter (`str`, *optional*): Its name; the base alone unless given.
        beside (`str`, *optional*): Where the base is alone, the adapter whose prompt it is told.
        seconds (`float`, *optional*): Most that listening may take from now on; `max_seconds` of the recipe unless
            given.
        client ([`~escoita.inference.fairness.Client`], *optional*): Who asks.

    Returns:
        `Iterator[Partial]`: What is known so far; closing it gives the place in the line free.

    Raises:
        EscoitaError: In the page's English words; it names the file without the folder it was put into.
    """
    if recording is None:
        raise EscoitaError(say("refusal.nothing"))
    check_limits(Path(recording), demo.settings)
    client = client or anyone()
    if demo.loading():  # there is no queue yet in which to wait
        try:
            with demo.clients.loading.take(client, demo.settings.max_queue):
                demo.ready()
        except BusyError as error:
            raise _refused(error, demo) from error
    engine = demo.ready()
    limit = demo.settings.max_seconds
    ends = time.monotonic() + (limit if seconds is None else seconds)
    try:
        stream = cast(Generator[Partial, None, None], engine.stream(recording, adapter, beside, client))
        with page_words(demo.settings), closing(stream) as partials:
            for partial in partials:
                yield partial
                if partial.transcript is None and time.monotonic() > ends:
                    raise EscoitaError(say("refusal.time", time=spoken_time(limit)))
    except AudioError as error:
        raise AudioError(error.problem, path=Path(str(error.path)).name) from error
    except BusyError as error:
        raise _refused(error, demo) from error


def _refused(error: BusyError, demo: "Demo") -> EscoitaError:
    if isinstance(error, ShareError):
        return EscoitaError(say("refusal.share"))
    return EscoitaError(say("refusal.queue_full", size=error.waiting or demo.settings.max_queue))


@contextmanager
def messages(language: str) -> Iterator[None]:
    """
    Turns errors into messages in the page.

    Args:
        language (`str`): Of the visitor.

    Raises:
        gr.Error: Escaped, as the page shows messages as HTML, and a file may be called anything. Of a defect of ours
            the visitor is told no more than that there is one.
    """
    import gradio as gr

    try:
        yield
    except gr.Error:
        raise
    except EscoitaError as error:
        shown = html.escape(refusal(str(error), language), quote=False)
        raise gr.Error(shown, duration=None, print_exception=False) from error
    except Exception as error:
        logging.getLogger(__name__).exception("a defect")
        raise gr.Error(say("refusal.internal", language), duration=None, print_exception=False) from error
