"""
Read published Parquet files in a child process first.

Some damaged files, such as one with an unknown compression, raise a C++ exception in Arrow that kills the process. A
file that the child process can read is then read by the program in the same way.
"""

from contextlib import suppress
from pathlib import Path

from escoita.cards.listing import published_files
from escoita.errors import EscoitaError, PublishError, RecordError
from escoita.utils.sandbox import limited


# Reading predictions of 512 MiB takes 1.5 GiB, and Arrow reserves more.
MEMORY_BYTES = 6 << 30
SECONDS = 60


def require_readable(source: str, folder: Path) -> None:
    """
    Refuse a folder with a Parquet file that kills the process which reads it.

    Args:
        source (`str`): Name of the repository or folder, for errors.
        folder (`Path`): Folder with the files of a repository.

    Raises:
        PublishError: A file cannot be read.
    """
    files = {name: path for name, path in published_files(folder).items() if path.suffix == ".parquet"}
    if not files or survives(list(files.values())):
        return
    broken = next((name for name, path in files.items() if not survives([path])), "a Parquet file")
    problem = f"damaged: reading it kills the process, or needs more than {SECONDS} s or {MEMORY_BYTES >> 30} GiB"
    raise PublishError(problem, path=source, value=broken)


def survives(paths: list[Path]) -> bool:
    """Return whether a child process can read the files; a file that it refuses with an error counts as read."""
    try:
        limited(
            "escoita.cards.parquet_probe", [str(path.absolute()) for path in paths], "Parquet", SECONDS, MEMORY_BYTES
        )
    except EscoitaError:
        return False
    return True


def respond(paths: list[str]) -> int:
    """Read the files, in the child process, and return how many there are."""
    import pyarrow as pa

    from escoita.utils.untrusted import decoded, opened_parquet

    pa.set_cpu_count(1)
    for name in paths:
        path = Path(name)
        with suppress(RecordError), opened_parquet(path, "Parquet") as file:
            text = [field.name for field in file.schema_arrow if field.type == pa.string()]
            with opened_parquet(path, "Parquet", text) as again:
                decoded(path, again.read(use_threads=False), text)
    return len(paths)
