"""Route raw paths, and provide requests to handlers.

The client sends a revision such as `refs/pr/1` as one percent-encoded segment, `refs%2Fpr%2F1`. Servers
pass the decoded path, in which it has three segments. So routes are matched on the raw path (`RawPath`), and
convertors decode each parameter after the match.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .access import User, user_from_header
from .errors import HubError
from .store import Repo, Store


Handler = Callable[[Request], Awaitable[Response]]

REPO_API = "/api/{kind:kind}/{owner:segment}/{name:segment}"
_HOSTS = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}


class SegmentConvertor(Convertor[str]):
    """Convert one segment of a raw path."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


class TailConvertor(SegmentConvertor):
    """Convert the rest of a raw path."""

    regex = ".+"


class KindConvertor(Convertor[str]):
    """Convert `models`, `datasets` or `spaces` to a repo type: `model`, `dataset` or `space`."""

    regex = "models|datasets|spaces"

    def convert(self, value: str) -> str:
        return value.removesuffix("s")

    def to_string(self, value: str) -> str:
        return f"{value}s"


register_url_convertor("segment", SegmentConvertor())
register_url_convertor("tail", TailConvertor())
register_url_convertor("kind", KindConvertor())


class RawPath:
    """Route on the path that was sent (ASGI middleware)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        await self.app(scope, receive, send)


def page_routes(path: str, handler: Handler, methods: Sequence[str]) -> list[Route]:
    """Return the routes below a repository's page: `/owner/name…` for models, `/datasets/owner/name…`."""
    repo = "/{owner:segment}/{name:segment}"
    return [Route(prefix + repo + path, handler, methods=methods) for prefix in ("", "/{kind:kind}")]


@dataclass(frozen=True)
class Call:
    """
    Store a request and its user.

    Args:
        request (`Request`):
            Request.
        user (`User`, *optional*):
            User; None for an anonymous call.
    """

    request: Request
    user: User | None

    @classmethod
    def of(cls, request: Request) -> "Call":
        """
        Return the call of a request.

        Raises:
            [`HubError`]: 401 if the request has an unknown token.
        """
        return cls(request, user_from_header(request.headers.get("authorization", ""), store_of(request).grants))

    @property
    def store(self) -> Store:
        return store_of(self.request)

    @property
    def base_url(self) -> str:
        """Return the double's address in the form of the request."""
        return f"{self.request.url.scheme}://{self.request.url.netloc}"

    @property
    def cdn_url(self) -> str:
        """
        Return the double's address with another hostname. The real Hub redirects large files to another host, and the
        client distinguishes redirects by hostname: it follows those to the Hub, and expects the Hub's headers there.
        """
        host, port = self.request.url.hostname, self.request.url.port
        return f"{self.request.url.scheme}://{_HOSTS.get(host or '', host)}:{port}"

    def param(self, name: str) -> str:
        """Return a parameter of the path."""
        return str(self.request.path_params[name])

    def flag(self, name: str) -> bool:
        """Return a boolean parameter of the query."""
        return self.request.query_params.get(name, "").lower() in ("1", "true")

    async def json(self) -> Any:
        """
        Return the JSON of the body.

        Raises:
            [`HubError`]: 400 if the body is not JSON.
        """
        try:
            return json.loads(await self.request.body())
        except ValueError as error:
            raise HubError(400, f"Invalid JSON in the request: {error}") from error

    def signed_in(self) -> User:
        """
        Return the user.

        Raises:
            [`HubError`]: 401 if the call is anonymous.
        """
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        return self.user

    def repo(self, *, write: bool = False) -> Repo:
        """Return the repository of the path if the caller has the permission. See `repo_for`."""
        repo_id = f"{self.param('owner')}/{self.param('name')}"
        return self.repo_for(self.request.path_params.get("kind", "model"), repo_id, write=write)

    def repo_for(self, repo_type: str, repo_id: str, *, write: bool = False) -> Repo:
        """
        Return a repository if the caller has the permission.

        Raises:
            [`HubError`]: `RepoNotFound` if there is no such repository or the caller may not see it (401 if anonymous,
            else 404); 401 or 403 if the caller may not write to it.
        """
        repo = self.store.find(repo_type, repo_id)
        if repo is None or not self.may_see(repo):
            raise HubError(404 if self.user else 401, "Repository not found", code="RepoNotFound")
        if write and not self.signed_in().may_write(repo.resource):
            raise HubError(403, f"You don't have the required permissions to write to {repo.id}")
        return repo

    def repo_to_propose_to(self) -> Repo:
        """
        Return the repository of the path if the caller may open pull requests on it.

        Raises:
            [`HubError`]: as `repo_for`; 401 or 403 when the caller may not.
        """
        repo = self.repo()
        if not self.signed_in().may_propose(repo.resource):
            raise HubError(403, f"You don't have the required permissions to open a pull request on {repo.id}")
        return repo

    def may_see(self, repo: Repo) -> bool:
        return not repo.private or (self.user is not None and self.user.may_read(repo.resource))


def store_of(request: Request) -> Store:
    store: Store = request.app.state.store
    return store
