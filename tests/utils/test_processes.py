import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from escoita.cli.main import script
from escoita.errors import EscoitaError, WriteError
from escoita.utils.processes import (
    ahead,
    each_says_why,
    forget_peak_memory,
    gathered,
    is_out_of_memory,
    locked,
    main_first,
    main_only,
    peak_memory_bytes,
)


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


def test_a_lock_is_held_by_one_and_released_after_a_failure(tmp_path: Path) -> None:
    alone: Any = SimpleNamespace(num_processes=1, is_main_process=True)
    path, refusal = tmp_path / "new/.lock", EscoitaError("busy")
    with pytest.raises(KeyError), locked(path, refusal, alone):
        with pytest.raises(EscoitaError, match="busy"), locked(path, refusal, alone):
            raise AssertionError("two at once")
        raise KeyError
    with locked(path, refusal, alone):
        pass


def test_a_lock_in_a_folder_that_may_not_be_written_to(read_only: Path) -> None:
    alone: Any = SimpleNamespace(num_processes=1, is_main_process=True)
    for path in (read_only / ".lock", read_only / "new/.lock"):
        with pytest.raises(WriteError), locked(path, EscoitaError("busy"), alone):
            pass


@pytest.mark.parametrize("main, expected", [(True, 7), (False, 8)])
def test_all_get_what_the_main_process_found(main: bool, expected: int) -> None:
    state: Any = SimpleNamespace(num_processes=2, is_main_process=main)
    with patch("escoita.utils.processes.gathered", lambda value, state: [value if main else (None, 8), None]):
        assert main_only(lambda: 7, state) == expected
    refusing = patch("escoita.utils.processes.gathered", lambda value, state: [value if main else ("no", None), None])
    with refusing, pytest.raises(EscoitaError, match="no"):
        main_only(raising(EscoitaError("no")), state)


def raising(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


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


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory",
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9",
        "MPS backend out of memory (MPS allocated: 18 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_an_out_of_memory_error_is_recognized(said: str) -> None:
    assert is_out_of_memory(RuntimeError(said))


def test_another_error_is_not_an_out_of_memory_error() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_all_items_pass_in_their_order() -> None:
    assert list(ahead(iter(range(20)), depth=3)) == list(range(20))
    assert list(ahead(iter([]), depth=3)) == []
    assert list(ahead(iter([None, None]), depth=1)) == [None, None]


def test_items_are_made_before_they_are_asked_for_but_not_all_of_them() -> None:
    made: list[int] = []
    enough = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 2:
                enough.set()
            yield number

    passed = ahead(items(), depth=2)
    assert next(passed) == 0
    assert enough.wait(5)
    assert len(made) <= 3
    assert list(passed) == list(range(1, 10))


def test_a_failure_comes_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    passed = ahead(items(), depth=2)
    assert next(passed) == 1
    with pytest.raises(ValueError, match="the second"):
        next(passed)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system lets the peak of a process begin anew")
def test_a_peak_that_is_forgotten_is_not_counted_again() -> None:
    def take(megabytes: int) -> int:
        forget_peak_memory()
        before = peak_memory_bytes()
        np.ones(megabytes * 125_000)
        return peak_memory_bytes() - before

    assert take(200) > 190e6
    assert take(20) < 100e6
