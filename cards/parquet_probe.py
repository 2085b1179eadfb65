"""
Reads Parquet files of somebody else in a child process first.

Arrow ends the process at some damaged files, such as one with an unknown compression: a C++ exception that nobody
catches. The child has limits of memory and time too, for what the metadata of a file does not tell. A file that the
child survives is read again by the program, in the same way.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from cards.listing import published_files
from escoita.bounded_parquet import decoded, opened_parquet
from escoita.errors import PublishError, RecordError
from escoita.visible import visible


# To read predictions of 512 MiB takes 1.5 GiB, beside what Arrow reserves.
MEMORY_BYTES = 6 << 30
SECONDS = 60


def require_readable(source: str, folder: Path) -> None:
    """
    Refuses a folder with a Parquet file at which the process that reads it dies.

    Args:
        source (`str`): What it is called, for errors.
        folder (`Path`): Holds what a repository does.

    Raises:
        PublishError: Names the file.
    """
    files = {name: path for name, path in published_files(folder).items() if path.suffix == ".parquet"}
    if (broken := first_broken(list(files.values()))) is not None:
        name = visible(list(files)[broken])
        raise PublishError(
            f"{source}: {name}: damaged; reading it takes more than {SECONDS} s or {MEMORY_BYTES >> 30} GiB, or ends"
            " the process"
        )


def first_broken(paths: Sequence[Path]) -> int | None:
    """
    The place of the first file at which a child process dies, or nothing where it reads all; what it refuses in one
    line is not broken.

    Args:
        paths (`Sequence[Path]`): The files.
    """
    if not paths:
        return None
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "SYSTEMROOT") if name in os.environ}
    done = subprocess.run(  # noqa: S603  # this interpreter, and no shell
        [sys.executable, "-m", "cards.parquet_probe"],
        cwd=Path(__file__).resolve().parent.parent,
        env=kept | {"OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"},
        input="\0".join(str(path.absolute()) for path in paths).encode("utf-8", "surrogateescape"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    read = done.stdout.count(b".")
    return None if read == len(paths) else read


def main() -> None:
    """What the child does: it writes a dot for each file that it has read or refused."""
    for what, most in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # macOS has no limit of memory, and a lower limit may hold already
            resource.setrlimit(what, (most, most))
    pa.set_cpu_count(1)
    for name in sys.stdin.buffer.read().split(b"\0"):
        path = Path(os.fsdecode(name))
        with suppress(RecordError), opened_parquet(path, "Parquet") as file:
            text = [field.name for field in file.schema_arrow if field.type == pa.string()]
            with opened_parquet(path, "Parquet", text) as again:
                decoded(path, again.read(use_threads=False), text)
        os.write(1, b".")


if __name__ == "__main__":
    main()
