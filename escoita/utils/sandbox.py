"""
Work on the files of somebody else in a process of its own, with limits of CPU time and memory.

The process inherits no token: only the variables of [`KEPT_VARIABLES`] are in its environment. It writes no file.
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
# The library that renders templates imports NumPy, whose threads would reserve memory.
SET_VARIABLES = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "RUST_BACKTRACE": "0"}


def limited(module: str, request: Any, what: str, seconds: int, memory_bytes: int) -> Any:
    """
    Calls the function `respond` of a module in a process of its own.

    Args:
        module (`str`): Its full name. `respond` may raise [`EscoitaError`].
        request: The argument of `respond`, of plain values.
        what (`str`): Names the work in errors.
        seconds (`int`): The most CPU time, the start of Python included.
        memory_bytes (`int`): The most memory. On systems that know no such limit (macOS) only time is limited.

    Returns:
        The answer of `respond`, of plain values.

    Raises:
        EscoitaError: The work was refused, or did not end within the limits, or the process crashed.
    """
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    too_much = f"{what}: takes more than {seconds} s or {memory_bytes >> 20:,} MiB, or crashes"
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter, and no shell
            [sys.executable, "-m", "escoita.utils.sandbox", module, str(seconds), str(memory_bytes)],
            cwd=PACKAGE.parent,
            env=kept | SET_VARIABLES,
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=20 * seconds,  # on a busy machine; nothing in it can wait without CPU time
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EscoitaError(too_much) from error
    if done.returncode:  # a signal, where a limit was reached
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise EscoitaError(too_much) from RuntimeError(*reason)
    answer = json.loads(done.stdout)
    if "refused" in answer:
        raise EscoitaError(f"{what}: {answer['refused']}")
    return answer["answer"]


def main(module: str, seconds: str, memory_bytes: str) -> None:
    """Limits this process, and answers the request of the standard input on the standard output, as JSON."""
    _lower(resource.RLIMIT_CPU, int(seconds))
    with suppress(ValueError, OSError):  # macOS knows no limit of memory
        _lower(resource.RLIMIT_AS, int(memory_bytes))
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    try:
        said = {"answer": import_module(module).respond(json.load(sys.stdin))}
    except EscoitaError as error:
        said = {"refused": str(error)}
    except MemoryError:
        said = {"refused": f"takes more than {int(memory_bytes) >> 20:,} MiB"}
    sys.stdout.write(json.dumps(said))


def _lower(what: int, most: int) -> None:
    """Sets a limit, unless a lower one is set already, which only the administrator of the system may raise."""
    _, hard = resource.getrlimit(what)
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    main(*sys.argv[1:])
