from types import SimpleNamespace
from typing import Any

import pytest

from escoita.errors import EscoitaError
from escoita.processes import each_says_why, gathered, main_first


@pytest.mark.parametrize("rank, said", [(0, ""), (1, "escoita: process 1: gone.wav: no such file\n")])
def test_a_process_says_what_refused_its_share(rank: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command itself prints what refused the main process, and nothing of the others."""
    state: Any = SimpleNamespace(is_main_process=rank == 0, process_index=rank)
    with pytest.raises(EscoitaError, match="gone"), each_says_why(state):
        raise EscoitaError("gone.wav: no such file")
    assert capsys.readouterr().err == said


def test_one_process_alone_waits_for_nobody() -> None:
    alone: Any = SimpleNamespace(num_processes=1)
    assert main_first(lambda: 7, alone) == 7 and gathered("x", alone) == ["x"]
