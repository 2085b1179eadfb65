"""Share the serving engine fairly: who may wait, and whose request is transcribed next."""

import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import NamedTuple, Protocol, TypeVar

from escoita.errors import BusyError, ShareError


# Requests of one client that may wait at once, and seconds of audio in them. A request that is longer than that is
# accepted if nothing else of the client waits.
MAX_WAITING = 2
MAX_WAITING_SECONDS = 60.0
# The share of the queue that one address may take, however many clients it has.
ADDRESS_SHARE = 0.75


class Client(NamedTuple):
    """
    Who sends a request.

    Args:
        address (`Hashable`): The network address; addresses are served in turn.
        session (`Hashable`): The session at this address; sessions of one address are served in turn.
    """

    address: Hashable
    session: Hashable


class Segment(Protocol):
    """A segment of a recording that waits to be transcribed."""

    @property
    def client(self) -> Client:
        """Who asked for it."""

    @property
    def arrived(self) -> int:
        """How many batches had been started when the request arrived."""


Waiting = TypeVar("Waiting", bound=Segment)
Item = TypeVar("Item")


def anyone() -> Client:
    """A client that shares its limits with no other: for callers that do not say who asks."""
    return Client(object(), None)


def require_place(client: Client, waiting: Sequence[Client], max_waiting: int) -> None:
    """
    Checks that a further request of a client may wait.

    Args:
        client ([`Client`]): Who asks.
        waiting (`Sequence[Client]`): Who asked for the requests that wait already.
        max_waiting (`int`): Requests that may wait at once.

    Raises:
        ShareError: As many requests of this client wait as one client may have.
        BusyError: The queue is full, or its part for this address is.
    """
    if waiting.count(client) >= MAX_WAITING:
        raise ShareError(f"{MAX_WAITING} requests of this client wait already; wait for one of them")
    of_address = sum(each.address == client.address for each in waiting)
    if len(waiting) >= max_waiting or of_address >= max(1, ADDRESS_SHARE * max_waiting):
        raise BusyError(f"{len(waiting)} others are waiting already; try again in a minute", waiting=len(waiting))


def require_seconds(seconds: float, waiting_seconds: float) -> None:
    """
    Checks that a further recording of a client may wait.

    Args:
        seconds (`float`): Its length.
        waiting_seconds (`float`): Length of what waits of the same client already.

    Raises:
        ShareError: Together they are longer than one client may have.
    """
    if waiting_seconds and waiting_seconds + seconds > MAX_WAITING_SECONDS:
        raise ShareError(f"{waiting_seconds:.0f} s of audio of this client wait already; wait for them")


class Places:
    """Places for requests that nobody puts into an order; of one client as many as may wait in the queue."""

    def __init__(self) -> None:
        self._taken: list[Client] = []
        self._lock = threading.Lock()

    @contextmanager
    def take(self, client: Client, most: int) -> Iterator[None]:
        """
        Holds a place.

        Args:
            client ([`Client`]): Who asks.
            most (`int`): Requests at once.

        Raises:
            ShareError: This client holds as many as one client may.
            BusyError: All places are taken, or those for this address are.
        """
        with self._lock:
            require_place(client, self._taken, most)
            self._taken.append(client)
        try:
            yield
        finally:
            with self._lock:
                self._taken.remove(client)


class FairOrder:
    """
    Decides whose turn it is: addresses take turns, and so do the clients of each address.

    A client that has just been served comes after those who asked before that batch ended, and before those who ask
    later. So a client waits at most for one batch of each other address and of each other client of its own address,
    however much they have queued, and no stream of new clients can hold anybody up for ever.
    """

    def __init__(self) -> None:
        self._served: dict[Hashable, float] = {}

    def order(self, waiting: Iterable[Waiting]) -> list[Waiting]:
        """
        Sorts segments by whose turn it is.

        Args:
            waiting (`Iterable[Waiting]`): In the order of their arrival.
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
        Notes who is served.

        Args:
            batch (`Iterable[Waiting]`): The segments that are transcribed next.
            started (`int`): How many batches have been started, this one included.
        """
        # Who asks while this batch is transcribed has arrived at `started`, and comes first; who asks later does not.
        self._served = {each: turn for each, turn in self._served.items() if turn >= started}
        for segment in batch:
            self._served[segment.client] = self._served[(segment.client.address,)] = started + 0.5

    def _turn(self, who: Hashable, segments: Sequence[Waiting]) -> float:
        return max(self._served.get(who, 0.0), min(segment.arrived for segment in segments))


def _alternated(lists: Iterable[Sequence[Item]]) -> list[Item]:
    """The first of each list, then the second of each, and so on."""
    return [item for row in zip_longest(*lists) for item in row if item is not None]
