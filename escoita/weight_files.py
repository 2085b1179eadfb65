"""Safetensors files that somebody else wrote: the header is checked before it is parsed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.foreign_json import refuse_pointer
from escoita.visible import visible


# 150 to 200 bytes describe a tensor: this is room for 50,000, and the largest bases have some thousands in a file.
MOST_HEADER_BYTES = 10_000_000


def check_weights(path: Path, what: str) -> None:
    """
    Compares the header's length with the file, without reading the header.

    Args:
        path (`Path`): A safetensors file.
        what (`str`): Names its owner in errors, such as `adapter user/name`.

    Raises:
        EscoitaError: The file is a Git LFS pointer, or is too short for its header, or the header is too long.
    """
    refuse_pointer(path, what)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    size = path.stat().st_size
    if size < 8 or length > size - 8:
        raise EscoitaError(
            f"{what}: {path.name} is not a safetensors file, or is cut off ({size:,} bytes, of which the header claims"
            f" {length:,}); fetch it again"
        )
    if length > MOST_HEADER_BYTES:
        raise EscoitaError(
            f"{what}: the header of {path.name} has {length:,} bytes; at most {MOST_HEADER_BYTES:,} are accepted"
        )


@contextmanager
def opened_weights(path: Path, what: str) -> Iterator[Any]:
    """
    Opens a safetensors file after [`check_weights`]; the library compares shapes and offsets with the file.

    Returns:
        The open file of `safetensors`, for `with`.

    Raises:
        EscoitaError: It cannot be opened.
    """
    from safetensors import SafetensorError, safe_open

    check_weights(path, what)
    try:
        weights = safe_open(path, "pt")
    except (SafetensorError, OSError, ValueError) as error:
        reason = visible(str(error))[:200]
        raise EscoitaError(f"{what}: {path.name} is not a valid safetensors file ({reason})") from error
    with weights:
        yield weights
