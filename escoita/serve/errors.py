"""Turn errors into answers with the status and the shape that OpenAI's API has."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import AudioError, AudioLimitError, BusyError, EscoitaError


if TYPE_CHECKING:
    from starlette.responses import JSONResponse


# Seconds after which a client is asked to try again: while the queue is full, and while the model loads.
RETRY_BUSY, RETRY_LOADING = 5, 10


class ApiError(Exception):
    """
    Report why a request is refused.

    Args:
        status (`int`): The HTTP status.
        message (`str`): The reason, for people.
        code (`str`, *optional*): The reason, for programs.
        param (`str`, *optional*): The field of the request concerned.
        retry_after (`int`, *optional*): Seconds after which the client may try again.
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
        """Return the body of the answer."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> "JSONResponse":
        """Return the answer."""
        from starlette.responses import JSONResponse

        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """
    Return the error for a request with a wrong field.

    Args:
        message (`str`): The reason.
        param (`str`, *optional*): The field.
        code (`str`, *optional*, defaults to `"invalid_value"`): The reason, for programs.
    """
    return ApiError(400, message, code, param)


def api_error(error: BaseException, filename: str = "the file") -> ApiError:
    """
    Return the answer to a request that failed with an error.

    Args:
        error (`BaseException`): The error. A defect is logged, and the client learns only that there is one.
        filename (`str`, *optional*): The name that the client gave its recording; the folder in which it was stored
            is never named.
    """
    match error:
        case ApiError():
            return error
        case AudioLimitError():
            return ApiError(413, _about(error, filename), "audio_too_long", "file")
        case AudioError():
            return ApiError(400, _about(error, filename), "invalid_audio", "file")
        case BusyError():
            return ApiError(429, str(error), "rate_limit_exceeded", retry_after=RETRY_BUSY)
        case EscoitaError(key="language"):
            return ApiError(400, str(error), "unsupported_language", "language")
        case EscoitaError():
            return ApiError(503, str(error), "unavailable", retry_after=RETRY_LOADING)
        case _:
            logging.getLogger(__name__).error("a defect", exc_info=error)
            return ApiError(500, "The server has a defect, which its log describes.", "internal_error")


def _about(error: AudioError, filename: str) -> str:
    return str(AudioError(error.problem, path=Path(filename).name or "the file", hint=error.hint))
