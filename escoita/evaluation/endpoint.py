"""Send requests to a server with OpenAI's API for transcription; its responses are not trusted."""

import io
import ipaddress
import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import numpy as np
import soundfile
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.evaluation.predictions import many_marks
from escoita.utils.formatting import visible
from escoita.utils.languages import iso639
from escoita.utils.limits import COMBINING_MARKS, RECORD_DIGITS, TRANSCRIPT_CHARACTERS, TRANSCRIPT_WORDS, parse_json
from escoita.utils.processes import say


KEY_VARIABLE = "ESCOITA_ENDPOINT_KEY"
# The variable of OpenAI's client, whose key is sent to no other server.
OPENAI_VARIABLE, OPENAI_HOST = "OPENAI_API_KEY", "api.openai.com"
# The most bytes of a response, values in it, and characters of the name of a model.
RESPONSE_BYTES, RESPONSE_VALUES, MODEL_CHARACTERS = 2**20, 100_000, 200
# The most seconds without a byte, and for a complete response.
SILENCE_SECONDS, REQUEST_SECONDS = 120.0, 600.0
ATTEMPTS, LONGEST_WAIT_SECONDS = 8, 600.0
# The statuses after which a request is retried.
RETRIED_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_BACKOFF = wait_exponential_jitter(initial=1, max=30)


class EndpointError(EscoitaError):
    """
    Report a refused request or an invalid response; `path` is the host of the server.

    Args:
        status (`int`, *optional*): The HTTP status of the response.
    """

    status: int | None = None


class _TemporaryError(Exception):
    """Report a temporary failure, after which the request is retried."""

    def __init__(self, reason: str, retry_after: float | None = None):
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True)
class EndpointTranscript:
    """
    Store the response of a server.

    Args:
        text (`str`): The transcript.
        model (`str`, *optional*): The name of the model in the response.
    """

    text: str
    model: str | None


