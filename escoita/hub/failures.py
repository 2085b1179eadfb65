"""Explain why the Hub, or the connection to it, failed: one cause, one line, and what to do."""

import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    OIDCError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx

from escoita.errors import PublishError
from escoita.hub.retry import retry_after_seconds, status_of
from escoita.utils.files import NO_WRITE, cannot_write
from escoita.utils.progress_bars import bars_closed_at_end


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
    "local",
    "refused",
]

# What is wrong and what to do, by cause. The fields of a [`HubError`] and of its cause are filled in.
TEXTS: dict[Cause, tuple[str, str]] = {
    "gated": (
        "access to this {kind} is granted on request",
        "accept its terms at {url} with the account of your token, or ask its owner{and_log_in}",
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
        "check the name{and_log_in_if_private}",
    ),
    "no revision": ("the {kind} has no such revision", "choose a branch, tag or commit from {url}/commits"),
    "no file": ("the {kind} has no such file", "see its files at {url}/tree/main"),
    "disabled": ("the Hub has disabled this {kind}", "ask its owner"),
    "invalid name": ("not the name of a repository", "write user/name"),
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
    "local": ("{detail}", "correct this and run the command again"),
    "refused": ("{detail}", "see {url}"),
}
# The causes for which a name may also be that of a folder that does not exist.
OF_NO_FOLDER: tuple[Cause, ...] = ("no repository", "invalid name", "offline", "unreachable", "refused")
# The first part of the address of a repository that is not a model, and of a collection.
PAGES = {"dataset": "datasets/", "space": "spaces/", "collection": "collections/"}
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


UNREACHABLE = (
    httpx.NetworkError,
    httpx.TimeoutException,
    httpx.RemoteProtocolError,
    ConnectionError,
    TimeoutError,
)
# The messages of the Hub for a token that is unknown or has expired.
TOKEN_REFUSED = re.compile("invalid credentials|token.*expired|expired.*token|invalid.*token", re.IGNORECASE)


class HubError(PublishError):
    """
    Report that the Hub, or the connection to it, failed.

    Args:
        cause (`str`): One of the keys of [`TEXTS`].
        status (`int`, *optional*): The HTTP status, if the Hub answered.
    """

    cause: Cause
    status: int | None = None


@contextmanager
def explain_hub_errors(
    what: str,
    kind: str = "repository",
    local: bool = False,
    *,
    key: str | None = None,
    value: str | None = None,
    done: str = "",
) -> Iterator[None]:
    """
    Turn a failed request, or a model that Transformers cannot find, into one line that says what to do.

    At the end of the last of these contexts that are open, bars that huggingface_hub left open are closed.

    Args:
        what (`str`): The repository, the collection or the address that the request is about.
        kind (`str`, *optional*, defaults to `"repository"`): The word for a missing thing.
        local (`bool`, *optional*, defaults to `False`): Whether the name could also be that of a folder.
        key (`str`, *optional*): The option or the key of a recipe that the request is about.
        value (`str`, *optional*): The revision, file, tag or other part that the request is about.
        done (`str`, *optional*): The statement of what was done before, such as `"the commit was created"`.

    Raises:
        HubError: The request failed.
    """
    with bars_closed_at_end():
        try:
            yield
        except (OIDCError, HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError) as error:
            raise hub_error(error, what, kind, local, key=key, value=value, done=done) from error
        except (ImportError, ValueError) as error:
            if not any(map(_cause, _chain(error))):
                raise
            raise hub_error(error, what, kind, local, key=key, value=value, done=done) from error


