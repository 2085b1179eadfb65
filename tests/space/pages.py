"""A page of single tabs, on a listener without a model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from escoita.errors import EscoitaError
from escoita.inference.fairness import Client
from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.records.transcript import Segment, Transcript
from escoita.run_directory import RunDirectory
from escoita.space import differences
from escoita.space.demo import Demo
from escoita.space.tabs import about as page_about
from escoita.space.tabs import compare as page_compare
from escoita.space.tabs import feedback as page_feedback
from escoita.space.texts import AcceptLanguage, page_texts
from escoita.space.theme import CSS, theme
from tests.space.stub import ROOT


class ValidationSet:
    """
    Says two words at a time, which hang on the model that is asked.

    Args:
        heard (`dict[str | None, str]`): What the base (`None`) and each adapter hear.
    """

    def __init__(self, heard: dict[str | None, str]):
        self.heard, self.asked, self.closed = heard, list[tuple[str | None, str | None]](), 0

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        beside: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        self.asked.append((adapter, beside))
        text = self.heard[adapter]
        if text == "fail":
            raise EscoitaError(f"<b>{Path(source).name}</b>: nothing doing")
        if text == "break":
            raise RuntimeError("a secret place")
        words = text.split()
        try:
            for count in range(0, len(words), 2):
                yield Partial(" ".join(words[:count]), (), 0.0, 1.0)
            segments = (Segment(0.0, 1.0, text),)
            yield Partial(text, segments, 1.0, 1.0, None, 0.1, Transcript(text, 1.0, 0.5, 3, False, segments))
        finally:
            self.closed += 1


def about_what(run: Path | None = None, heard: dict[str | None, str] | None = None, **changed: Any) -> Demo:
    """A demo of one adapter."""
    listening = ValidationSet(heard or {None: "salem dunya", "uzbek": "salom dunyo"})
    demo = Demo(
        title="Demo",
        base="acme/base",
        revision=None,
        dtype="auto",
        adapters={"uzbek": str(run / "adapter" if run else ROOT / "quickstart")},
        settings=Space(),
        published=RunDirectory(run) if run else None,
        language="uz",
        ready=lambda: listening,
        loading=lambda: False,
    )
    return replace(demo, **changed)


@contextmanager
def opened(demo: Demo, lay_out: Callable[[Demo, Callable[..., Any]], None]) -> Iterator[str]:
    """Serves one tab; its address."""
    made = page_texts(demo.settings.languages, repo=demo.settings.feedback)
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), gr.Tab("Tab"):
        lay_out(demo, lambda key, **values: made(key))
    _, address, _ = page.launch(
        theme=theme(),
        css=CSS + differences.CSS + page_about.CSS + page_compare.CSS + page_feedback.CSS,
        i18n=made,
        app_kwargs={"middleware": [Middleware(AcceptLanguage)]},
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
    )
    yield str(address)
    page.close(verbose=False)
