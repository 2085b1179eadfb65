import socket

import pytest

from escoita.utils.ports import port_or_next


def test_the_next_free_port_is_used_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = port_or_next(None, "127.0.0.1", port)
        assert found > port and str(found) in capsys.readouterr().err
        assert port_or_next(port, "127.0.0.1") == port  # chosen by the user
    assert port_or_next(None, "127.0.0.1", port) == port
