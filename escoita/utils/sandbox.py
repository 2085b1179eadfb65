"""
Process untrusted files in a separate process with limits of CPU time and memory.

The process inherits no token: its environment contains only the variables of [`KEPT_VARIABLES`]. It writes no file.
"""

import json
import os
import resource
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from escoita.errors import EscoitaError
from escoita.resources import PACKAGE


KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
# Transformers imports NumPy, whose threads would reserve memory.
SET_VARIABLES = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "RUST_BACKTRACE": "0"}


class SandboxLimitError(EscoitaError):
    """
    Report work that exceeded its limits, or whose process crashed.

    Args:
        seconds (`int`): The limit of CPU time.
        mebibytes (`int`): The limit of memory.
    """

    problem = "takes more than {seconds} s or {mebibytes:,} MiB, or crashes"
    seconds: int
    mebibytes: int


def limited(module: str, request: Any, task: str, seconds: int, memory_bytes: int) -> Any:
    """
    Call the function `respond` of a module in a separate process.

    Args:
        module (`str`): The full name of the module. `respond` may raise [`EscoitaError`].
        request (`Any`): The argument of `respond`, of JSON values.
        task (`str`): The name of the task, as the `key` of errors.
        seconds (`int`): The limit of CPU time, the start of Python included.
        memory_bytes (`int`): The limit of memory. macOS has no such limit: there only the time is limited.

    Returns:
        `Any`: The return value of `respond`, of JSON values.

    Raises:
        SandboxLimitError: The process exceeded a limit or crashed.
        EscoitaError: `respond` raised it.
    """
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | SET_VARIABLES
    over_limit = SandboxLimitError(key=task, seconds=seconds, mebibytes=memory_bytes >> 20)
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter, and no shell
            [sys.executable, "-m", "escoita.utils.sandbox", module, str(seconds), str(memory_bytes)],
            cwd=PACKAGE.parent,
            env=environment,
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=20 * seconds,  # for a machine under load; the process never waits without using CPU time
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise over_limit from error
    if done.returncode:  # the system kills a process that exceeds a limit
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise over_limit from RuntimeError(*reason)
    output = json.loads(done.stdout)
    if "out_of_memory" in output:
        raise over_limit
    if "refused" in output:
        raise EscoitaError(output["refused"], key=task)
    return output["answer"]


def main(module: str, seconds: str, memory_bytes: str) -> None:
    """Limit this process, read a request from standard input, and write the result to standard output, as JSON."""
    _lower(resource.RLIMIT_CPU, int(seconds))
    with suppress(ValueError, OSError):  # macOS has no limit of memory
        _lower(resource.RLIMIT_AS, int(memory_bytes))
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    try:
        output = {"answer": import_module(module).respond(json.load(sys.stdin))}
    except EscoitaError as error:
        output = {"refused": str(error)}
    except MemoryError:
        output = {"out_of_memory": True}
    sys.stdout.write(json.dumps(output))


def _lower(kind: int, limit: int) -> None:
    """Set a limit, unless a lower one is already set."""
    _, hard = resource.getrlimit(kind)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    main(*sys.argv[1:])
