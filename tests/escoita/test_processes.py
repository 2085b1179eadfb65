import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from escoita.cli import script
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


@pytest.mark.parametrize("code, left", [(0, True), (2, False)])
def test_a_command_that_went_well_takes_leave_of_the_others(code: int, left: bool) -> None:
    """Without it, gloo's threads made one of two processes abort in about half of all runs."""
    import torch.distributed as distributed

    def command() -> None:
        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
        raise SystemExit(code)

    try:
        with patch.object(sys, "argv", ["command"]), pytest.raises(SystemExit):
            script(command)
        assert distributed.is_initialized() is not left
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
