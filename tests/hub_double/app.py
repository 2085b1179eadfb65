"""Build the Starlette application: all routes, errors in the format of the Hub, and a log of requests."""

from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import collections, commits, discussions, files, jobs, lfs, oidc, refs, repos, spaces, xet
from .errors import HubError
from .faults import Fault, Faults
from .headers import CommonHeaders
from .routing import RawPath
from .store import Store


ROUTES = [
    *oidc.routes,
    *collections.routes,
    *spaces.routes,
    *jobs.routes,
    *repos.routes,
    *refs.routes,
    *discussions.routes,
    *commits.routes,
    *lfs.routes,
    *xet.routes,
    *files.routes,
]


class LogEntry(NamedTuple):
    """
    Store a request: `path` without the query, and the `status` of the response; 0 if the connection was closed before
    the response.
    """

    method: str
    path: str
    status: int


class RequestLog:
    """Append each request to `log` before the client gets the response (ASGI middleware)."""

    def __init__(self, app: ASGIApp, log: list[LogEntry]) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_answered = False

        async def log_and_send(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                self.log.append(LogEntry(scope["method"], scope["path"], message["status"]))
            await send(message)

        await self.app(scope, receive, log_and_send)
        if not is_answered:
            self.log.append(LogEntry(scope["method"], scope["path"], 0))


class Renamed:
    """Redirect requests for the former name of a repository, as the Hub does (ASGI middleware)."""

    def __init__(self, app: ASGIApp, renamed: dict[str, str]) -> None:
        self.app = app
        self.renamed = renamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        for old, new in self.renamed.items():
            if scope["type"] == "http" and f"/{old}/" in f"{path}/":
                target = f"{path}/".replace(f"/{old}/", f"/{new}/", 1)[:-1]
                query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
                await Response(status_code=307, headers={"Location": target + query})(scope, receive, send)
                return
        await self.app(scope, receive, send)


def create_app(store: Store, log: list[LogEntry], faults: list[Fault]) -> ASGIApp:
    """
    Build the application.

    Args:
        store (`Store`):
            Store of the double; handlers get it as `request.app.state.store`.
        log (`list[LogEntry]`):
            Log of requests.
        faults (`list[Fault]`):
            Faults of later requests.
    """
    app = Starlette(routes=ROUTES, exception_handlers={HubError: _refuse, HTTPException: _no_such_route})
    app.router.redirect_slashes = False
    app.state.store = store
    return RawPath(RequestLog(Renamed(CommonHeaders(Faults(app, faults)), store.renamed), log))


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, HubError):
        raise error
    return error.to_response()


async def _no_such_route(request: Request, error: Exception) -> Response:
    """Report that the double lacks this part of the API, rather than a repository."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    return HubError(status, f"The Hub double has no route {request.method} {request.url.path}").to_response()
