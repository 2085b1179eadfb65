"""The Starlette application: all routes, errors as the Hub sends them, and a log of what was asked."""

from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import commits, files, lfs, refs, repos, xet
from .errors import HubError
from .routing import RawPath
from .store import Store


ROUTES = [*repos.routes, *refs.routes, *commits.routes, *lfs.routes, *xet.routes, *files.routes]


class LogEntry(NamedTuple):
    """A request that was answered; `path` is as it was sent, without the query."""

    method: str
    path: str
    status: int


class RequestLog:
    """ASGI middleware: append each request to `log`, before the client sees the answer."""

    def __init__(self, app: ASGIApp, log: list[LogEntry]) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def log_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.log.append(LogEntry(scope["method"], scope["path"], message["status"]))
            await send(message)

        await self.app(scope, receive, log_and_send)


def create_app(store: Store, log: list[LogEntry]) -> ASGIApp:
    """
    Build the application.

    Args:
        store (`Store`):
            What it serves; handlers find it as `request.app.state.store`.
        log (`list[LogEntry]`):
            Where it writes what it was asked.
    """
    app = Starlette(routes=ROUTES, exception_handlers={HubError: _refuse, HTTPException: _no_such_route})
    app.router.redirect_slashes = False
    app.state.store = store
    return RawPath(RequestLog(app, log))


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, HubError):
        raise error
    return error.to_response()


async def _no_such_route(request: Request, error: Exception) -> Response:
    """Say plainly that the double lacks this part of the API, rather than a repository."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    return HubError(status, f"The Hub double has no route {request.method} {request.url.path}").to_response()
