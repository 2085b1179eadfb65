"""Limit what each client of the page may send, and how long its recordings may be."""

import ipaddress
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.audio.loading import check_header
from escoita.errors import AudioError, AudioLimitError, ShareError
from escoita.inference.fairness import Client, Places
from escoita.recipe.schema import Space
from escoita.space.texts import language_of, refusal, say, spoken_time


if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


# As Gradio counts when it refuses an upload.
MEGABYTE = 2**20


def check_limits(path: Path, settings: Space) -> None:
    """
    Refuses a file before it is decoded, as a small file can hold hours, or many channels.

    A file whose header declares no length (a live recording of a browser) is refused while it is decoded.

    Raises:
        AudioError: It is gone, empty, or over a limit of the page.
    """
    if not path.is_file():
        raise AudioError("deleted here meanwhile; record or choose it again", path=path.name)
    size = path.stat().st_size
    if size == 0:
        raise AudioError("the file is empty", path=path.name)
    if size > settings.max_megabytes * MEGABYTE:
        limit = f"{settings.max_megabytes:g} MB"
        raise AudioError(f"{size / MEGABYTE:.1f} MB is over the {limit} that this page takes", path=path.name)
    with page_words(settings):
        check_header(path, settings.max_minutes * 60)


@contextmanager
def page_words(settings: Space) -> Iterator[None]:
    """
    Says what is over a limit of the decoder in the words of the page.

    Raises:
        AudioError: Instead of [`~escoita.errors.AudioLimitError`].
    """
    try:
        yield
    except AudioLimitError as error:
        name, reason = Path(str(error.path)).name, error.problem
        if error.max_seconds is not None:
            reason = f"longer than the {spoken_time(settings.max_minutes * 60)} that this page takes"
        raise AudioError(reason, path=name) from error


def limits(settings: Space, language: str = "en") -> str:
    """What a recording may measure, as one says it: `30 seconds and 10 MB`."""
    time = spoken_time(settings.max_minutes * 60, language)
    return say("limits.both", language, time=time, megabytes=f"{settings.max_megabytes:g}")


MEGABYTE = 2**20
# Seconds over which uploads and sessions are counted.
WINDOW = 900.0
# Uploads of one client in this time, and their bytes; and those of one address, however many clients it has.
MAX_UPLOADS, MAX_UPLOADED = 20, 200 * MEGABYTE
ADDRESS_UPLOADS, ADDRESS_UPLOADED = 50 * MAX_UPLOADS, 10 * MAX_UPLOADED
# Seconds over which calls are counted (POST requests, and those for the page itself); of one client, of one address.
CALL_WINDOW = 10.0
MAX_CALLS, ADDRESS_CALLS = 100, 1_000
# Sessions of one address in this time; further ones count as one client, together with requests without a session.
ADDRESS_SESSIONS = 100
# With so many keys, or twice as many as were left the last time, those that hold nothing any more are dropped.
MANY_KEYS = 10_000
# A header of requests within this process. A request from outside never keeps it.
HEADER = "x-escoita-client"
SESSION = re.compile(r"[\w-]{20,64}")


