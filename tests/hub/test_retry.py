"""Check which errors are retried, and how long."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import httpx

from escoita.hub.retry import ATTEMPTS, LONGEST_WAIT_SECONDS, passes, retry_after_seconds, retrying, status_of


def answered(status: int, **headers: str) -> HfHubHTTPError:
    request = httpx.Request("GET", "http://127.0.0.1/api")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HfHubHTTPError("refused", response=httpx.Response(status, headers=named, request=request))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answered(429), True),
        (answered(500), True),
        (answered(504), True),
        (answered(401), False),
        (answered(412), False),
        (httpx.ConnectError("refused"), True),
        (httpx.ReadError("cut"), True),
        (httpx.RemoteProtocolError("cut"), True),
        (ConnectionError("Network error: HTTP status client error (401 Unauthorized), domain: x"), False),
        (ConnectionError("Network error: HTTP status server error (503 Service Unavailable), domain: x"), True),
        (ConnectionError("cut"), True),
        (OfflineModeIsEnabled("offline"), False),
        (OSError(28, "No space left on device"), False),
        (ValueError("ours"), False),
    ],
)
def test_transient_errors(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


def test_the_hub_may_ask_for_a_wait() -> None:
    assert retry_after_seconds(answered(503, Retry_After="7")) == 7
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    assert 3500 < (retry_after_seconds(answered(429, Retry_After=later)) or 0) <= 3600
    assert retry_after_seconds(answered(429, RateLimit='"api";r=0;t=55')) == 55
    assert retry_after_seconds(answered(429, RateLimit='"api";r=3;t=55')) is None
    assert retry_after_seconds(answered(429, Retry_After="soon")) is None
    assert retry_after_seconds(ConnectionError("cut")) is None
    assert status_of(answered(409)) == 409 and status_of(ValueError("HTTP status client error (401 x)")) is None


def waits(error: Exception, known: bool = True) -> list[float]:
    """Return the waits in seconds before an error is raised."""
    slept: list[float] = []

    def fail() -> None:
        raise error

    trying = retrying("ana/uzbek", known).copy(sleep=slept.append)
    with pytest.raises(type(error)):
        trying(fail)
    return slept


def test_waits_grow_and_are_limited(capsys: pytest.CaptureFixture[str]) -> None:
    slept = waits(answered(503))
    assert len(slept) == ATTEMPTS - 1 and slept[0] < slept[2] < slept[4] and sum(slept) < LONGEST_WAIT_SECONDS
    assert capsys.readouterr().err.count("ana/uzbek: HTTP 503") == len(slept)
    assert waits(answered(429, Retry_After="120")) == [120, 120]
    assert waits(answered(429, Retry_After="3600")) == waits(answered(403)) == []


def test_a_refused_connection_is_retried_only_if_the_hub_was_reached_before() -> None:
    assert waits(httpx.ConnectError("refused"), known=False) == []
    assert len(waits(httpx.ConnectError("refused"))) == ATTEMPTS - 1
