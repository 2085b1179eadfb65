"""Provide demos and pages of single tabs, on an engine without a model."""

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


class FakeEngine:
    """
    Return a text for each model, two words at a time.

    Args:
        texts (`dict[str | None, str]`): The text of the base (`None`) and of each adapter.
    """

    def __init__(self, texts: dict[str | None, str]):
        self.texts, self.requests, self.closed = texts, list[tuple[str | None, str | None]](), 0

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        prompt_adapter: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        self.requests.append((adapter, prompt_adapter))
        text = self.texts[adapter]
        if text == "fail":
            raise EscoitaError("no memory", path=f"<b>{Path(source).name}</b>")
        if text == "break":
            raise RuntimeError("/srv/secret")
        words = text.split()
        try:
            for count in range(0, len(words), 2):
                yield Partial(" ".join(words[:count]), (), 0.0, 1.0)
            segments = (Segment(0.0, 1.0, text),)
            yield Partial(text, segments, 1.0, 1.0, None, 0.1, Transcript(text, 1.0, 0.5, 3, False, segments))
        finally:
            self.closed += 1


def demo_of(run: Path | None = None, texts: dict[str | None, str] | None = None, **changed: Any) -> Demo:
    """Return a demo with one adapter."""
    engine = FakeEngine(texts or {None: "salem dunya", "uzbek": "salom dunyo"})
    demo = Demo(
        title="Demo",
        base="acme/base",
        revision=None,
        dtype="auto",
        adapters={"uzbek": str(run / "adapter" if run else ROOT / "quickstart")},
        settings=Space(),
        published=RunDirectory(run) if run else None,
        language="uz",
        ready=lambda: engine,
        loading=lambda: False,
    )
    return replace(demo, **changed)


@contextmanager
def opened(demo: Demo, build_tab: Callable[[Demo, Callable[..., Any]], None]) -> Iterator[str]:
    """Serve a page with one tab, and yield its URL."""
    i18n = page_texts(demo.settings.languages, repo=demo.settings.feedback)
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), gr.Tab("Tab"):
        build_tab(demo, lambda key, **values: i18n(key))
    _, address, _ = page.launch(
        theme=theme(),
        css=CSS + differences.CSS + page_about.CSS + page_compare.CSS + page_feedback.CSS,
        i18n=i18n,
        app_kwargs={"middleware": [Middleware(AcceptLanguage)]},
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
    )
    yield str(address)
    page.close(verbose=False)
