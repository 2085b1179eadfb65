"""Explain why the Hub, or the connection to it, failed: one cause, one line, and what to do."""

import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx

from escoita.errors import PublishError
from escoita.hub.retry import retry_after_seconds, status_of
from escoita.utils.files import NO_WRITE, cannot_write


Cause = Literal[
    "gated",
    "token missing",
    "token rejected",
    "token may not write",
    "no repository",
    "no revision",
    "no file",
    "disabled",
    "invalid name",
    "offline",
    "unreachable",
    "proxy",
    "socks",
    "certificate",
    "rate limit",
    "busy",
    "changed",
    "server",
    "not writable",
    "refused",
]

# What is wrong and what to do, by cause. The fields of a [`HubError`] and of its cause are filled in.
TEXTS: dict[Cause, tuple[str, str]] = {
    "gated": (
        "access to this {kind} is granted on request",
        "accept its terms at {url} with the account of your token, or ask its owner",
    ),
    "token missing": ("the Hub asks for a token, and none is set", "log in with `hf auth login`, or set HF_TOKEN"),
    "token rejected": (
        "the token is invalid or has expired",
        "make another one at {endpoint}/settings/tokens and log in with `hf auth login`",
    ),
    "token may not write": (
        "the token may not do this",
        "use a token with write access to it from {endpoint}/settings/tokens",
    ),
    "no repository": (
        "no such {kind} on the Hub, or the token may not read it",
        "check the name{and_log_in}",
    ),
    "no revision": ("the {kind} has no such revision", "choose a branch, tag or commit from {url}/commits"),
    "no file": ("the {kind} has no such file", "see its files at {url}/tree/main"),
    "disabled": ("the Hub has disabled this {kind}", "ask its owner"),
    "invalid name": ("neither a folder here nor the name of a repository", "write user/name"),
    "offline": (
        "not in the cache, and HF_HUB_OFFLINE forbids connections",
        "unset HF_HUB_OFFLINE, or run the command once with a connection",
    ),
    "unreachable": (
        "the Hub cannot be reached at {endpoint} ({detail})",
        "check the connection, or set HF_HUB_OFFLINE=1 to use the cache only",
    ),
    "proxy": (
        "the proxy {proxy} refused the connection ({detail})",
        "check {proxy_variable}, or ask who runs the proxy",
    ),
    "socks": ("{proxy_variable} names a SOCKS proxy, for which a package is missing", "pip install 'httpx[socks]'"),
    "certificate": (
        "the certificate of {endpoint} is not trusted ({detail})",
        "if a proxy inspects connections, set SSL_CERT_FILE to its certificate",
    ),
    "rate limit": ("too many requests", "run the command again {later}"),
    "busy": ("somebody else is changing it", "run the command again"),
    "changed": ("it changed while the command was running", "run the command again"),
    "server": ("the Hub failed", "run the command again; what was uploaded is kept"),
    "not writable": ("{detail}", "make room or make the folder writable, and run the command again"),
    "refused": ("{detail}", "see {url}"),
}
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


class HubError(PublishError):
    """
    Report that the Hub, or the connection to it, failed.

    Args:
        cause (`str`): One of the keys of [`TEXTS`].
        status (`int`, *optional*): The HTTP status, if the Hub answered.
    """

    cause: Cause
    status: int | None = None


def hub_error(error: BaseException, what: str, kind: str = "repository") -> HubError:
    """
    Return the one line that explains a failed request; it never holds the token.

    Args:
        error (`BaseException`): What huggingface_hub, its HTTP client or Transformers raised; its causes are searched
            too.
        what (`str`): What the request was about: a repository, with or without a revision, or a file.
        kind (`str`, *optional*, defaults to `"repository"`): What a missing thing is called.
    """
    found = next((part for part in _chain(error) if _cause(part)), error)
    cause = _cause(found) or "refused"
    status = status_of(found) if isinstance(found, Exception) else None
    if cause == "token rejected" and not get_token():
        cause = "token missing"
    variable, proxy = _proxy()
    repo = getattr(found, "repo_id", None) or what.split("@")[0].split(",")[0].removeprefix("base ")
    wait = retry_after_seconds(found) if cause == "rate limit" else None
    fields = {
        "kind": kind,
        "endpoint": constants.ENDPOINT,
        "url": f"{constants.ENDPOINT}/{repo}",
        "detail": _detail(found),
        "proxy": proxy,
        "proxy_variable": variable,
        "later": f"in {wait:.0f} s" if wait is not None else "in a few minutes",
        "and_log_in": "" if get_token() else "; if it is private, log in with `hf auth login`",
    }
    problem, hint = (text.format(**fields) for text in TEXTS[cause])
    if status is not None:
        problem += f" (HTTP {status})"
    return HubError(problem, path=what, hint=hint, cause=cause, status=status)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the errors that led to an error, the first one first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(chain)


def _cause(error: BaseException) -> Cause | None:
    """Return the cause that an error stands for by itself, or nothing if its own cause may tell more."""
    by_class: list[tuple[type[BaseException] | tuple[type[BaseException], ...], Cause]] = [
        (GatedRepoError, "gated"),
        (DisabledRepoError, "disabled"),
        (RevisionNotFoundError, "no revision"),
        (RepositoryNotFoundError, "no repository"),
        (OfflineModeIsEnabled, "offline"),
        (HFValidationError, "invalid name"),
    ]
    for classes, cause in by_class:
        if isinstance(error, classes):
            return cause
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return "no file"
    if isinstance(error, Exception) and (status := status_of(error)) is not None:
        return _cause_of_status(status)
    text = str(error)
    if isinstance(error, ImportError) and "socks" in text.lower():
        return "socks"
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return "certificate"
    if isinstance(error, httpx.ProxyError):
        return "proxy"
    if isinstance(error, (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, ConnectionError)):
        return "unreachable"
    if isinstance(error, OSError) and error.errno in NO_WRITE:
        return "not writable"
    if isinstance(error, PermissionError):  # of hf_xet, whose errors have no status
        return "token rejected"
    return None


def _cause_of_status(status: int) -> Cause:
    causes: dict[int, Cause] = {
        401: "token rejected",
        403: "token may not write",
        404: "no repository",
        409: "busy",
        412: "changed",
        429: "rate limit",
    }
    return causes.get(status, "server" if status >= 500 else "refused")


def _detail(error: BaseException) -> str:
    """Return the reason that an error gives, in one line without the address of the request."""
    if isinstance(error, OSError) and error.errno in NO_WRITE:
        return str(cannot_write(Path(error.filename or tempfile.gettempdir()), error.strerror or str(error)).problem)
    message = error.server_message if isinstance(error, HfHubHTTPError) else None
    lines = (message or str(error)).strip().splitlines() or [type(error).__name__]
    return re.sub(r"://[^/\s@]*@", "://", " ".join(lines[0].split()))[:300]


def _proxy() -> tuple[str, str]:
    """Return the environment variable that sets the proxy, and the address without its password."""
    for name in PROXY_VARIABLES:
        if value := os.environ.get(name):
            parts = urlsplit(value if "//" in value else f"//{value}")
            return name, f"{parts.hostname or value}{f':{parts.port}' if parts.port else ''}"
    return "HTTPS_PROXY", "of this network"
