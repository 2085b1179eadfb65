"""From the file of a visitor to text that grows, within the limits of the page; what goes wrong is a message."""

import html
import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from escoita.errors import AudioError, BusyError, EscoitaError, ShareError
from escoita.inference.fairness import Client, anyone
from escoita.inference.streaming import Partial
from escoita.space.recording import check_limits, page_words
from escoita.space.texts import refusal, say, spoken_time


if TYPE_CHECKING:
    from escoita.space.demo import Demo


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
        raise AudioError(Path(error.name).name, error.reason) from error
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