class Window:
    """
    What each key has used lately.

    Args:
        seconds (`float`): How long an entry counts.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._entries: dict[Hashable, deque[tuple[float, int]]] = {}
        self._many = MANY_KEYS

    def used(self, key: Hashable) -> tuple[int, int]:
        """How many entries of a key there are, and the sum of their amounts."""
        entries, since = self._entries.get(key, deque()), time.monotonic() - self.seconds
        while entries and entries[0][0] < since:
            entries.popleft()
        return len(entries), sum(amount for _, amount in entries)

    def add(self, key: Hashable, amount: int = 0) -> None:
        """Notes an entry."""
        if len(self._entries) > self._many:
            self._entries = {each: kept for each, kept in self._entries.items() if self.used(each)[0]}
            self._many = max(MANY_KEYS, 2 * len(self._entries))
        self._entries.setdefault(key, deque()).append((time.monotonic(), amount))


class Clients:
    """
    Tells clients apart, and counts what they send.

    A client is a session at an address. The page gives each browser a session, by a cookie without any other meaning;
    requests without one are, together, one client of their address.

    Args:
        proxy_hops (`int`, *optional*, defaults to 0): Proxies in front of the page, each of which adds the address of
            its peer to the header X-Forwarded-For; without any the header is ignored.
    """

    def __init__(self, proxy_hops: int = 0):
        self.proxy_hops = proxy_hops
        self.cookie = f"escoita-{secrets.token_hex(4)}"  # pages on other ports of a machine get the same cookies
        self._secret = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._uploads, self._calls = Window(WINDOW), Window(CALL_WINDOW)
        # Requests that wait for the model to be loaded.
        self.loading = Places()
        self._sessions: dict[str, dict[str, float]] = {}
        self._many = MANY_KEYS

    def of(self, request: "gr.Request") -> Client:
        """Who sent a request, as a function of the page gets it."""
        known = self.known(request.headers)
        return known or Client(self.address(request.client.host, []), None)

    def known(self, headers: Mapping[str, str]) -> Client | None:
        """Who sent a request, by the header that this process adds; none if it has not."""
        secret, _, rest = headers.get(HEADER, "").partition(" ")
        if not secrets.compare_digest(secret.encode(), self._secret.encode()):
            return None
        address, _, session = rest.partition(" ")
        return Client(address, session or None)

    def header(self, client: Client) -> str:
        """The value of the header that tells this process who a request is from."""
        return f"{self._secret} {client.address} {client.session or ''}".rstrip()

    def address(self, peer: str, forwarded: Sequence[str]) -> str:
        """
        The address that counts: the rightmost that no trusted proxy has.

        Args:
            peer (`str`): The address of the connection.
            forwarded (`Sequence[str]`): Values of X-Forwarded-For, in order.
        """
        named = [each.strip() for value in forwarded for each in value.split(",") if each.strip()]
        chain = [*named, peer] if self.proxy_hops else [peer]
        return normalized(chain[-min(self.proxy_hops + 1, len(chain))])

    def client(self, address: str, cookies: str) -> Client:
        """
        Who sends a request from outside.

        Args:
            address (`str`): As [`~Clients.address`] gives it.
            cookies (`str`): The header Cookie.
        """
        from starlette.requests import cookie_parser

        session = cookie_parser(cookies).get(self.cookie, "")
        if not SESSION.fullmatch(session):
            return Client(address, None)
        now = time.monotonic()
        with self._lock:
            if len(self._sessions) > self._many:
                self._sessions = {
                    each: known for each, known in self._sessions.items() if max(known.values()) > now - WINDOW
                }
                self._many = max(MANY_KEYS, 2 * len(self._sessions))
            known = self._sessions.setdefault(address, {})
            if session not in known and len(known) >= ADDRESS_SESSIONS:
                for each in [each for each, seen in known.items() if seen < now - WINDOW]:
                    del known[each]
                if len(known) >= ADDRESS_SESSIONS:
                    return Client(address, None)
            known[session] = now
        return Client(address, session)

    def take_call(self, client: Client) -> None:
        """
        Counts a request.

        Raises:
            ShareError: The client has sent too many.
        """
        self._take(self._calls, client, 0, (MAX_CALLS, 1), (ADDRESS_CALLS, 1))

    def take_upload(self, client: Client, size: int) -> None:
        """
        Counts an upload, before it is stored.

        Args:
            client ([`~escoita.inference.fairness.Client`]): Who sends it.
            size (`int`): Its bytes.

        Raises:
            ShareError: The client, or its address, has sent too much.
        """
        self._take(self._uploads, client, size, (MAX_UPLOADS, MAX_UPLOADED), (ADDRESS_UPLOADS, ADDRESS_UPLOADED))

    def _take(self, window: Window, client: Client, size: int, own: tuple[int, int], shared: tuple[int, int]) -> None:
        with self._lock:
            for key, (most, most_bytes) in ((client, own), ((client.address,), shared)):
                count, total = window.used(key)
                if count >= most or total + size > most_bytes:
                    raise ShareError(say("refusal.sent"))
            for key in (client, (client.address,)):
                window.add(key, size)


def normalized(address: str) -> str:
    """An address without its port; of an IPv6 address the network of 64 bits, all of which one customer has."""
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


# Bytes of a form around the file in it, and of a request that holds no recording.
FORM_BYTES, CALL_BYTES = 64 * 1024, MEGABYTE
# What a recording grows by as text, over the Model Context Protocol.
BASE64 = 4 / 3


class TooLargeError(Exception):
    """A body is larger than what is taken; its length was not declared."""


class Gate:
    """
    Tells the page who asks, and refuses what is too much before it is read.

    Args:
        app (`ASGIApp`): What is asked.
        clients ([`~escoita.space.client_limits.Clients`]): Counts what each client sends.
        max_megabytes (`float`): The largest recording.
        languages (`Sequence[str]`): Of the page.
    """

    def __init__(self, app: "ASGIApp", clients: Clients, max_megabytes: float, languages: Sequence[str]):
        self.app, self.clients, self.languages = app, clients, languages
        self.max_bytes = int(max_megabytes * MEGABYTE)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """See [`Gate`]."""
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
            most = self._most(scope["path"], form)
            length = headers.get(b"content-length", "")
            size = int(length) if length.isdecimal() else most
            if size > most:
                await _answer(send, 413, f"{size} bytes exceed the maximum allowed size of {most} bytes.")
                return
            receive = _at_most(receive, most)
        pages = scope["path"] in ("/", "/config")
        retry = CALL_WINDOW
        try:
            if inner is None and (pages or scope["method"] == "POST"):
                self.clients.take_call(client)
            if inner is None and form:
                retry = WINDOW
                self.clients.take_upload(client, size)
        except ShareError as error:
            language = language_of(headers.get(b"accept-language"), self.languages)
            await _answer(send, 429, refusal(str(error), language), retry)
            return
        if pages and client.session is None:
            send = self._with_session(send, headers)
        try:
            await self.app(scope, receive, send)
        except TooLargeError:
            await _answer(send, 413, f"More than the maximum allowed size of {self.max_bytes} bytes.")

    def _client(self, scope: "Scope", headers: dict[bytes, str]) -> Client:
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        peer = scope["client"][0] if scope.get("client") else ""
        return self.clients.client(self.clients.address(peer, forwarded), headers.get(b"cookie", ""))

    def _most(self, path: str, form: bool) -> int:
        if form:
            return self.max_bytes + FORM_BYTES
        if "/mcp" in path:
            return int(BASE64 * self.max_bytes) + CALL_BYTES
        return CALL_BYTES

    def _with_session(self, send: "Send", headers: dict[bytes, str]) -> "Send":
        # In the frame of the Hub a cookie is only kept if it is marked so, which takes https.
        secure = headers.get(b"x-forwarded-proto", "").split(",")[0].strip() == "https"
        marks = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"
        cookie = f"{self.clients.cookie}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; {marks}"

        async def sent(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie.encode())]}
            await send(message)

        return sent


def _at_most(receive: "Receive", most: int) -> "Receive":
    taken = 0

    async def received() -> "Message":
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise TooLargeError
        return message

    return received


async def _answer(send: "Send", status: int, text: str, retry: float | None = None) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if retry is not None:
        headers.append((b"retry-after", str(round(retry)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
