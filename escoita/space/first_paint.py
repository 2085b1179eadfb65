"""Put the texts of the page into its initial HTML, in the language of the visitor."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from escoita.space.client_limits import limits
from escoita.space.tabs import about, api
from escoita.space.tabs.transcribe import first_settings_line
from escoita.space.texts import format_time, preferred_language, request_language, translate
from escoita.space.theme import heading, lead
from escoita.space.uploads import upload_texts


if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from escoita.space.demo import Demo

# A function that returns HTML in a language of the page.
Text = Callable[[str], str]
# The start of the element into which Gradio builds the page.
APP = b"<gradio-app"
LANGUAGE = re.compile(rb'(<html[^>]*?\blang=")[^"]*')


def introduction(demo: "Demo", life: float) -> Text:
    """
    Return the function that returns the introduction.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        life (`float`): The time until recordings are deleted, in seconds.
    """

    def text(language: str) -> str:
        words = limits(demo.settings, language), format_time(life, language)
        text = lead(*words, demo.base, list(demo.adapters.values()), language, demo.other_base)
        return text + upload_texts(demo.settings, language)

    return text


def loading_notice(demo: "Demo") -> Text:
    """Return the function that returns the notice that the model is loading, or an empty text."""
    return lambda language: translate("status.loading", language) if demo.loading() else ""


def initial_values(demo: "Demo", life: float) -> dict[str, Text]:
    """
    Return the initial values of the components whose text depends on the language, by `elem_id`.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        life (`float`): The time until recordings are deleted, in seconds.
    """
    return {
        "lead": introduction(demo, life),
        "notice": loading_notice(demo),
        "api": lambda language: api.api_examples(demo, language),
        "about": lambda language: about.about(demo, language),
        "generation-settings": lambda language: first_settings_line(demo, language),
    }


def set_initial_values(page: "gr.Blocks", values: Mapping[str, Text], offered: Sequence[str]) -> None:
    """
    Let Gradio send the initial values with the page, so that no event has to run first.

    Args:
        page (`gr.Blocks`): The launched page.
        values (`Mapping[str, Text]`): The functions that return the values, by `elem_id`.
        offered (`Sequence[str]`): The `space.languages` of the recipe.
    """
    components: list[dict[str, Any]] = page.config["components"]
    for component in components:
        if (text := values.get(component["props"].get("elem_id"))) is not None:
            component["props"]["value"] = VisitorValue(text, offered)


class VisitorValue:
    """
    Hold a value of a component; Gradio copies it for each request, and the copy is in the language of the visitor.

    Args:
        text (`Text`): The function that returns the value.
        offered (`Sequence[str]`): The `space.languages` of the recipe.
    """

    def __init__(self, text: Text, offered: Sequence[str]):
        self.text, self.offered = text, offered

    def __deepcopy__(self, memo: dict[int, Any]) -> str:
        return self.text(request_language(self.offered))


def static_page(demo: "Demo", life: float, language: str) -> str:
    """
    Return the HTML that a browser shows until its scripts have built the page, and without scripts.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        life (`float`): The time until recordings are deleted, in seconds.
        language (`str`): The language of the visitor.
    """
    notice = html.escape(loading_notice(demo)(language) or translate("page.opening", language))
    return (
        f'<style>{CSS}</style><div class="first-paint" lang="{language}">'
        f"{heading(demo.title)}{introduction(demo, life)(language)}"
        f'<p role="status">{notice}</p>'
        f"<noscript>{about.about(demo, language, plots=False)}</noscript></div>"
    )


class FirstPaint:
    """
    Add [`static_page`] to the HTML of the page (middleware).

    Args:
        app (`ASGIApp`): The application.
        text (`Text`): The function that returns the HTML.
        languages (`Sequence[str]`): The languages of the page.
    """

    def __init__(self, app: "ASGIApp", text: Text, languages: Sequence[str]):
        self.app, self.text, self.languages = app, text, languages

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        accepted = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
        language = preferred_language(accepted, self.languages)
        start: Message | None = None
        body = b""

        async def send_with_text(message: "Message") -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body") or start is None:
                return
            if APP in body:
                text = self.text(language).encode("utf-8", "replace")
                body = LANGUAGE.sub(rb"\g<1>" + language.encode(), body, count=1).replace(APP, text + APP, 1)
            headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, send_with_text)


# The text disappears as soon as the page has the same text. Until then Gradio covers the window with its own notice.
CSS = (
    """
.first-paint { font: 1.05rem/1.5 system-ui, sans-serif; width: min(46rem, 100% - 2rem); box-sizing: border-box;
    margin: 0 auto; padding: 1.5rem 0; overflow-wrap: anywhere; }
.first-paint h1 { font-size: 1.6rem; line-height: 1.25; font-weight: 650; margin: 0 0 1rem; }
.first-paint p { margin: 0 0 .3rem; }
.first-paint p.models { font-size: .9rem; opacity: .8; }
body:has(#lead .models) .first-paint { display: none; }
body:has(.first-paint):not(:has(#lead .models)) gradio-app { visibility: hidden; }
"""
    + about.CSS
)
