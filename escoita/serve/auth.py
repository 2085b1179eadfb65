"""Check API keys and addresses: who may use a server."""

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
# Characters of a key; a shorter one can be guessed.
SHORTEST_KEY = 16


class ApiKeys:
    """
    Hold the digests of the keys that a server accepts, never the keys themselves.

    Args:
        keys (`Iterable[str]`): The keys.
    """

    def __init__(self, keys: Iterable[str]):
        self._digests = [_digest(key) for key in dict.fromkeys(keys)]

    def __len__(self) -> int:
        return len(self._digests)

    def owner(self, authorization: str) -> int | None:
        """
        Return the number of the key in a header; the time that this takes depends on no key.

        Args:
            authorization (`str`): The header Authorization.

        Returns:
            `int`: The number, from 0; none if the key is not one of them.
        """
        scheme, _, key = authorization.partition(" ")
        given, found = _digest(key.strip()), None
        for number, digest in enumerate(self._digests):
            if hmac.compare_digest(given, digest):  # no early end
                found = number
        return found if scheme.lower() == "bearer" else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(path: Path | None, environment: Mapping[str, str] = os.environ) -> ApiKeys | None:
    """
    Read the keys of a file, one in a line, or of `ESCOITA_API_KEYS`, separated by commas or spaces.

    Args:
        path (`Path`, *optional*): The file; lines that begin with `#` are comments.
        environment (`Mapping[str, str]`, *optional*): The environment variables, which are used without a file.

    Returns:
        [`ApiKeys`]: None if neither is given.

    Raises:
        EscoitaError: The file cannot be read or has no key, or a key is too short.
    """
    if path is not None:
        try:
            lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text in UTF-8"
            raise EscoitaError(f"cannot be read ({reason})", key="--api-key-file", value=path) from error
        keys = [line for line in lines if line and not line.startswith("#")]
    else:
        keys = environment.get(KEYS_VARIABLE, "").replace(",", " ").split()
        if not keys:
            return None
    source = KEYS_VARIABLE if path is None else str(path)
    if not keys:
        raise EscoitaError("no key in it", path=source, hint="write one key per line")
    for number, key in enumerate(keys, start=1):
        if len(key) < SHORTEST_KEY or not key.isascii() or " " in key:
            raise EscoitaError(
                f"key {number} is not a key",
                path=source,
                hint=f"write at least {SHORTEST_KEY} ASCII characters without spaces, such as the output of"
                " `openssl rand -hex 24`",
            )
    return ApiKeys(keys)


def is_local(host: str) -> bool:
    """
    Return whether a host name or address is this machine's own.

    Args:
        host (`str`): A name, an IPv4 address, or an IPv6 address with or without brackets.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_protection(host: str, keys: ApiKeys | None, no_auth: bool) -> None:
    """
    Check that a server which other machines can reach asks for keys.

    Args:
        host (`str`): The address to listen on.
        keys ([`ApiKeys`], *optional*): The accepted keys.
        no_auth (`bool`): Whether everyone is let in on purpose.

    Raises:
        EscoitaError: It does not.
    """
    if keys is not None and no_auth:
        raise EscoitaError("contradicts the API keys that are set", key="--no-auth", hint="leave out one of the two")
    if keys is None and not no_auth and not is_local(host):
        raise EscoitaError(
            "other machines could use this server without a key",
            key="--host",
            value=host,
            hint=f"give --api-key-file or {KEYS_VARIABLE}, or --no-auth to let everyone in",
        )


def require_local_request(host: str, origin: str | None) -> None:
    """
    Check that a request to a server without keys comes from a program of this machine, not from a page of another
    site that is open in a browser here.

    Args:
        host (`str`): The header Host.
        origin (`str`, *optional*): The header Origin, which browsers send.

    Raises:
        ApiError: It comes from a page of another site.
    """
    for value in (f"//{host}", origin):
        if value is not None and not is_local(_hostname(value)):
            raise ApiError(403, "This server answers programs of its own machine only.", "forbidden_origin")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
