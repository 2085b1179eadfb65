"""How the Hub says no: a status, a message, and the headers from which the client picks its exception."""

from typing import Any

from starlette.responses import JSONResponse


INVALID_CREDENTIALS = "Invalid credentials in Authorization header"  # the client tells a bad token by these words


class HubError(Exception):
    """
    A refusal, turned into an HTTP response by the application.

    Args:
        status (`int`):
            HTTP status.
        message (`str`):
            What went wrong; also sent as `X-Error-Message`, which the client shows first.
        code (`str`, *optional*):
            `X-Error-Code`: `RepoNotFound`, `RevisionNotFound` and `EntryNotFound` have exceptions of their own.
        headers (`dict`, *optional*):
            Further response headers.
        body (`dict`, *optional*):
            Further keys of the JSON body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.body = body or {}

    def to_response(self) -> JSONResponse:
        headers = {"X-Error-Message": header_text(self.message), **self.headers}
        if self.code is not None:
            headers["X-Error-Code"] = self.code
        return JSONResponse({"error": self.message, **self.body}, self.status, headers=headers)


def header_text(message: str) -> str:
    """`message` on one ASCII line, as an HTTP header needs it."""
    return " ".join(message.split()).encode("ascii", "replace").decode("ascii")
