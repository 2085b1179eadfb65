"""Convert errors to responses with the status codes and the error objects of OpenAI's API."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import AudioError, AudioLimitError, BusyError, EscoitaError


if TYPE_CHECKING:
    from starlette.responses import JSONResponse


# The values of Retry-After, in seconds: if the queue is full, and while the model is loaded.
RETRY_BUSY, RETRY_LOADING = 5, 10


class ApiError(Exception):
    """
    Report a refused request, with the response to its client.

    Args:
        status (`int`): The HTTP status.
        message (`str`): The reason, as a sentence.
        code (`str`, *optional*): The reason, as an identifier.
        param (`str`, *optional*): The name of the field concerned.
        retry_after (`int`, *optional*): The number of seconds after which the client may try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """Return the error object."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> "JSONResponse":
        """Return the response."""
        from starlette.responses import JSONResponse

        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """
    Return the error for a request with an invalid field.

    Args:
        message (`str`): The reason, as a sentence.
        param (`str`, *optional*): The name of the field.
        code (`str`, *optional*, defaults to `"invalid_value"`): The reason, as an identifier.
    """
    return ApiError(400, message, code, param)


def api_error(error: BaseException, filename: str = "the file") -> ApiError:
    """
    Return the error that a client gets for an error of its request.

    Args:
        error (`BaseException`): The error. An unexpected one is logged, and its text is not sent.
        filename (`str`, *optional*): The name of the recording that the client sent; its path on this machine is not
            sent.
    """
    match error:
        case ApiError():
            return error
        case AudioLimitError():
            hint = "this server takes no longer recordings (its option --max-minutes)"
            return ApiError(413, _about(error, filename, hint), "audio_too_long", "file")
        case AudioError():
            return ApiError(400, _about(error, filename), "invalid_audio", "file")
        case BusyError():
            return ApiError(429, str(error), "rate_limit_exceeded", retry_after=RETRY_BUSY)
        case EscoitaError(key="language"):
            return ApiError(400, str(error), "unsupported_language", "language")
        case EscoitaError():
            return ApiError(503, str(error), "unavailable", retry_after=RETRY_LOADING)
        case _:
            logging.getLogger(__name__).error("unexpected error", exc_info=error)
            return ApiError(500, "Internal error; the server has logged it.", "internal_error")


def _about(error: AudioError, filename: str, hint: str | None = None) -> str:
    return str(AudioError(error.problem, path=Path(filename).name or "the file", hint=hint or error.hint))
