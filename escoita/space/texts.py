"""Choose the language and the texts of the page."""

import json
import re
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
# What refusals are found by, and what a limit within one is.
REFUSALS, TIMES = "refusal.", "time."


@cache
def texts(language: str) -> Mapping[str, str]:
    """
    All words of the page, by their keys; `{name}` stands for a value.

    Args:
        language (`str`): One of `LANGUAGES`.
    """
    words: dict[str, str] = json.loads((resource("space/texts") / f"{language}.json").read_text("utf-8"))
    return words


def say(key: str, language: str = "en", **values: object) -> str:
    """
    One text of the page.

    Args:
        key (`str`): As in `texts/en.json`.
        language (`str`, *optional*, defaults to `"en"`): One of `LANGUAGES`.
        values (*optional*): What its placeholders stand for; not escaped, neither here nor in the text.
    """
    return texts(language)[key].format(**values)


def fields(text: str) -> set[str]:
    """Names of the placeholders of a text."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def spoken_time(seconds: float, language: str = "en") -> str:
    """A length of time as one says it: `30 seconds`, `2 minutes`."""
    amount, unit = (seconds, "second") if seconds < 120 else (seconds / 60, "minute")
    return say(f"{TIMES}{unit}{'' if amount == 1 else 's'}", language, amount=f"{amount:g}")


def refusal(message: str, language: str) -> str:
    """
    A refusal in the language of the visitor.

    Errors are English wherever they are raised, as a command prints them too: so a message is found among the English
    refusals of the page by what stands around its values. One that is not among them stays as it is.

    Args:
        message (`str`): Of an error.
        language (`str`): One of `LANGUAGES`.
    """
    return _translated(message, language, REFUSALS)


def _translated(message: str, language: str, group: str) -> str:
    for key, pattern in _patterns(group):
        if found := pattern.fullmatch(message):
            values = found.groupdict()
            # A limit within a message is itself in words.
            values |= {name: _translated(values[name], language, TIMES) for name in values if name == "time"}
            return say(key, language, **values)
    return message


@cache
def _patterns(group: str) -> list[tuple[str, re.Pattern[str]]]:
    return [(key, _pattern(text)) for key, text in texts("en").items() if key.startswith(group)]


def _pattern(text: str) -> re.Pattern[str]:
    pieces = (
        re.escape(literal) + (f"(?P<{name}>.+?)" if name else "") for literal, name, _, _ in Formatter().parse(text)
    )
    return re.compile("".join(pieces), re.DOTALL)


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
