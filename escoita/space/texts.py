"""Choose the language and the texts of the page."""

import json
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from string import Formatter
from typing import TYPE_CHECKING, Any, get_args

from escoita.recipe.schema import PageLanguage
from escoita.resources import resource


if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Receive, Scope, Send


LANGUAGES: tuple[str, ...] = get_args(PageLanguage)
# The groups of texts that Gradio shows itself.
GRADIO = ("upload_text", "common", "audio", "blocks")


@cache
def texts(language: str) -> Mapping[str, str]:
    """
    Return all texts of the page, by their keys; `{name}` is a placeholder. The keys of the groups [`GRADIO`] are those
    of Gradio, which has no Galician texts.

    Args:
        language (`str`): One of `LANGUAGES`.
    """
    by_key: dict[str, str] = json.loads((resource("space/texts") / f"{language}.json").read_text("utf-8"))
    return by_key


def translate(key: str, language: str = "en", **values: object) -> str:
    """
    Return a text of the page.

    Args:
        key (`str`): A key of `texts/en.json`.
        language (`str`, *optional*, defaults to `"en"`): One of `LANGUAGES`.
        values (`object`): The values of the placeholders; neither they nor the text are escaped.
    """
    return texts(language)[key].format(**values)


def placeholders(text: str) -> set[str]:
    """Return the names of the placeholders of a text."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def format_time(seconds: float, language: str = "en") -> str:
    """Return a duration in words: `30 seconds`, `2 minutes`."""
    amount, unit = (seconds, "second") if seconds < 120 else (seconds / 60, "minute")
    return translate(f"time.{unit}{'' if amount == 1 else 's'}", language, amount=f"{amount:g}")


# The language whose texts Gradio shows if it has none in the language of the browser.
FALLBACK = "en"
_accept_language: ContextVar[str | None] = ContextVar("accept_language", default=None)


def preferred_language(accept_language: str | None, offered: Sequence[str]) -> str:
    """
    Return the language of the page for a visitor.

    Args:
        accept_language (`str`, *optional*): The header Accept-Language, `gl-ES,gl;q=0.9,en;q=0.5` (RFC 9110, section
            12.5.4).
        offered (`Sequence[str]`): The `space.languages` of the recipe.

    Returns:
        `str`: The offered language with the highest weight; the first offered one if the header has none of them.
    """
    best, highest = offered[0], 0.0
    for part in (accept_language or "").split(","):
        tag, _, quality = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in offered and (weight := _weight(quality)) > highest:
            best, highest = language, weight
    return best


def visitor_language(request: "gr.Request", offered: Sequence[str]) -> str:
    """Return the [`preferred_language`] of the visitor who sent a request."""
    return preferred_language(request.headers.get("accept-language"), offered)


def request_language(offered: Sequence[str]) -> str:
    """Return the [`preferred_language`] of the request that is being answered; see [`AcceptLanguage`]."""
    return preferred_language(_accept_language.get(), offered)


def _weight(quality: str) -> float:
    _, _, number = quality.partition("=")
    try:
        return float(number) if quality.strip() else 1.0
    except ValueError:
        return 0.0


class AcceptLanguage:
    """
    Store the header Accept-Language for the duration of a request (middleware).

    Args:
        app (`ASGIApp`): The application.

    Example:

    ```python
    page.launch(app_kwargs={"middleware": [Middleware(AcceptLanguage)]}, i18n=page_texts(["en", "gl"]))
    ```
    """

    def __init__(self, app: "ASGIApp"):
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        headers = dict(scope.get("headers", []))
        token = _accept_language.set(headers.get(b"accept-language", b"").decode("latin-1"))
        try:
            await self.app(scope, receive, send)
        finally:
            _accept_language.reset(token)


class VisitorTexts(dict[str, Mapping[str, str]]):
    """
    Hold the texts by language that Gradio sends with the page.

    Gradio copies them for each request. In the copy, `FALLBACK` is the language of the visitor.

    Args:
        by_language (`dict[str, Mapping[str, str]]`): The texts of each offered language, the default language first.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Mapping[str, str]]:
        return {**self, FALLBACK: self[request_language(list(self))]}


def page_texts(offered: Sequence[str], **values: object) -> "gr.I18n":
    """
    Return the texts of the page for Gradio, which shows `i18n("tab.about")` in the visitor's language.

    Args:
        offered (`Sequence[str]`): The `space.languages` of the recipe.
        values (`object`): Values of placeholders, the same for all visitors. A text with further placeholders is
            left as it is; [`translate`] fills it in.
    """
    import gradio as gr

    def filled(text: str) -> str:
        return text.format(**values) if placeholders(text) <= values.keys() else text

    i18n = gr.I18n()
    i18n.translations = VisitorTexts(
        {language: {key: filled(text) for key, text in texts(language).items()} for language in offered}
    )
    return i18n
