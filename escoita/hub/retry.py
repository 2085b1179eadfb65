"""
Retry requests that failed because the Hub was busy or the connection broke.

huggingface_hub itself retries uploads of files and listings of trees, but not the other requests: whoami, the state of
a repository, its creation, and commits. This module retries those.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import httpx, parse_ratelimit_headers
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from escoita.utils.processes import say
from escoita.utils.progress_bars import close_bars


ATTEMPTS = 7
LONGEST_WAIT_SECONDS = 300.0  # over all attempts of one step
TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)
CONNECTION_ERRORS = (
    httpx.NetworkError,
    httpx.TimeoutException,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
    ConnectionError,
    TimeoutError,
    LocalEntryNotFoundError,  # of a download, for any of these
)
# The errors that a wrong address or a wrong proxy causes.
NO_CONNECTION = (httpx.ConnectError, httpx.ProxyError)
# hf_xet reports the status only in the text of its error.
_STATUS_OF_XET = re.compile(r"HTTP status (?:client|server) error \((\d{3})\b")
_BACKOFF = wait_exponential_jitter(initial=1, max=30)


def retrying(what: str, known: bool = True) -> Retrying:
    """
    Return a caller that repeats a function while its error is transient, after 1, 2, 4 … 30 seconds, or as long as the
    Hub asks.

    Args:
        what (`str`): The subject of the line that is logged before each wait.
        known (`bool`, *optional*, defaults to `True`): Whether the Hub was reached before. If not, a connection error
            is raised at once, because a wait does not correct a wrong address.

    Returns:
        [`Retrying`]: Called with the function and its arguments; raises the last error after 7 attempts, or as soon as
            the waits of this step would exceed 300 seconds.
    """

    def log_wait(state: RetryCallState) -> None:
        close_bars()
        say(f"{what}: {_reason(_error(state))}; retrying in {state.upcoming_sleep:.0f} s")

    return Retrying(
        retry=retry_if_exception(lambda error: passes(error) and (known or not isinstance(error, NO_CONNECTION))),
        wait=_wait,
        stop=lambda state: (
            state.attempt_number >= ATTEMPTS or state.idle_for + state.upcoming_sleep > LONGEST_WAIT_SECONDS
        ),
        before_sleep=log_wait,
        reraise=True,
    )


def passes(error: BaseException) -> bool:
    """Return whether an error is transient. The request may have been executed although no answer came."""
    if (status := status_of(error)) is not None:
        return status in TRANSIENT_STATUSES
    return isinstance(error, CONNECTION_ERRORS) and not isinstance(error, OfflineModeIsEnabled)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of the Hub's answer, or None if there was no answer."""
    if isinstance(error, HfHubHTTPError):
        response = getattr(error, "response", None)
        return response.status_code if response is not None else None
    found = _STATUS_OF_XET.search(str(error)) if isinstance(error, OSError) else None
    return int(found[1]) if found else None


def retry_after_seconds(error: BaseException) -> float | None:
    """
    Return how long the Hub asks to wait, by `Retry-After` (seconds or a date) or by its `RateLimit` header.

    Returns:
        `float`: Seconds, or None if the Hub does not ask for a wait.
    """
    if not isinstance(error, HfHubHTTPError) or status_of(error) is None:
        return None
    headers = error.response.headers
    retry_after = headers.get("Retry-After", "").strip()
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):  # not a date, or one without a zone
        limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and not limit.remaining and status_of(error) == 429 else None


def _wait(state: RetryCallState) -> float:
    seconds = retry_after_seconds(_error(state))
    return _BACKOFF(state) if seconds is None else seconds


def _error(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None, "the call did not fail"  # noqa: S101
    return error


def _reason(error: BaseException) -> str:
    status = status_of(error)
    return f"HTTP {status}" if status else f"the connection broke ({type(error).__name__})"
