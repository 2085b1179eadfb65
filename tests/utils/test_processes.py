import errno
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from rich.console import Console

from escoita.cli.main import script
from escoita.errors import EscoitaError, WriteError
from escoita.utils.processes import (
    ahead,
    gathered,
    is_out_of_memory,
    locked,
    main_first,
    main_only,
    others_waiting,
    peak_memory_bytes,
    print_process_error,
    reset_peak_memory,
    stage,
    without_compiler,
)
from tests.conftest import ROOT


@pytest.mark.parametrize("before", [None, "0"])
def test_the_compiler_is_off_only_during_imports(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "TORCHDYNAMO_DISABLE"
    monkeypatch.delenv(name, raising=False) if before is None else monkeypatch.setenv(name, before)
    with without_compiler():
        assert os.environ[name] == "1"
    assert os.environ.get(name) == before


@pytest.mark.slow
def test_bitsandbytes_is_imported_without_the_compiler(command: Callable[..., Any]) -> None:
    code = (
        "import sys; from escoita.utils.processes import without_compiler\n"
        "with without_compiler():\n    import bitsandbytes\n"
        "print('torch._inductor.compile_fx' in sys.modules)"
    )
    assert command("-c", code).stdout.strip() == "False"


@pytest.mark.parametrize("rank, printed", [(0, ""), (1, "escoita: process 1: gone.wav: no such file\n")])
def test_error_of_another_process_is_printed(rank: int, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the error of the main process itself."""
    state: Any = SimpleNamespace(is_main_process=rank == 0, process_index=rank)
    with pytest.raises(EscoitaError), print_process_error(state):
        raise EscoitaError("no such file", path="gone.wav")
    assert capsys.readouterr().err == printed


def test_single_process_runs_without_communication() -> None:
    alone: Any = SimpleNamespace(num_processes=1)
    assert main_first(lambda: 7, alone) == 7 and gathered("x", alone) == ["x"]


def test_a_stage_is_mentioned_if_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = threading.Event()
    monkeypatch.setattr("escoita.utils.processes.print", lambda *_, **__: shown.set(), raising=False)
    with stage("Quick"):
        pass
    assert not shown.is_set()
    monkeypatch.setattr("escoita.utils.processes.SECONDS_UNTIL_SHOWN", 0.0)
    with stage("Slow"):
        assert shown.wait(10)


def test_a_stage_of_a_terminal_shows_a_spinner_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    monkeypatch.setattr("escoita.utils.processes.console", console)
    with pytest.raises(KeyError), stage("Loading [base]"):
        raise KeyError
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "Loading [base]" in text and text.endswith("\x1b[1A\x1b[2K")


def test_other_processes_do_not_mention_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("escoita.utils.processes.Timer", None)
    with stage("Loading"):
        pass


def test_lock_is_exclusive_and_released_after_a_failure(tmp_path: Path) -> None:
    alone: Any = SimpleNamespace(num_processes=1, is_main_process=True)
    path, refusal = tmp_path / "new/.lock", EscoitaError("busy")
    with pytest.raises(KeyError), locked(path, refusal, alone):
        with pytest.raises(EscoitaError) as caught, locked(path, refusal, alone):
            raise AssertionError("two at once")
        assert caught.value is refusal
        raise KeyError
    with locked(path, refusal, alone):
        pass


def test_lock_in_a_read_only_folder_raises_a_write_error(read_only: Path) -> None:
    alone: Any = SimpleNamespace(num_processes=1, is_main_process=True)
    for path in (read_only / ".lock", read_only / "new/.lock"):
        with pytest.raises(WriteError), locked(path, EscoitaError("busy"), alone):
            pass


@pytest.mark.parametrize("main, expected", [(True, 7), (False, 8)])
def test_main_only_returns_the_result_in_all_processes(main: bool, expected: int) -> None:
    state: Any = SimpleNamespace(num_processes=2, is_main_process=main)
    with patch("escoita.utils.processes.gathered", lambda value, state: [value if main else (None, 8), None]):
        assert main_only(lambda: 7, state) == expected
    refusing = patch("escoita.utils.processes.gathered", lambda value, state: [value if main else ("no", None), None])
    with refusing, pytest.raises(EscoitaError) as caught:
        main_only(raising(EscoitaError("no")), state)
    assert caught.value.problem == "no"


def raising(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize("code, destroyed", [(0, True), (2, False)])
def test_process_group_is_destroyed_after_success(code: int, destroyed: bool) -> None:
    """Without it, gloo's threads made one of two processes abort in about half of all runs."""
    import torch.distributed as distributed

    def command() -> None:
        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
        raise SystemExit(code)

    try:
        with patch.object(sys, "argv", ["command"]), pytest.raises(SystemExit):
            script(command)
        assert distributed.is_initialized() is not destroyed
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("XPU out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory: 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
        RuntimeError("cudaErrorMemoryAllocation: the API call was unable to allocate enough memory"),
        RuntimeError("NCCL Error 1: unhandled cuda error. Last error: Cuda failure 2 'out of memory'"),
        RuntimeError('NVML_SUCCESS == r INTERNAL ASSERT FAILED at "CUDACachingAllocator.cpp":1131, please report'),
        RuntimeError("unable to mmap 4000 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        MemoryError(),
        MemoryError("Unable to allocate 4.00 TiB for an array with shape (1099511627776,) and data type float32"),
    ],
)
def test_an_out_of_memory_error_is_recognized(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear for a non-contiguous input"),
        RuntimeError("out of resource: shared memory, Required: 131072, Hardware limit: 101376"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_another_error_is_not_an_out_of_memory_error(error: BaseException) -> None:
    assert not is_out_of_memory(error)


@pytest.fixture
def store() -> Iterator[Any]:
    """Create a process group of this process, and return its store."""
    import torch.distributed as distributed

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield distributed.distributed_c10d._get_default_store()
    finally:
        distributed.destroy_process_group()


def test_other_processes_wait_for_the_main_process_without_a_limit(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 5:
            store.set("escoita/wait/3", "done")

    monkeypatch.setattr("escoita.utils.processes.time.sleep", sleep)
    monkeypatch.setattr("escoita.utils.processes._waits", iter([3]))
    state: Any = SimpleNamespace(num_processes=2, is_main_process=False)
    with others_waiting(state):
        pass
    assert len(looks) == 5


@pytest.mark.parametrize("fails", [False, True])
def test_the_main_process_reports_whether_it_failed(store: Any, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    main, other = (SimpleNamespace(num_processes=2, is_main_process=each) for each in (True, False))
    monkeypatch.setattr("escoita.utils.processes._waits", iter([7, 7]))
    with suppress(KeyError), others_waiting(main):
        if fails:
            raise KeyError
    with pytest.raises(EscoitaError) if fails else nullcontext(), others_waiting(other):
        pass


# The main process works for longer than torch's timeout of common operations.
SLOW_MAIN = """
import time
from datetime import timedelta
from accelerate import PartialState
from escoita.utils.processes import main_first, main_only

state = PartialState(cpu=True, timeout=timedelta(seconds=2))
state.wait_for_everyone()  # otherwise the connections are made while the main process works
for run in (main_first, main_only):
    assert run(lambda: state.is_main_process and time.sleep(6) or 7, state) == 7
state.wait_for_everyone()
state.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_wait_for_longer_than_the_timeout(tmp_path: Path) -> None:
    (tmp_path / "slow_main.py").write_text(SLOW_MAIN, "utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ended = subprocess.run(
        [*launcher, str(tmp_path / "slow_main.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr


def test_prefetch_keeps_the_order() -> None:
    assert list(ahead(iter(range(20)), depth=3)) == list(range(20))
    assert list(ahead(iter([]), depth=3)) == []
    assert list(ahead(iter([None, None]), depth=1)) == [None, None]


def test_prefetch_is_limited() -> None:
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


def test_prefetch_raises_an_error_in_order() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    passed = ahead(items(), depth=2)
    assert next(passed) == 1
    with pytest.raises(ValueError, match="second"):
        next(passed)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak memory of a process")
def test_peak_memory_can_be_reset() -> None:
    def take(megabytes: int) -> int:
        reset_peak_memory()
        before = peak_memory_bytes()
        np.ones(megabytes * 125_000)
        return peak_memory_bytes() - before

    assert take(200) > 190e6
    assert take(20) < 100e6
