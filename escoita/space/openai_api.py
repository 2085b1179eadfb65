"""Serve OpenAI's API for transcription next to the page, within the limits of the page."""

from typing import TYPE_CHECKING

from escoita.hub.files import adapter_record
from escoita.inference.fairness import Client
from escoita.serve.app import routes
from escoita.serve.auth import read_keys
from escoita.serve.errors import ApiError
from escoita.serve.service import Service
from escoita.space.theme import short_name


if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from escoita.space.demo import Demo

CODES = {413: "file_too_large", 429: "rate_limit_exceeded"}


def api_routes(demo: "Demo") -> "list[Route]":
    """
    Return the routes below `/v1` for the models of a page; an empty list if the API is disabled.

    Clients need no key, unless the variable `ESCOITA_API_KEYS` is set.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.

    Raises:
        EscoitaError: An adapter cannot be read, or a key is too short.
    """
    if not demo.settings.api:
        return []

    def client(request: "Request") -> Client:
        known = demo.clients.known(request.headers)
        return known or Client(demo.clients.address(request.client.host if request.client else "", []), None)

    languages = {name: adapter_record(source).language for name, source in demo.adapters.items()}
    service = Service(
        short_name(demo.base),
        languages,
        demo.settings,
        demo.ready,
        demo.loading,
        client_of=client,
        keys=read_keys(None),
    )
    return routes(service)


class ApiErrors:
    """
    Convert refusals of the page to the error objects of OpenAI's API for requests to that API.

    Args:
        app (`ASGIApp`): The page, with the middleware that refuses requests.
    """

    def __init__(self, app: "ASGIApp"):
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handle a request of the server."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        refusal: Message | None = None
        text = b""

        async def sent(message: "Message") -> None:
            nonlocal refusal, text
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                plain = headers.get(b"content-type", b"").startswith(b"text/plain")
                refusal = message if message["status"] in CODES and plain else None
                if refusal is None:
                    await send(message)
                return
            if refusal is None:
                await send(message)
                return
            text += message.get("body", b"")
            if not message.get("more_body"):
                retry = dict(refusal["headers"]).get(b"retry-after", b"")
                status = refusal["status"]
                error = ApiError(status, text.decode(), CODES[status], retry_after=int(retry) if retry else None)
                await error.response()(scope, receive, send)

        await self.app(scope, receive, sent)