class Endpoint:
    """
    Hold a connection to a server.

    Args:
        url (`str`): The URL of the server, with or without `/v1`.
        model (`str`): The name of the model on the server.
        environment (`Mapping[str, str]`, *optional*): The environment variables, which contain the API key.

    Raises:
        EscoitaError: The URL cannot be used.
    """

    def __init__(self, url: str, model: str, environment: Mapping[str, str] = os.environ):
        parsed = _parsed(url)
        self.model, self.host, self.secure = model, str(parsed.hostname), parsed.scheme == "https"
        port = f":{parsed.port}" if parsed.port else ""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{parsed.scheme}://{shown}{port}{parsed.path.rstrip('/') or '/v1'}"
        self._key = environment.get(KEY_VARIABLE) or (
            environment.get(OPENAI_VARIABLE) if self.host == OPENAI_HOST and self.secure else None
        )
        self._stopped, self._reached = threading.Event(), False
        headers = {"Accept-Encoding": "identity", "User-Agent": "escoita"}
        if self._key:
            if not re.fullmatch(r"[!-~]+", self._key):
                raise EscoitaError("not an API key", key=KEY_VARIABLE, hint="use ASCII characters without spaces")
            headers["Authorization"] = f"Bearer {self._key}"
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=20),
            follow_redirects=False,  # the key and the recordings are sent only to the given host
            trust_env=not self.local,  # no proxy for a server on this machine
            limits=httpx.Limits(max_connections=None),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def local(self) -> bool:
        """Return whether the server is on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def close(self) -> None:
        """Stop the requests of all threads."""
        self._stopped.set()
        self._http.close()

    def listed_model(self) -> str | None:
        """
        Check that the server lists the model.

        Returns:
            `str`: The name of the model; `None` if the server has no list of models.

        Raises:
            EndpointError: The model is not in the list, or the server cannot be reached.
        """
        try:
            listed = self._request("GET", "/models").get("data")
        except EndpointError as error:
            if error.status in (404, 405, 501):
                return None
            raise
        models = [each.get("id") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        names = [name for name in models if isinstance(name, str)]
        if names and self.model not in names:
            shown = ", ".join(visible(name[:MODEL_CHARACTERS]) for name in names[:10])
            raise EndpointError(
                "not served by this server",
                path=self.host,
                key="--model",
                value=self.model,
                hint=f"use one of {shown}",
            )
        return self.model if names else None

    def transcribe(self, samples: np.ndarray, language: str, name: str) -> EndpointTranscript:
        """
        Transcribe a clip at temperature 0.

        Args:
            samples (`np.ndarray`): The clip, of shape `(samples,)`, float32 at 16 kHz; it is sent as 16-bit WAV.
            language (`str`): The tag of the language.
            name (`str`): The name of the clip in errors, which is not sent.

        Returns:
            [`EndpointTranscript`]: The transcript.

        Raises:
            EndpointError: The server refuses the request, fails in all attempts, or does not return a transcript.
        """
        wav = io.BytesIO()
        soundfile.write(wav, samples, SAMPLING_RATE, format="WAV", subtype="PCM_16")
        fields = {"model": self.model, "response_format": "json", "temperature": "0", "language": iso639(language)}
        file = ("clip.wav", wav.getvalue(), "audio/wav")
        answer = self._request("POST", "/audio/transcriptions", name, data=fields, files={"file": file})
        text, model = answer.get("text"), answer.get("model")
        if not isinstance(text, str):
            raise self._error(f"{name}: the response has no text")
        if len(text) > TRANSCRIPT_CHARACTERS or len(text.split()) > TRANSCRIPT_WORDS:
            raise self._error(f"{name}: the transcript has {len(text):,} characters, more than the limit")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self._error(f"{name}: the transcript is not valid Unicode") from error
        if many_marks().search(text):  # predictions with it would not be read
            raise self._error(f"{name}: the transcript has more than {COMBINING_MARKS} consecutive combining marks")
        known = isinstance(model, str) and 0 < len(model) <= MODEL_CHARACTERS
        return EndpointTranscript(text.strip(), visible(str(model)) if known else None)

    def _request(self, method: str, path: str, what: str = "", **content: Any) -> dict[str, Any]:
        """Return the response to a request, which is retried after temporary failures."""

        def report_retry(state: RetryCallState) -> None:
            say(f"{self.host}: {_error_of(state)}; retrying in {state.upcoming_sleep:.0f} s")

        retrying = Retrying(
            retry=retry_if_exception_type(_TemporaryError),
            wait=_wait,
            stop=lambda state: (
                self._stopped.is_set()
                or state.attempt_number >= ATTEMPTS
                or state.idle_for + state.upcoming_sleep > LONGEST_WAIT_SECONDS
            ),
            before_sleep=report_retry,
            sleep=sleep_using_event(self._stopped),
            reraise=True,
        )
        try:
            return retrying(self._send, method, path, what, content)
        except _TemporaryError as error:
            raise self._error(": ".join(filter(None, [what, f"failed in all attempts ({error})"]))) from error

    def _send(self, method: str, path: str, what: str, content: dict[str, Any]) -> dict[str, Any]:
        try:
            status, headers, body = self._exchange(method, path, content)
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {visible(str(error))[:200]}"
            if not self._reached:  # a retry does not correct a wrong address
                raise self._error(f"cannot be reached ({reason})") from error
            raise _TemporaryError(reason) from error
        except RuntimeError as error:  # the client was closed
            raise self._error("the evaluation was stopped") from error
        if status in RETRIED_STATUSES:
            raise _TemporaryError(f"HTTP {status}", _retry_after(headers))
        if 300 <= status < 400:
            target = visible(headers.get("location", ""))[:200]
            raise self._error("redirects, which is not followed", status, hint=f"check the URL: {target}")
        message, answer = f"HTTP {status}", None
        try:
            answer = parse_json(body, RECORD_DIGITS, RESPONSE_VALUES)
        except ValueError as error:
            if status < 400:
                raise self._error("the response is not valid JSON", status) from error
        if status >= 400:
            detail = answer.get("error") if isinstance(answer, dict) else None
            said = detail.get("message") if isinstance(detail, dict) else detail
            reason = f" ({visible(said)[:300]})" if isinstance(said, str) else ""
            hint = f"set {KEY_VARIABLE} to an API key of this server" if status in (401, 403) else None
            raise self._error(": ".join(filter(None, [what, message + reason])), status, hint)
        if not isinstance(answer, dict):
            raise self._error("the response is not a JSON object", status)
        return answer

    def _exchange(self, method: str, path: str, content: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        """
        Send a request, and return status, headers and body of the response.

        The thread is abandoned if the response takes too long: httpx limits the time between two bytes only, and a
        server may send headers forever.
        """
        received: Future[tuple[int, httpx.Headers, bytes]] = Future()

        def exchange() -> None:
            try:
                with self._http.stream(method, self.url + path, **content) as response:
                    self._reached = True
                    received.set_result((response.status_code, response.headers, self._body(response)))
            except BaseException as error:
                received.set_exception(error)

        threading.Thread(target=exchange, name="escoita-endpoint", daemon=True).start()
        try:
            return received.result(REQUEST_SECONDS)
        except TimeoutError as error:
            raise self._error(f"the response took more than {REQUEST_SECONDS:.0f} s") from error

    def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._error("the response is compressed, which was not accepted", response.status_code)
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > RESPONSE_BYTES:
                raise self._error(f"the response has more than {RESPONSE_BYTES:,} bytes", response.status_code)
        return bytes(body)

    def _error(self, problem: str, status: int | None = None, hint: str | None = None) -> EndpointError:
        if self._key:
            problem = problem.replace(self._key, "***")  # a server may repeat the key in its response
            hint = hint and hint.replace(self._key, "***")
        return EndpointError(problem, path=self.host, hint=hint, status=status)


def _parsed(url: str) -> Any:
    try:
        parsed = urlsplit(url)
        _ = parsed.port
    except ValueError as error:
        raise EscoitaError("not a URL", key="--endpoint", value=url, hint="use https://host/v1") from error
    if parsed.username or parsed.password or parsed.query or parsed.fragment:
        raise EscoitaError(  # without the value, which may contain a key
            "the URL has a user, a query or a fragment", key="--endpoint", hint=f"set the API key in {KEY_VARIABLE}"
        )
    host = parsed.hostname or ""
    if parsed.scheme not in ("http", "https") or not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        raise EscoitaError("not a URL", key="--endpoint", value=url, hint="use https://host/v1")
    return parsed


def _retry_after(headers: httpx.Headers) -> float | None:
    asked = headers.get("Retry-After", "").strip()
    if asked.isdecimal() and len(asked) < 7:
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _wait(state: RetryCallState) -> float:
    asked = getattr(_error_of(state), "retry_after", None)
    return _BACKOFF(state) if asked is None else float(asked)


def _error_of(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None, "called for a call that did not fail"  # noqa: S101
    return error
