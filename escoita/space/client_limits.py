"""Limit what each client of the page may send, and how long its recordings may be."""

import ipaddress
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.audio.loading import check_header
from escoita.errors import ShareError
from escoita.inference.fairness import Client, RequestSlots
from escoita.recipe.schema import Space
from escoita.space.refusals import RecordingRefusal, ShareRefusal, refusal, translatable
from escoita.space.texts import format_time, preferred_language, translate


if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


# The unit in which Gradio limits an upload.
MEGABYTE = 2**20


def check_limits(path: Path, settings: Space) -> None:
    """
    Check a file before it is decoded, because a small file can contain hours of audio, or many channels.

    If the header declares no length (a live recording of a browser), the length is checked during decoding.

    Args:
        path (`Path`): The recording.
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.

    Raises:
        RecordingRefusal: The file does not exist, is empty, or is over a limit of the page.
    """
    if not path.is_file():
        raise RecordingRefusal("deleted", path=path.name)
    size = path.stat().st_size
    if size == 0:
        raise RecordingRefusal("empty", path=path.name)
    if size > settings.max_megabytes * MEGABYTE:
        megabytes = f"{size / MEGABYTE:.1f}"
        raise RecordingRefusal("megabytes", path=path.name, size=megabytes, limit=f"{settings.max_megabytes:g}")
    with translatable(settings):
        check_header(path, settings.max_minutes * 60)


def limits(settings: Space, language: str = "en") -> str:
    """Return the limits of a recording in words: `30 seconds and 10 MB`."""
    time = format_time(settings.max_minutes * 60, language)
    return translate("limits.both", language, time=time, megabytes=f"{settings.max_megabytes:g}")


# Seconds over which uploads and sessions are counted.
WINDOW = 900.0
# Uploads of one client in this time, and their bytes; the same for one address, however many clients it has.
MAX_UPLOADS, MAX_UPLOADED = 20, 200 * MEGABYTE
ADDRESS_UPLOADS, ADDRESS_UPLOADED = 50 * MAX_UPLOADS, 10 * MAX_UPLOADED
# Seconds over which calls are counted (POST requests, and requests for the page); calls of one client, of one address.
CALL_WINDOW = 10.0
MAX_CALLS, ADDRESS_CALLS = 100, 1_000
# Sessions of one address in this time; all further sessions and requests without a session are one client.
ADDRESS_SESSIONS = 100
# Keys without recent entries are removed at this number of keys, or at twice the number that was left the last time.
MANY_KEYS = 10_000
# A header that identifies the client within this process; it is removed from requests from outside.
HEADER = "x-escoita-client"
SESSION = re.compile(r"[\w-]{20,64}")