def hub_error(
    error: BaseException,
    what: str,
    kind: str = "repository",
    local: bool = False,
    *,
    key: str | None = None,
    value: str | None = None,
    done: str = "",
) -> HubError:
    """
    Return the one line that explains a failed request; it never holds the token.

    Args:
        error (`BaseException`): The error of huggingface_hub, its HTTP client or Transformers; its causes are searched
            too.
        what (`str`): See [`explain_hub_errors`], also for the other arguments.
    """
    found = next((part for part in _chain(error) if _cause(part)), error)
    cause = _cause(found) or "refused"
    status = status_of(found) if isinstance(found, Exception) else None
    if cause == "token rejected" and not _token_is_set():
        cause = "token missing"
    if local and cause == "refused" and Path(what).is_dir():  # Transformers cannot load it
        cause = "local"
    variable, proxy = _proxy()
    wait = retry_after_seconds(found) if cause == "rate limit" else None
    log_in = "log in with `hf auth login`"
    fields = {
        "kind": kind,
        "endpoint": constants.ENDPOINT,
        "url": _page(getattr(found, "repo_id", None) or what, kind),
        "detail": _detail(found),
        "proxy": proxy,
        "proxy_variable": variable,
        "later": f"in {wait:.0f} s" if wait is not None else "in a few minutes",
        "and_log_in": "" if _token_is_set() else f"; {log_in}",
        "and_log_in_if_private": "" if _token_is_set() else f"; if it is private, {log_in}",
    }
    problem, hint = (text.format(**fields) for text in TEXTS[cause])
    if local and cause in OF_NO_FOLDER and not Path(what).exists():
        problem = f"not a folder here; {problem}"
    if status is not None:
        problem += f" (HTTP {status})"
    if done:
        problem = f"{done}, but: {problem}"
    if cause in ("not writable", "local") and (path := _path(found)):
        value = path
    return HubError(problem, path=what, key=key, value=value, hint=hint, cause=cause, status=status)


def missing_token(what: str | None = None) -> HubError:
    """Return the error for a command that needs a token when none is set."""
    problem, hint = TEXTS["token missing"]
    return HubError(problem, path=what, hint=hint, cause="token missing")


def _page(what: str, kind: str) -> str:
    """Return the address of the page of a repository."""
    return what if "://" in what else f"{constants.ENDPOINT}/{PAGES.get(kind, '')}{what.split('@')[0]}"


def _token_is_set() -> bool:
    """Return whether there is a token; in a CI job, huggingface_hub requests one, which may fail."""
    try:
        return bool(get_token())
    except (OIDCError, HfHubHTTPError, httpx.HTTPError):
        return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the errors that led to an error, the first one first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(chain)


def _cause(error: BaseException) -> Cause | None:
    """Return the cause that an error stands for by itself, or nothing if its own cause may tell more."""
    if isinstance(error, HfHubHTTPError) and status_of(error) == 401 and TOKEN_REFUSED.search(_server_message(error)):
        return "token rejected"  # huggingface_hub takes an expired token for a missing repository
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
    if isinstance(error, LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:  # of Transformers
        return "offline"
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return "no file"
    if isinstance(error, Exception) and (status := status_of(error)) is not None:
        return _cause_of_status(status)
    text = str(error)
    if isinstance(error, ImportError) and "socks" in text.lower():
        return "socks"
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return "certificate"
    if isinstance(error, httpx.ProxyError) or (isinstance(error, ValueError) and "for proxy URL" in text):
        return "proxy"
    if isinstance(error, UNREACHABLE):
        return "unreachable"
    if isinstance(error, OSError) and error.errno in NO_WRITE:
        return "not writable"
    if isinstance(error, OSError) and error.errno and error.filename:
        return "local"
    if isinstance(error, PermissionError):  # of hf_xet, whose errors have no status
        return "token rejected"
    return None


def _cause_of_status(status: int) -> Cause:
    causes: dict[int, Cause] = {
        401: "token rejected",
        403: "token may not write",
        404: "no repository",
        407: "proxy",
        409: "busy",
        412: "changed",
        429: "rate limit",
    }
    return causes.get(status, "server" if status >= 500 else "refused")


def _detail(error: BaseException) -> str:
    """Return the reason that an error gives, in one line without the address of the request."""
    if isinstance(error, OSError) and error.errno in NO_WRITE:
        return str(cannot_write(Path(error.filename or tempfile.gettempdir()), error.strerror or str(error)).problem)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, OIDCError):
        lines = [" ".join(str(error).split())]
    else:
        message = _server_message(error) if isinstance(error, HfHubHTTPError) else ""
        lines = (message or str(error)).strip().splitlines() or [type(error).__name__]
    return re.sub(r"://[^/\s@]*@", "://", " ".join(lines[0].split()))[:300]


def _server_message(error: HfHubHTTPError) -> str:
    return error.server_message or ""


def _path(error: BaseException) -> str | None:
    """Return the file or folder that an error of this machine is about."""
    return str(error.filename) if isinstance(error, OSError) and error.filename else None


def _proxy() -> tuple[str, str]:
    """Return the environment variable that sets the proxy, and the address without its password."""
    for name in PROXY_VARIABLES:
        if value := os.environ.get(name):
            parts = urlsplit(value if "//" in value else f"//{value}")
            return name, f"{parts.hostname or value}{f':{parts.port}' if parts.port else ''}"
    return "HTTPS_PROXY", "of this network"
