"""Middleware in front of Gradio: who asks, and whether it has sent too much already."""

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from escoita.errors import ShareError
from escoita.inference.fairness import Client
from escoita.space.clients import CALL_WINDOW, HEADER, MEGABYTE, WINDOW, Clients
from escoita.space.languages import language_of
from escoita.space.texts import refusal


if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes of a form around the file in it, and of a request that holds no recording.
FORM_BYTES, CALL_BYTES = 64 * 1024, MEGABYTE
# What a recording grows by as text, over the Model Context Protocol.
BASE64 = 4 / 3


class TooLargeError(Exception):
    """A body is larger than what is taken; its length was not declared."""


class Gate:
    """
    Tells the page who asks, and refuses what is too much before it is read.

    Args:
        app (`ASGIApp`): What is asked.
        clients ([`~escoita.space.clients.Clients`]): Counts what each client sends.
        max_megabytes (`float`): The largest recording.
        languages (`Sequence[str]`): Of the page.
    """

    def __init__(self, app: "ASGIApp", clients: Clients, max_megabytes: float, languages: Sequence[str]):
        self.app, self.clients, self.languages = app, clients, languages
        self.max_bytes = int(max_megabytes * MEGABYTE)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """See [`Gate`]."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        inner = self.clients.known({HEADER: headers.get(HEADER.encode(), "")})
        client = inner or self._client(scope, headers)
        scope["headers"] = [
            *(each for each in scope["headers"] if each[0] != HEADER.encode()),
            (HEADER.encode(), self.clients.header(client).encode("latin-1", "replace")),
        ]
        form, size = headers.get(b"content-type", "").lower().startswith("multipart/"), 0
        if scope["method"] == "POST":
            most = self._most(scope["path"], form)
            length = headers.get(b"content-length", "")
            size = int(length) if length.isdecimal() else most
            if size > most:
                await _answer(send, 413, f"{size} bytes exceed the maximum allowed size of {most} bytes.")
                return
            receive = _at_most(receive, most)
        pages = scope["path"] in ("/", "/config")
        retry = CALL_WINDOW
        try:
            if inner is None and (pages or scope["method"] == "POST"):
                self.clients.take_call(client)
            if inner is None and form:
                retry = WINDOW
                self.clients.take_upload(client, size)
        except ShareError as error:
            language = language_of(headers.get(b"accept-language"), self.languages)
            await _answer(send, 429, refusal(str(error), language), retry)
            return
        if pages and client.session is None:
            send = self._with_session(send, headers)
        try:
            await self.app(scope, receive, send)
        except TooLargeError:
            await _answer(send, 413, f"More than the maximum allowed size of {self.max_bytes} bytes.")

    def _client(self, scope: "Scope", headers: dict[bytes, str]) -> Client:
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        peer = scope["client"][0] if scope.get("client") else ""
        return self.clients.client(self.clients.address(peer, forwarded), headers.get(b"cookie", ""))

    def _most(self, path: str, form: bool) -> int:
        if form:
            return self.max_bytes + FORM_BYTES
        if "/mcp" in path:
            return int(BASE64 * self.max_bytes) + CALL_BYTES
        return CALL_BYTES

    def _with_session(self, send: "Send", headers: dict[bytes, str]) -> "Send":
        # In the frame of the Hub a cookie is only kept if it is marked so, which takes https.
        secure = headers.get(b"x-forwarded-proto", "").split(",")[0].strip() == "https"
        marks = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"
        cookie = f"{self.clients.cookie}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; {marks}"

        async def sent(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie.encode())]}
            await send(message)

        return sent


def _at_most(receive: "Receive", most: int) -> "Receive":
    taken = 0

    async def received() -> "Message":
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise TooLargeError
        return message

    return received


async def _answer(send: "Send", status: int, text: str, retry: float | None = None) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if retry is not None:
        headers.append((b"retry-after", str(round(retry)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
