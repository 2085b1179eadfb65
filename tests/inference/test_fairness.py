"""Test the limits and the order of waiting requests."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.errors import BusyError, ShareError
from escoita.inference.fairness import MAX_WAITING, Client, FairOrder, anyone, require_audio_share, require_free_slot


@dataclass(frozen=True, eq=False)
class Segment:
    client: Client
    arrived: int = 0
    name: str = field(default="")


def client(address: str, session: str = "a") -> Client:
    return Client(address, session)


def served(waiting: list[Segment], arrivals: dict[int, list[Segment]], batches: int) -> list[Segment]:
    """Serve one segment at a time; `arrivals` come during the batch of that number."""
    order, waiting, done = FairOrder(), list(waiting), []
    for number in range(1, batches + 1):
        if not waiting:
            break
        first, *waiting = order.order(waiting)
        order.serve([first], number)
        done.append(first)
        waiting += arrivals.get(number, [])
    return done


def test_requests_of_one_client_are_served_in_their_order() -> None:
    segments = [Segment(client("x"), name=str(number)) for number in range(5)]
    assert served(segments, {}, 5) == segments


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abc"), st.integers(0, 9)), max_size=40))
def test_all_segments_are_kept_and_those_of_a_client_stay_in_order(requests: list[tuple[str, str, int]]) -> None:
    segments = [Segment(client(address, session), arrived) for address, session, arrived in requests]
    ordered = FairOrder().order(segments)
    assert len(ordered) == len(segments)
    for each in {segment.client for segment in segments}:
        assert [s for s in ordered if s.client == each] == [s for s in segments if s.client == each]


def test_a_later_client_waits_for_one_batch_of_another() -> None:
    many = [Segment(client("x")) for _ in range(100)]
    late = Segment(client("y"), arrived=1)
    assert served(many, {1: [late]}, 3).index(late) == 1


def test_many_sessions_of_one_address_share_its_turn() -> None:
    many = [Segment(client("x", str(number))) for number in range(100)]
    late = Segment(client("y"), arrived=1)
    assert served(many, {1: [late]}, 3).index(late) == 1


def test_sessions_of_one_address_are_served_in_turn() -> None:
    many = [Segment(client("x")) for _ in range(100)]
    late = Segment(client("x", "b"), arrived=1)
    assert served(many, {1: [late]}, 3).index(late) == 1


def test_new_clients_do_not_delay_a_long_recording_indefinitely() -> None:
    long = [Segment(client("x")) for _ in range(10)]
    arrivals = {number: [Segment(client(f"new {number}"), arrived=number)] for number in range(1, 60)}
    done = served(long, arrivals, 40)
    positions = [done.index(segment) for segment in long]
    assert positions == [0, *range(2, 20, 2)]


def test_a_client_may_have_two_waiting_requests() -> None:
    ours, other = client("x"), client("x", "b")
    require_free_slot(ours, [ours] * (MAX_WAITING - 1), 20)
    with pytest.raises(ShareError):
        require_free_slot(ours, [ours] * MAX_WAITING, 20)
    require_free_slot(other, [ours] * MAX_WAITING, 20)


def test_one_address_cannot_fill_the_queue() -> None:
    full = [client("x", str(number)) for number in range(15)]
    with pytest.raises(BusyError):
        require_free_slot(client("x", "new"), full, 20)
    require_free_slot(client("y"), full, 20)
    with pytest.raises(BusyError):
        require_free_slot(client("y"), [anyone() for _ in range(20)], 20)


def test_a_long_recording_is_accepted_if_no_other_of_the_client_waits() -> None:
    require_audio_share(1800, 0)
    require_audio_share(30, 30)
    for own, waiting in ((30, 31), (1800, 1), (1, 1800)):
        with pytest.raises(ShareError):
            require_audio_share(own, waiting)
