"""Define the errors of the Hub: status, message, and the headers that determine the exception of the client."""

from typing import Any

from starlette.responses import JSONResponse


INVALID_CREDENTIALS = "Invalid credentials in Authorization header"  # by which the client recognizes it


class HubError(Exception):
    """
    Represent an error that the application converts to an HTTP response.

    Args:
        status (`int`):
            HTTP status.
        message (`str`):
            Message; also sent as `X-Error-Message`, which the client shows first.
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
    """Return `message` in one ASCII line for an HTTP header."""
    return " ".join(message.split()).encode("ascii", "replace").decode("ascii")
