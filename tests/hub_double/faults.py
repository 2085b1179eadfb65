"""Inject faults: an error instead of a response, a lost response, or a closed connection.

hub.faults.append(Fault("POST", "/commit/", status=500))              # the next commit fails
hub.faults.append(Fault("POST", "/commit/", status=504, applied=True))  # succeeds, but the response is lost
hub.faults.append(Fault("PUT", "^/_lfs/", cut=True))                  # the upload breaks off
hub.faults.append(Fault("GET", "/resolve/", status=429, headers={"Retry-After": "0"}, times=2))
hub.faults.append(Fault("*", "", status=401, after=3, times=9))       # the token expires after three requests
hub.faults.append(Fault("POST", "/commit/", before=lambda: hub.commit("acme/adapter", {"a.txt": b"a"}, "Edit")))
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import INVALID_CREDENTIALS, header_text


@dataclass
class Fault:
    """
    Store a fault of the next matching requests.

    Args:
        method (`str`):
            HTTP method, or `"*"` for any.
        path (`str`):
            Regular expression, searched in the decoded path (which has no query).
        times (`int`, *optional*, defaults to 1):
            Number of affected requests; counts down to 0.
        after (`int`, *optional*, defaults to 0):
            Number of matching requests before the fault; counts down.
        status (`int`, *optional*):
            HTTP status of the response. Without it and without `cut`, the response is the usual one.
        headers (`dict`, *optional*):
            Headers of that response, such as `Retry-After`, `RateLimit` or `X-Error-Code`.
        body (`dict` or `str`, *optional*):
            Body of that response: JSON or plain text (default: `{"error": …}` with the meaning of the status).
        applied (`bool`, *optional*, defaults to `False`):
            Whether the request is executed, and only its response is lost.
        cut (`bool`, *optional*, defaults to `False`):
            Whether the connection is closed: in the middle of the response for GET and HEAD, in the middle of the
            request's body for all others; with `applied`, after the request was executed.
        before (`Callable`, *optional*):
            Function that is called before the request, such as a concurrent commit. It can use a client.
    """

    method: str
    path: str
    times: int = 1
    after: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | str = field(default_factory=dict)
    applied: bool = False
    cut: bool = False
    before: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        if self.applied and self.status is None and not self.cut:
            raise ValueError(f"A fault of {self.method} {self.path} loses the answer, but has no status and no cut")

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method in ("*", method) and re.search(self.path, path) is not None

    def answer(self) -> Response:
        """Return the response that replaces the real one."""
        assert self.status is not None
        if isinstance(self.body, str):
            return PlainTextResponse(self.body, self.status, headers=self.headers)
        message = INVALID_CREDENTIALS if self.status == 401 else HTTPStatus(self.status).phrase
        body = self.body or {"error": message}
        headers = {"X-Error-Message": header_text(str(body.get("error", message)))} | self.headers
        return JSONResponse(body, self.status, headers=headers)


class Faults:
    """Apply the first matching fault to a request (ASGI middleware). `cut` needs `server.Connection`."""

    def __init__(self, app: ASGIApp, faults: list[Fault]) -> None:
        self.app = app
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._take(scope) if scope["type"] == "http" else None
        if fault is None:
            await self.app(scope, receive, send)
            return
        if fault.before is not None:
            await run_in_threadpool(fault.before)
        if fault.status is None and not fault.cut:
            await self.app(scope, receive, send)
        elif fault.cut and not fault.applied and scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, _CutAnswer(scope, send).send)
        elif fault.cut and not fault.applied:
            await receive()
            await _hang_up(scope)
        else:
            if fault.applied:
                await self.app(scope, receive, _nowhere)
            await (_hang_up(scope) if fault.cut else fault.answer()(scope, receive, send))

    def _take(self, scope: Scope) -> Fault | None:
        """Return the first fault for this request, and count it."""
        path = unquote(scope["path"])
        for fault in self.faults:
            if not fault.matches(scope["method"], path):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            fault.times -= 1
            return fault
        return None


class _CutAnswer:
    """Send a response up to the middle of its first piece, and close the connection."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.pass_on = send
        self.start: Message | None = None
        self.is_over = False

    async def send(self, message: Message) -> None:
        if self.is_over:
            return
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.is_over = True
        piece = message.get("body", b"")
        if self.start is not None and piece:
            await self.pass_on(self.start)
            await self.pass_on({**message, "body": piece[: len(piece) // 2], "more_body": True})
        await _hang_up(self.scope)


async def _hang_up(scope: Scope) -> None:
    """Close the connection after all data were sent."""
    scope["state"]["transport"].close()
    await asyncio.sleep(0)


async def _nowhere(message: Message) -> None:
    pass
