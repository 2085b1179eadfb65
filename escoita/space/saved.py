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
    from gradio.components import Component

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
        models (`tuple[str, ...]`, *optional*): The names of the models, if the visitor chooses them.
        time (`float`, *optional*): The time at which they were stored, in seconds since 1970.
    """

    job: str = ""
    name: str = ""
    texts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    time: float = 0.0

    @classmethod
    def of(cls, state: object) -> "Saved":
        """Return the fields of a value that a browser sent; a value of another shape has none."""
        values = state if isinstance(state, dict) else {}
        job, name, stored = (values.get(key) for key in ("job", "name", "time"))
        texts, models = (_strings(values.get(key)) for key in ("texts", "models"))
        if not (isinstance(job, str) and isinstance(name, str) and isinstance(stored, int | float)):
            return cls()
        return cls(job, name, texts, models, stored)

    @property
    def shown(self) -> bool:
        """Whether there are texts that are recent enough to be shown."""
        return any(self.texts) and time.time() - self.time < SHOWN_SECONDS

    def note(self, key: str, language: str) -> str:
        """Return the HTML of a note about these texts, with a line break at its end."""
        return f"{html.escape(translate(key, language, name=visible(self.name)))}<br>"


def _strings(value: object) -> tuple[str, ...]:
    """Return the strings of a list; nothing if it is another value, or has other items."""
    return tuple(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else ()


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


def add_restore(
    demo: "Demo",
    saved: "gr.BrowserState",
    follow: Callable[[Job[Any], str, str], Iterator[tuple[Any, ...]]],
    outputs: Sequence["Component"],
    texts: Sequence["Component"],
    status: "Component",
    private: dict[str, Any],
    choices: Sequence["gr.Dropdown"] = (),
    **queue: Any,
) -> Any:
    """
    Add the event that shows a stored transcription again: the outputs of its job, or the stored texts.

    The page of a visitor without one sends nothing through the queue: a request of the visitor that arrives while the
    answer to the previous one is closed may be lost.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        saved (`gr.BrowserState`): The component of [`browser_state`].
        follow (`Callable`): The function that yields the outputs of a job in a language, with a note.
        outputs (`Sequence[Component]`): The components of these outputs.
        texts (`Sequence[Component]`): The components of the texts, one of each model.
        status (`Component`): The component of the status.
        private (`dict`): The arguments of events that are not part of the API.
        choices (`Sequence[gr.Dropdown]`, *optional*): The components that choose the models.
        queue (`Any`): The arguments of events that wait for the model.

    Returns:
        The event.
    """
    import gradio as gr
    from gradio.context import Context

    names = {name for choice in choices for _, name in choice.choices}

    def restore(state: object, request: gr.Request) -> Iterator[dict[Any, Any]]:
        language, stored = visitor_language(request, demo.settings.languages), Saved.of(state)
        job = demo.jobs.find(stored.job)
        if len(stored.models) == len(choices) and set(stored.models) <= names:
            yield {status: gr.skip(), **dict(zip(choices, stored.models, strict=True))}
        if job is not None:
            key = "status.resumed" if job.ended is None else "status.restored"
            for values in follow(job, language, stored.note(key, language)):
                yield dict(zip(outputs, values, strict=True))
        elif stored.shown and len(stored.texts) == len(texts):
            yield {status: stored.note("status.kept", language), **dict(zip(texts, stored.texts, strict=True))}

    with _outside_of_tabs():
        found = gr.Textbox(visible="hidden")
    if (root := Context.root_block) is not None:
        root.load(None, saved, found, js="(saved) => (saved && saved.job) || ''", **private)
    return found.change(restore, saved, [*outputs, *choices], **queue, **private)


def add_stop(
    demo: "Demo",
    saved: "gr.BrowserState",
    stop: "gr.Button",
    status: "Component",
    events: Sequence[Any],
    private: dict[str, Any],
) -> None:
    """
    Add the event of the button that stops the job that the browser stores.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        saved (`gr.BrowserState`): The component of [`browser_state`].
        stop (`gr.Button`): The button.
        status (`Component`): The component of the status.
        events (`Sequence`): The events that show a job.
        private (`dict`): The arguments of events that are not part of the API.
    """
    import gradio as gr

    def stopped(state: object, request: gr.Request) -> tuple[str, gr.Button]:
        if (job := demo.jobs.find(Saved.of(state).job)) is not None:
            job.stop()
        return translate("status.stopped", visitor_language(request, demo.settings.languages)), gr.Button(
            visible=False
        )

    stop.click(stopped, saved, [status, stop], cancels=events, queue=False, **private)


def storable(job: Job[Any], texts: Sequence[str] = (), models: Sequence[str] = ()) -> dict[str, Any]:
    """Return the value that the browser stores; see [`Saved`]."""
    return asdict(Saved(job.id, Path(job.recording).name, tuple(texts), tuple(models), time.time()))


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
