"""Who is who, and how much of each."""

import pytest

from escoita.errors import ShareError
from escoita.inference.fairness import Client
from escoita.space import client_limits as module
from escoita.space.client_limits import (
    ADDRESS_SESSIONS,
    HEADER,
    MAX_UPLOADED,
    MAX_UPLOADS,
    MEGABYTE,
    WINDOW,
    Clients,
    normalized,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def session(clients: Clients, address: str, value: str) -> Client:
    return clients.client(address, f"{clients.cookie}={value.ljust(20, 'x')}")


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, [], "10.0.0.1"),
        (0, ["1.2.3.4"], "10.0.0.1"),  # whoever connects may write it
        (1, [], "10.0.0.1"),
        (1, ["1.2.3.4"], "1.2.3.4"),
        (1, ["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
        (1, ["9.9.9.9", "1.2.3.4"], "1.2.3.4"),
        (1, ["forged, , 1.2.3.4 "], "1.2.3.4"),
        (2, ["9.9.9.9, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        (2, ["1.2.3.4"], "1.2.3.4"),
        (1, ["9.9.9.9, 1.2.3.4:5678"], "1.2.3.4"),
    ],
)
def test_the_rightmost_address_that_no_trusted_proxy_has_counts(hops: int, forwarded: list[str], address: str) -> None:
    assert Clients(hops).address("10.0.0.1", forwarded) == address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("<b> \r\n", "_b____"),
        ("", ""),
    ],
)
def test_an_address_is_one_customer(address: str, expected: str) -> None:
    assert normalized(address) == expected


def test_a_client_is_a_session_at_an_address() -> None:
    clients = Clients()
    ours = session(clients, "1.1.1.1", "a")
    assert ours == session(clients, "1.1.1.1", "a") != session(clients, "1.1.1.1", "b")
    assert ours != session(clients, "2.2.2.2", "a")
    assert (
        clients.client("1.1.1.1", "")
        == clients.client("1.1.1.1", f"{clients.cookie}=short")
        == Client("1.1.1.1", None)
    )
    assert clients.client("1.1.1.1", "other=1; \x00=; ]") == Client("1.1.1.1", None)


def test_an_address_has_so_many_sessions_and_then_they_are_one(clock: list[float]) -> None:
    clients = Clients()
    known = [session(clients, "1.1.1.1", f"s{number}") for number in range(ADDRESS_SESSIONS)]
    assert len(set(known)) == ADDRESS_SESSIONS
    assert session(clients, "1.1.1.1", "more") == session(clients, "1.1.1.1", "again") == Client("1.1.1.1", None)
    assert session(clients, "1.1.1.1", "s0") == known[0]
    assert session(clients, "2.2.2.2", "more").session is not None
    clock[0] += WINDOW + 1
    assert session(clients, "1.1.1.1", "more").session is not None


def test_uploads_of_a_client_are_counted(clock: list[float]) -> None:
    clients = Clients()
    ours, others = Client("1.1.1.1", "a"), Client("1.1.1.1", "b")
    for _ in range(MAX_UPLOADS):
        clients.take_upload(ours, 1)
    with pytest.raises(ShareError):
        clients.take_upload(ours, 1)
    clients.take_upload(others, 1)
    clock[0] += WINDOW + 1
    clients.take_upload(ours, 1)


def test_bytes_of_a_client_are_counted() -> None:
    clients = Clients()
    clients.take_upload(Client("1.1.1.1", "a"), MAX_UPLOADED - MEGABYTE)
    with pytest.raises(ShareError):
        clients.take_upload(Client("1.1.1.1", "a"), MEGABYTE + 1)
    clients.take_upload(Client("1.1.1.1", "a"), MEGABYTE)


def test_fifty_clients_of_one_address_may_send_all_that_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients()
    for number in range(50):
        for _ in range(MAX_UPLOADS):
            clients.take_upload(Client("1.1.1.1", str(number)), MEGABYTE)
    with pytest.raises(ShareError):
        clients.take_upload(Client("1.1.1.1", "new"), MEGABYTE)
    clients.take_upload(Client("2.2.2.2", "new"), MEGABYTE)


def test_what_is_over_is_forgotten(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY_KEYS", 10)
    clients = Clients()
    for number in range(100):
        clients.take_call(session(clients, f"1.1.1.{number}", "a"))
        clock[0] += WINDOW / 2 if number % 2 else 1
    assert len(clients._calls._entries) < 20 and len(clients._sessions) < 20


def test_a_header_from_outside_is_not_believed() -> None:
    clients, others = Clients(), Clients()
    client = Client("1.1.1.1", "a" * 20)
    assert clients.known({HEADER: clients.header(client)}) == client
    assert clients.known({HEADER: clients.header(Client("mcp", None))}) == Client("mcp", None)
    for forged in (others.header(client), " 1.1.1.1", "é 1.1.1.1 a", ""):
        assert clients.known({HEADER: forged}) is None
