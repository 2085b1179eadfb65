"""Check the API keys and the origins of requests."""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from escoita.errors import EscoitaError
from escoita.serve.errors import ApiError


KEYS_VARIABLE = "ESCOITA_API_KEYS"
# The fewest characters of a key; a shorter one can be guessed.
SHORTEST_KEY = 16


class ApiKeys:
    """
    Hold the digests of the accepted keys, not the keys themselves.

    Args:
        keys (`Iterable[str]`): The keys.
    """

    def __init__(self, keys: Iterable[str]):
        self._digests = [_digest(key) for key in dict.fromkeys(keys)]

    def __len__(self) -> int:
        return len(self._digests)

    def owner(self, authorization: str) -> int | None:
        """
        Return the number of the key in a header, in a time that does not depend on the keys.

        Args:
            authorization (`str`): The value of the header Authorization.

        Returns:
            `int`: The number, from 0; `None` if the key is not accepted.
        """
        scheme, _, key = authorization.partition(" ")
        given, found = _digest(key.strip()), None
        for number, digest in enumerate(self._digests):
            if hmac.compare_digest(given, digest):  # no early exit, for constant time
                found = number
        return found if scheme.lower() == "bearer" else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(path: Path | None, environment: Mapping[str, str] = os.environ) -> ApiKeys | None:
    """
    Read the keys from a file, one per line, or from `ESCOITA_API_KEYS`, separated by commas or spaces.

    Args:
        path (`Path`, *optional*): The file, in which lines that begin with `#` are comments.
        environment (`Mapping[str, str]`, *optional*): The environment variables, which are read if `path` is `None`.

    Returns:
        [`ApiKeys`]: The keys; `None` if neither is given.

    Raises:
        EscoitaError: The file cannot be read or has no key, or a key is too short.
    """
    if path is not None:
        try:
            lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise EscoitaError(f"cannot be read ({reason})", key="--api-key-file", value=path) from error
        keys = [line for line in lines if line and not line.startswith("#")]
    else:
        keys = environment.get(KEYS_VARIABLE, "").replace(",", " ").split()
        if not keys:
            return None
    source = KEYS_VARIABLE if path is None else str(path)
    if not keys:
        raise EscoitaError("contains no key", path=source, hint="write one key per line")
    for number, key in enumerate(keys, start=1):
        if len(key) < SHORTEST_KEY or not key.isascii() or " " in key:
            raise EscoitaError(
                f"key {number} is not valid",
                path=source,
                hint=f"write at least {SHORTEST_KEY} ASCII characters without spaces, such as the output of"
                " `openssl rand -hex 24`",
            )
    return ApiKeys(keys)


def is_local(host: str) -> bool:
    """
    Return whether a host name or address refers to this machine only.

    Args:
        host (`str`): A host name, an IPv4 address, or an IPv6 address with or without brackets.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_protection(host: str, keys: ApiKeys | None, no_auth: bool) -> None:
    """
    Require API keys for a server that other machines can reach.

    Args:
        host (`str`): The address to listen on.
        keys ([`ApiKeys`], *optional*): The accepted keys.
        no_auth (`bool`): Whether access without a key is explicitly allowed.

    Raises:
        EscoitaError: Other machines could use the server without a key, or the options contradict each other.
    """
    if keys is not None and no_auth:
        raise EscoitaError("contradicts the API keys that are set", key="--no-auth", hint="use only one of the two")
    if keys is None and not no_auth and not is_local(host):
        raise EscoitaError(
            "other machines could use this server without a key",
            key="--host",
            value=host,
            hint=f"set --api-key-file or {KEYS_VARIABLE}, or allow access without a key with --no-auth",
        )


def require_local_request(host: str, origin: str | None) -> None:
    """
    Refuse requests of web pages of other sites to a server without keys.

    A browser on this machine would otherwise let any page use the server.

    Args:
        host (`str`): The value of the header Host.
        origin (`str`, *optional*): The value of the header Origin, which browsers send.

    Raises:
        ApiError: The request comes from a page of another site.
    """
    for value in (f"//{host}", origin):
        if value is not None and not is_local(_hostname(value)):
            raise ApiError(403, "This server accepts requests from its own machine only.", "forbidden_origin")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
