"""Read untrusted safetensors files, whose header is checked before it is parsed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.utils.formatting import visible
from escoita.utils.limits import FileSizeError, parse_json
from escoita.utils.untrusted import refuse_pointer


# A tensor takes 150 to 200 bytes: the limit allows 50,000 tensors, and the largest bases have some thousands per file.
MOST_HEADER_BYTES = 10_000_000
# The integer type with which each floating-point format is read, and its exponent bits (IEEE 754; BF16 is the upper
# half of F32).
EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
# The number of values that are checked at once.
PIECE = 1 << 22


def check_weights(path: Path, owner: str) -> None:
    """
    Compare the length of the header with the file, without reading the header.

    Args:
        path (`Path`): A safetensors file.
        owner (`str`): The adapter or model that contains the file, for errors.

    Raises:
        EscoitaError: The file is a Git LFS pointer, or is too short for its header, or the header is too long.
    """
    refuse_pointer(path, owner)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    size = path.stat().st_size
    if size < 8 or length > size - 8:
        problem = f"not a safetensors file, or truncated ({size:,} bytes; the header declares {length:,})"
        raise EscoitaError(problem, path=f"{owner}/{path.name}", hint="download it again")
    if length > MOST_HEADER_BYTES:
        raise FileSizeError(path=f"{owner}/{path.name}", key="header", size=length, limit=MOST_HEADER_BYTES)


def tensor_headers(path: Path, owner: str) -> dict[str, dict[str, Any]]:
    """
    Read dtype, shape and position of each tensor of a safetensors file, without loading tensors.

    Args:
        path (`Path`): A safetensors file.
        owner (`str`): The adapter or model that contains the file, for errors.

    Returns:
        `dict[str, dict]`: `dtype`, `shape` and `data_offsets` of each tensor, by its name. The offsets are in bytes
            from the beginning of the file.

    Raises:
        EscoitaError: The file is invalid; see [`check_weights`].
    """
    from safetensors import SafetensorError, safe_open

    check_weights(path, owner)
    try:
        with safe_open(path, "np"):  # the library compares shapes and offsets with the file
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise _invalid(path, owner, error) from error
    header.pop("__metadata__", None)
    for each in header.values():
        each["data_offsets"] = [8 + length + offset for offset in each["data_offsets"]]
    return dict(header)


def _invalid(path: Path, owner: str, error: Exception) -> EscoitaError:
    problem = f"not a valid safetensors file ({visible(str(error))[:200]})"
    return EscoitaError(problem, path=f"{owner}/{path.name}")


def non_finite_tensors(path: Path, owner: str) -> list[str]:
    """
    Return the names of the tensors of a safetensors file that contain NaN or infinity, without importing torch.

    Args:
        path (`Path`): A safetensors file.
        owner (`str`): The adapter or model that contains the file, for errors.

    Raises:
        EscoitaError: The file is invalid; see [`tensor_headers`].
    """
    import numpy as np

    found = []
    for name, each in tensor_headers(path, owner).items():
        begin, end = each["data_offsets"]
        if each["dtype"] not in EXPONENTS or begin == end:
            continue
        kind, exponent = EXPONENTS[each["dtype"]]
        bits = np.memmap(path, kind, "r", begin, (end - begin) // np.dtype(kind).itemsize)
        # In each of these formats, NaN and infinity have all exponent bits set.
        if any(((bits[i : i + PIECE] & exponent) == exponent).any() for i in range(0, len(bits), PIECE)):
            found.append(name)
    return found


@contextmanager
def opened_weights(path: Path, owner: str) -> Iterator[Any]:
    """
    Open a safetensors file after [`check_weights`]; the library compares shapes and offsets with the file.

    Args:
        path (`Path`): A safetensors file.
        owner (`str`): The adapter or model that contains the file, for errors.

    Raises:
        EscoitaError: The file is invalid.
    """
    from safetensors import SafetensorError, safe_open

    check_weights(path, owner)
    try:
        weights = safe_open(path, "pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise _invalid(path, owner, error) from error
    with weights:
        yield weights
