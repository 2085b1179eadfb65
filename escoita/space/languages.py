"""
Which language the page speaks to a visitor: the one that the browser asks for.

Gradio looks texts of a page up in the browser, by keys (`gr.I18n`). It does so only in the languages in which it has
its own buttons (Uzbek is one, Galician is not), and else in English. So what it finds under English is here, for each
visitor, the texts in the language that the browser asks for. Gradio's own buttons stay as it has them.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from escoita.space.texts import fields, texts


if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Receive, Scope, Send


# Where Gradio looks last.
FALLBACK = "en"
_asked: ContextVar[str | None] = ContextVar("asked", default=None)


def language_of(asked: str | None, offered: Sequence[str]) -> str:
    """
    The language in which a visitor is spoken to.

    Args:
        asked (`str`, *optional*): The header Accept-Language, `gl-ES,gl;q=0.9,en;q=0.5` (RFC 9110, section 12.5.4).
        offered (`Sequence[str]`): As `space.languages` of the recipe says.

    Returns:
        `str`: The first of those that are asked for most; the first that is offered where none of them is.
    """
    best, weight = offered[0], 0.0
    for part in (asked or "").split(","):
        tag, _, quality = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in offered and (wanted := _weight(quality)) > weight:
            best, weight = language, wanted
    return best


def visitor_language(request: "gr.Request", offered: Sequence[str]) -> str:
    """[`language_of`] of who sent a request."""
    return language_of(request.headers.get("accept-language"), offered)


def _weight(quality: str) -> float:
    _, _, figure = quality.partition("=")
    try:
        return float(figure) if quality.strip() else 1.0
    except ValueError:
        return 0.0


class AcceptLanguage:
    """
    Middleware that keeps what the browser asks for at hand while a request is answered.

    Example:

    ```python
    page.launch(app_kwargs={"middleware": [Middleware(AcceptLanguage)]}, i18n=page_texts(["en", "gl"]))
    ```
    """

    def __init__(self, app: "ASGIApp"):
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        headers = dict(scope.get("headers", []))
        token = _asked.set(headers.get(b"accept-language", b"").decode("latin-1"))
        try:
            await self.app(scope, receive, send)
        finally:
            _asked.reset(token)


class TextsOfVisitor(dict[str, Mapping[str, str]]):
    """
    Texts by language as Gradio sends them with the page; copied for each request, under `FALLBACK` the visitor's own.

    Args:
        by_language (`dict[str, Mapping[str, str]]`): Texts of each language that is offered, the first one's first.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Mapping[str, str]]:
        return {**self, FALLBACK: self[language_of(_asked.get(), list(self))]}


def page_texts(offered: Sequence[str], **values: object) -> "gr.I18n":
    """
    The texts of the page for Gradio, which shows `i18n("tab.about")` in the visitor's language.

    Args:
        offered (`Sequence[str]`): As `space.languages` of the recipe says.
        values (*optional*): What placeholders stand for, the same for all visitors. A text that has others as well
            cannot be shown by its key: it is said by [`~escoita.space.texts.say`].
    """
    import gradio as gr

    def filled(text: str) -> str:
        return text.format(**values) if fields(text) <= values.keys() else text

    made = gr.I18n()
    made.translations = TextsOfVisitor(
        {language: {key: filled(text) for key, text in texts(language).items()} for language in offered}
    )
    return made