class Window:
    """
    Count the recent entries of each key.

    Args:
        seconds (`float`): The time for which an entry counts.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._entries: dict[Hashable, deque[tuple[float, int]]] = {}
        self._max_keys = MANY_KEYS

    def used(self, key: Hashable) -> tuple[int, int]:
        """Return the number of entries of a key, and the sum of their amounts."""
        entries, since = self._entries.get(key, deque()), time.monotonic() - self.seconds
        while entries and entries[0][0] < since:
            entries.popleft()
        return len(entries), sum(amount for _, amount in entries)

    def add(self, key: Hashable, amount: int = 0) -> None:
        """Add an entry."""
        if len(self._entries) > self._max_keys:
            self._entries = {each: entries for each, entries in self._entries.items() if self.used(each)[0]}
            self._max_keys = max(MANY_KEYS, 2 * len(self._entries))
        self._entries.setdefault(key, deque()).append((time.monotonic(), amount))


class Clients:
    """
    Identify clients, and count their requests.

    A client is a session at an address. The page gives each browser a session, by a cookie that has no other purpose;
    all requests of an address without a session are one client.

    Args:
        proxy_hops (`int`, *optional*, defaults to 0): The number of proxies in front of the page, each of which adds
            the address of its peer to the header X-Forwarded-For; if it is 0, the header is ignored.
    """

    def __init__(self, proxy_hops: int = 0):
        self.proxy_hops = proxy_hops
        self.cookie = f"escoita-{secrets.token_hex(4)}"  # pages on other ports of a machine get the same cookies
        self._secret = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._uploads, self._calls = Window(WINDOW), Window(CALL_WINDOW)
        # Requests that wait until the model is loaded.
        self.loading = RequestSlots()
        self._sessions: dict[str, dict[str, float]] = {}
        self._max_addresses = MANY_KEYS

    def of(self, request: "gr.Request") -> Client:
        """Return the client of a request that Gradio passes to a function of the page."""
        known = self.known(request.headers)
        return known or Client(self.address(request.client.host, []), None)

    def known(self, headers: Mapping[str, str]) -> Client | None:
        """Return the client of a request by the header that this process adds; `None` without this header."""
        secret, _, rest = headers.get(HEADER, "").partition(" ")
        if not secrets.compare_digest(secret.encode(), self._secret.encode()):
            return None
        address, _, session = rest.partition(" ")
        return Client(address, session or None)

    def header(self, client: Client) -> str:
        """Return the value of the header that identifies a client within this process."""
        return f"{self._secret} {client.address} {client.session or ''}".rstrip()

    def address(self, peer: str, forwarded: Sequence[str]) -> str:
        """
        Return the address of a client: the rightmost address that is not one of a trusted proxy.

        Args:
            peer (`str`): The address of the connection.
            forwarded (`Sequence[str]`): The values of X-Forwarded-For, in order.
        """
        addresses = [each.strip() for value in forwarded for each in value.split(",") if each.strip()]
        chain = [*addresses, peer] if self.proxy_hops else [peer]
        return normalize_address(chain[-min(self.proxy_hops + 1, len(chain))])

    def client(self, address: str, cookies: str) -> Client:
        """
        Return the client of a request from outside.

        Args:
            address (`str`): The result of [`~Clients.address`].
            cookies (`str`): The header Cookie.
        """
        from starlette.requests import cookie_parser

        session = cookie_parser(cookies).get(self.cookie, "")
        if not SESSION.fullmatch(session):
            return Client(address, None)
        now = time.monotonic()
        with self._lock:
            if len(self._sessions) > self._max_addresses:
                self._sessions = {
                    each: known for each, known in self._sessions.items() if max(known.values()) > now - WINDOW
                }
                self._max_addresses = max(MANY_KEYS, 2 * len(self._sessions))
            known = self._sessions.setdefault(address, {})
            if session not in known and len(known) >= ADDRESS_SESSIONS:
                for each in [each for each, last_seen in known.items() if last_seen < now - WINDOW]:
                    del known[each]
                if len(known) >= ADDRESS_SESSIONS:
                    return Client(address, None)
            known[session] = now
        return Client(address, session)

    def take_call(self, client: Client) -> None:
        """
        Count a request.

        Raises:
            ShareError: The client, or its address, has sent too many requests.
        """
        self._take(self._calls, client, 0, (MAX_CALLS, 1), (ADDRESS_CALLS, 1))

    def take_upload(self, client: Client, size: int) -> None:
        """
        Count an upload, before it is stored.

        Args:
            client ([`~escoita.inference.fairness.Client`]): The sender.
            size (`int`): The size in bytes.

        Raises:
            ShareError: The client, or its address, has sent too much.
        """
        self._take(self._uploads, client, size, (MAX_UPLOADS, MAX_UPLOADED), (ADDRESS_UPLOADS, ADDRESS_UPLOADED))

    def _take(self, window: Window, client: Client, size: int, own: tuple[int, int], shared: tuple[int, int]) -> None:
        with self._lock:
            for key, (max_entries, max_bytes) in ((client, own), ((client.address,), shared)):
                count, total = window.used(key)
                if count >= max_entries or total + size > max_bytes:
                    raise ShareRefusal("sent")
            for key in (client, (client.address,)):
                window.add(key, size)


def normalize_address(address: str) -> str:
    """Return an address without its port; for IPv6 the network of 64 bits, which belongs to one customer."""
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        address = address.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return re.sub(r"[^\w.-]", "_", address[:64], flags=re.ASCII)
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
        parsed = parsed.ipv4_mapped
    return str(parsed)


# Bytes of a form in addition to its file, and of a request without a recording.
FORM_BYTES, CALL_BYTES = 64 * 1024, MEGABYTE
# The size of a recording in base64, as the Model Context Protocol sends it, relative to its bytes.
BASE64 = 4 / 3


class TooLargeError(Exception):
    """Report that a body without a declared length is over the limit."""


class Gate:
    """
    Identify the client of each request, and refuse requests over a limit before they are read (middleware).

    Args:
        app (`ASGIApp`): The application.
        clients ([`~escoita.space.client_limits.Clients`]): The counters of the clients.
        max_megabytes (`float`): The size of the largest recording.
        languages (`Sequence[str]`): The languages of the page.
    """

    def __init__(self, app: "ASGIApp", clients: Clients, max_megabytes: float, languages: Sequence[str]):
        self.app, self.clients, self.languages = app, clients, languages
        self.max_bytes = int(max_megabytes * MEGABYTE)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        inner = self.clients.known({HEADER: headers.get(HEADER.encode(), "")})
        client = inner or self._client(scope, headers)
        scope["headers"] = [
            *(each for each in scope["headers"] if each[0] != HEADER.encode()),
            (HEADER.encode(), self.clients.header(client).encode("latin-1", "replace")),
        ]
        form, size = headers.get(b"content-type", "").lower().startswith("multipart/"), 0
        if scope["method"] == "POST":
            max_bytes = self._max_bytes(scope["path"], form)
            length = headers.get(b"content-length", "")
            size = int(length) if length.isdecimal() else max_bytes
            if size > max_bytes:
                await _answer(send, 413, f"{size} bytes exceed the maximum allowed size of {max_bytes} bytes.")
                return
            receive = _limited(receive, max_bytes)
        pages = scope["path"] in ("/", "/config")
        retry = CALL_WINDOW
        try:
            if inner is None and (pages or scope["method"] == "POST"):
                self.clients.take_call(client)
            if inner is None and form:
                retry = WINDOW
                self.clients.take_upload(client, size)
        except ShareError as error:
            language = preferred_language(headers.get(b"accept-language"), self.languages)
            await _answer(send, 429, refusal(error, language), retry)
            return
        if pages and client.session is None:
            send = self._with_session(send, headers)
        try:
            await self.app(scope, receive, send)
        except TooLargeError:
            await _answer(send, 413, f"The body exceeds the maximum allowed size of {self.max_bytes} bytes.")

    def _client(self, scope: "Scope", headers: dict[bytes, str]) -> Client:
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        peer = scope["client"][0] if scope.get("client") else ""
        return self.clients.client(self.clients.address(peer, forwarded), headers.get(b"cookie", ""))

    def _max_bytes(self, path: str, form: bool) -> int:
        if form:
            return self.max_bytes + FORM_BYTES
        if "/mcp" in path:
            return int(BASE64 * self.max_bytes) + CALL_BYTES
        return CALL_BYTES

    def _with_session(self, send: "Send", headers: dict[bytes, str]) -> "Send":
        # In the frame of the Hub a browser only stores a cookie with these attributes, which require https.
        secure = headers.get(b"x-forwarded-proto", "").split(",")[0].strip() == "https"
        attributes = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"
        cookie = f"{self.clients.cookie}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; {attributes}"

        async def send_with_cookie(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie.encode())]}
            await send(message)

        return send_with_cookie


def _limited(receive: "Receive", max_bytes: int) -> "Receive":
    received_bytes = 0

    async def receive_limited() -> "Message":
        nonlocal received_bytes
        message = await receive()
        received_bytes += len(message.get("body", b""))
        if received_bytes > max_bytes:
            raise TooLargeError
        return message

    return receive_limited


async def _answer(send: "Send", status: int, text: str, retry: float | None = None) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if retry is not None:
        headers.append((b"retry-after", str(round(retry)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
