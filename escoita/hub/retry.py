"""
Trying again: what a busy Hub or a broken line refuses now, it may take a moment later.

The client tries again by itself where it uploads files and lists trees; not where it asks who somebody is, reads a
repository's state, makes one, or commits. Here are those.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import httpx, parse_ratelimit_headers
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from escoita.utils.processes import say


ATTEMPTS = 7
LONGEST_WAIT_SECONDS = 300.0  # over all attempts of one step
PASSING = (408, 429, 500, 502, 503, 504)
BROKEN_LINES = (
    httpx.NetworkError,
    httpx.TimeoutException,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
    ConnectionError,
    TimeoutError,
    LocalEntryNotFoundError,  # of a download, for any of these
)
# hf_xet tells it in words alone.
_STATUS_OF_XET = re.compile(r"HTTP status (?:client|server) error \((\d{3})\b")
_BACKOFF = wait_exponential_jitter(initial=1, max=30)


def retrying(what: str, known: bool = True) -> Retrying:
    """
    Calls a function again while what it raises may pass, waiting 1, 2, 4 … 30 seconds, or as long as the Hub asks.

    Args:
        what (`str`): What it is about, for the line that is said before each wait.
        known (`bool`, *optional*, defaults to `True`): Whether the Hub was reached before; else nobody listening there
            is raised at once, as waiting does not mend a wrong address.

    Returns:
        [`Retrying`]: Called with the function and its arguments; raises the last error after 7 attempts, or as soon as
            the waits of this step would come to more than 300 seconds.
    """

    def tell(state: RetryCallState) -> None:
        say(f"{what}: {_reason(_error(state))}; trying again in {state.upcoming_sleep:.0f} s")

    return Retrying(
        retry=retry_if_exception(lambda error: passes(error) and (known or not isinstance(error, httpx.ConnectError))),
        wait=_wait,
        stop=lambda state: (
            state.attempt_number >= ATTEMPTS or state.idle_for + state.upcoming_sleep > LONGEST_WAIT_SECONDS
        ),
        before_sleep=tell,
        reraise=True,
    )


def passes(error: BaseException) -> bool:
    """Whether the same may succeed a moment later, and may even have been done though it was not answered."""
    if (status := status_of(error)) is not None:
        return status in PASSING
    return isinstance(error, BROKEN_LINES) and not isinstance(error, OfflineModeIsEnabled)


def status_of(error: BaseException) -> int | None:
    """Status of the Hub's answer, or nothing where there was none."""
    if isinstance(error, HfHubHTTPError):
        response = getattr(error, "response", None)
        return response.status_code if response is not None else None
    found = _STATUS_OF_XET.search(str(error)) if isinstance(error, OSError) else None
    return int(found[1]) if found else None


def retry_after_seconds(error: BaseException) -> float | None:
    """
    How long the Hub asks to wait, by `Retry-After` (seconds or a date) or by its `RateLimit` header.

    Returns:
        `float`: Seconds, or nothing where it does not ask.
    """
    if not isinstance(error, HfHubHTTPError) or status_of(error) is None:
        return None
    headers = error.response.headers
    asked = headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):  # not a date, or one without a zone
        limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and not limit.remaining and status_of(error) == 429 else None


def _wait(state: RetryCallState) -> float:
    asked = retry_after_seconds(_error(state))
    return _BACKOFF(state) if asked is None else asked


def _error(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None, "asked of a call that did not fail"  # noqa: S101
    return error


def _reason(error: BaseException) -> str:
    status = status_of(error)
    return f"HTTP {status}" if status else f"the connection broke ({type(error).__name__})"
