"""Share the serving engine fairly: limit the waiting requests of each client, and order them."""

import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import NamedTuple, Protocol, TypeVar

from escoita.errors import BusyError, ShareError


# The most waiting requests of one client, and the most seconds of audio in them. A longer request is accepted if no
# other request of the client waits.
MAX_WAITING = 2
MAX_WAITING_SECONDS = 60.0
# The largest share of the queue for one address, for any number of clients.
ADDRESS_SHARE = 0.75


class Client(NamedTuple):
    """
    Represent the sender of a request.

    Args:
        address (`Hashable`): The network address; addresses are served in turn.
        session (`Hashable`): The session at this address; sessions of one address are served in turn.
    """

    address: Hashable
    session: Hashable


class Segment(Protocol):
    """Represent a segment of a recording that waits to be transcribed."""

    @property
    def client(self) -> Client:
        """Return the client that sent the request."""

    @property
    def arrived(self) -> int:
        """Return the number of batches that had been started when the request arrived."""


Waiting = TypeVar("Waiting", bound=Segment)
Item = TypeVar("Item")


def anyone() -> Client:
    """Return a client that shares its limits with no other, for callers that do not identify the client."""
    return Client(object(), None)


def require_free_slot(client: Client, waiting: Sequence[Client], max_waiting: int) -> None:
    """
    Require that a further request of a client may wait.

    Args:
        client ([`Client`]): The client.
        waiting (`Sequence[Client]`): The clients of the waiting requests.
        max_waiting (`int`): The most requests that may wait.

    Raises:
        ShareError: As many requests of this client wait as one client may have.
        BusyError: The queue is full, or the share of this address is.
    """
    if waiting.count(client) >= MAX_WAITING:
        raise ShareError(f"{MAX_WAITING} requests of this client are already waiting", hint="wait for one of them")
    of_address = sum(each.address == client.address for each in waiting)
    if len(waiting) >= max_waiting or of_address >= max(1, ADDRESS_SHARE * max_waiting):
        raise BusyError(
            f"{len(waiting)} other requests are waiting", hint="try again in a minute", waiting=len(waiting)
        )


def require_audio_share(seconds: float, waiting_seconds: float) -> None:
    """
    Require that a further recording of a client may wait.

    Args:
        seconds (`float`): The length of the recording, in seconds.
        waiting_seconds (`float`): The length of the waiting recordings of the same client, in seconds.

    Raises:
        ShareError: Their total length is over the limit of one client.
    """
    if waiting_seconds and waiting_seconds + seconds > MAX_WAITING_SECONDS:
        raise ShareError(f"{waiting_seconds:.0f} s of audio of this client are already waiting", hint="wait for them")


class RequestSlots:
    """Limit concurrent requests that are not queued, in total and for each client."""

    def __init__(self) -> None:
        self._taken: list[Client] = []
        self._lock = threading.Lock()

    @contextmanager
    def take(self, client: Client, max_requests: int) -> Iterator[None]:
        """
        Count a request while the context is open.

        Args:
            client ([`Client`]): The client.
            max_requests (`int`): The most concurrent requests.

        Raises:
            ShareError: The client has as many requests as one client may have.
            BusyError: There are too many requests, in total or of this address.
        """
        with self._lock:
            require_free_slot(client, self._taken, max_requests)
            self._taken.append(client)
        try:
            yield
        finally:
            with self._lock:
                self._taken.remove(client)


class FairOrder:
    """
    Order the waiting segments: addresses are served in turn, and so are the clients of each address.

    A client that has just been served comes after clients whose request arrived before that batch ended, and before
    later ones. So a client waits at most for one batch of each other address and of each other client of its own
    address, for any length of their queues, and new clients cannot delay it indefinitely.
    """

    def __init__(self) -> None:
        self._served: dict[Hashable, float] = {}

    def order(self, waiting: Iterable[Waiting]) -> list[Waiting]:
        """
        Sort segments by the turns of their clients.

        Args:
            waiting (`Iterable[Waiting]`): The segments in the order of their arrival.
        """
        by_address: dict[Hashable, dict[Client, list[Waiting]]] = {}
        for segment in waiting:
            by_address.setdefault(segment.client.address, {}).setdefault(segment.client, []).append(segment)
        addresses = []
        for address, clients in by_address.items():
            turns = [(self._turn(client, own), own) for client, own in clients.items()]
            segments = _alternated(own for _, own in sorted(turns, key=lambda turn: turn[0]))
            addresses.append((self._turn((address,), segments), segments))
        return _alternated(segments for _, segments in sorted(addresses, key=lambda turn: turn[0]))

    def serve(self, batch: Iterable[Waiting], started: int) -> None:
        """
        Record the clients of a batch as served.

        Args:
            batch (`Iterable[Waiting]`): The segments that are transcribed next.
            started (`int`): The number of batches that have been started, including this one.
        """
        # A request that arrives while this batch is transcribed has the arrival `started`, and comes first.
        self._served = {each: turn for each, turn in self._served.items() if turn >= started}
        for segment in batch:
            self._served[segment.client] = self._served[(segment.client.address,)] = started + 0.5

    def _turn(self, key: Hashable, segments: Sequence[Waiting]) -> float:
        return max(self._served.get(key, 0.0), min(segment.arrived for segment in segments))


def _alternated(lists: Iterable[Sequence[Item]]) -> list[Item]:
    """Return the first item of each list, then the second of each, and so on."""
    return [item for row in zip_longest(*lists) for item in row if item is not None]
