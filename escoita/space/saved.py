"""Keep the last transcription of a tab in the browser, and show it again after the page was reloaded."""

import hashlib
import html
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.space.jobs import Job
from escoita.space.texts import translate, visitor_language
from escoita.utils.formatting import visible


if TYPE_CHECKING:
    import gradio as gr

    from escoita.space.demo import Demo

# Seconds after which the texts in the browser are no longer shown.
SHOWN_SECONDS = 3_600


@dataclass(frozen=True)
class Saved:
    """
    Hold what the browser stores of the last transcription of a tab.

    Args:
        job (`str`, *optional*): The `id` of the job.
        name (`str`, *optional*): The file name of the recording.
        texts (`tuple[str, ...]`, *optional*): The texts so far, one for each model.
        time (`float`, *optional*): The time at which they were stored, in seconds since 1970.
    """

    job: str = ""
    name: str = ""
    texts: tuple[str, ...] = ()
    time: float = 0.0

    @classmethod
    def of(cls, state: object) -> "Saved":
        """Return the fields of a value that a browser sent; a value of another shape has none."""
        values = state if isinstance(state, dict) else {}
        job, name, texts, stored = (values.get(key) for key in ("job", "name", "texts", "time"))
        strings = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        if not (isinstance(job, str) and isinstance(name, str) and strings and isinstance(stored, int | float)):
            return cls()
        return cls(job, name, tuple(texts or ()), stored)

    @property
    def shown(self) -> bool:
        """Whether there are texts that are recent enough to be shown."""
        return any(self.texts) and time.time() - self.time < SHOWN_SECONDS

    def note(self, key: str, language: str) -> str:
        """Return the HTML of a note about these texts, with a line break at its end."""
        return f"{html.escape(translate(key, language, name=visible(self.name)))}<br>"


def when_stored(saved: "gr.BrowserState", private: dict[str, Any]) -> Any:
    """
    Return the trigger of an event that shows a stored transcription again.

    The page of a visitor without one sends nothing through the queue: a request of the visitor that arrives while the
    answer to the previous one is closed may be lost.

    Args:
        saved (`gr.BrowserState`): The component of [`browser_state`].
        private (`dict`): The arguments of events that are not part of the API.
    """
    import gradio as gr
    from gradio.context import Context

    with _outside_of_tabs():
        found = gr.Textbox(visible="hidden")
    if (root := Context.root_block) is not None:
        root.load(None, saved, found, js="(saved) => (saved && saved.job) || ''", **private)
    return found.change


@contextmanager
def _outside_of_tabs() -> Iterator[None]:
    """Add components to the page itself: Gradio mounts those of a tab, and sends their events, when it is opened."""
    from gradio.context import Context

    tab = Context.block
    Context.block = Context.root_block
    try:
        yield
    finally:
        Context.block = tab


def restored(
    demo: "Demo",
    state: object,
    request: "gr.Request",
    follow: Callable[[Job[Any], str, str], Iterator[tuple[Any, ...]]],
    kept: Callable[[tuple[str, ...], str], tuple[Any, ...]],
    models: int = 1,
) -> Iterator[tuple[Any, ...]]:
    """
    Yield the outputs that show a stored transcription again: those of its job, or the stored texts.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        state (`object`): The value that the browser sent; see [`Saved`].
        request (`gr.Request`): The request of the visitor.
        follow (`Callable`): The function that yields the outputs of a job in a language, with a note.
        kept (`Callable`): The function that returns the outputs for stored texts and a note.
        models (`int`, *optional*, defaults to 1): The number of texts, one of each model.
    """
    import gradio as gr

    language, stored = visitor_language(request, demo.settings.languages), Saved.of(state)
    job = demo.jobs.find(stored.job)
    if job is not None:
        key = "status.resumed" if job.ended is None else "status.restored"
        yield from follow(job, language, stored.note(key, language))
    elif stored.shown and len(stored.texts) == models:
        yield kept(stored.texts, stored.note("status.kept", language))
    else:
        yield tuple(gr.skip() for _ in kept(("",) * models, ""))


def stop_job(demo: "Demo", state: object, request: "gr.Request") -> tuple[str, "gr.Button"]:
    """
    Stop the job that the browser stores.

    Returns:
        `tuple[str, gr.Button]`: The line of the status, and the hidden button to stop.
    """
    import gradio as gr

    if (job := demo.jobs.find(Saved.of(state).job)) is not None:
        job.stop()
    language = visitor_language(request, demo.settings.languages)
    return translate("status.stopped", language), gr.Button(visible=False)


def storable(job: Job[Any], texts: Sequence[str] = ()) -> dict[str, Any]:
    """Return the value that the browser stores; see [`Saved`]."""
    return asdict(Saved(job.id, Path(job.recording).name, tuple(texts), time.time()))


def browser_state(demo: "Demo", tab: str) -> "gr.BrowserState":
    """
    Return the component that stores the last transcription of a tab.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo; pages of other models on this machine have other keys.
        tab (`str`): The name of the tab.
    """
    import gradio as gr

    models = "\n".join([demo.base, *demo.adapters.values()])
    key = f"escoita-{tab}-{hashlib.sha256(models.encode()).hexdigest()[:12]}"
    # The texts survive a restart of the server only with a constant secret, which therefore protects nothing.
    with _outside_of_tabs():
        return gr.BrowserState({}, storage_key=key, secret="escoita")  # noqa: S106
