"""Safetensors files that somebody else wrote: the header is checked before it is parsed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.utils.formatting import visible
from escoita.utils.limits import parse_json
from escoita.utils.untrusted import refuse_pointer


# 150 to 200 bytes describe a tensor: this is room for 50,000, and the largest bases have some thousands in a file.
MOST_HEADER_BYTES = 10_000_000
# As which integers the floating-point formats are read, and the bits of their exponent (IEEE 754; BF16 is the upper
# half of F32).
EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
# Numbers that are looked at together.
PIECE = 1 << 22


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


def tensor_headers(path: Path, what: str) -> dict[str, dict[str, Any]]:
    """
    Read dtype, shape and place of each tensor of a safetensors file; no tensor is loaded.

    Args:
        path (`Path`): A safetensors file.
        what (`str`): Names its owner in errors, such as `adapter user/name`.

    Returns:
        `dict[str, dict]`: `dtype`, `shape` and `data_offsets` of each tensor, by its name. The offsets are counted
            from the beginning of the file, in bytes.

    Raises:
        EscoitaError: See [`check_weights`]; or the header contradicts itself or the file.
    """
    from safetensors import SafetensorError, safe_open

    check_weights(path, what)
    try:
        with safe_open(path, "np"):  # the library compares shapes and offsets with the file
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        reason = visible(str(error))[:200]
        raise EscoitaError(f"{what}: {path.name} is not a valid safetensors file ({reason})") from error
    header.pop("__metadata__", None)
    for each in header.values():
        each["data_offsets"] = [8 + length + offset for offset in each["data_offsets"]]
    return dict(header)


def non_finite_tensors(path: Path, what: str) -> list[str]:
    """
    Return the names of the tensors of a safetensors file that hold NaN or infinity; torch is not imported.

    Args:
        path (`Path`): A safetensors file.
        what (`str`): Names its owner in errors, such as `adapter user/name`.

    Raises:
        EscoitaError: See [`tensor_headers`].
    """
    import numpy as np

    found = []
    for name, each in tensor_headers(path, what).items():
        begin, end = each["data_offsets"]
        if each["dtype"] not in EXPONENTS or begin == end:
            continue
        kind, exponent = EXPONENTS[each["dtype"]]
        bits = np.memmap(path, kind, "r", begin, (end - begin) // np.dtype(kind).itemsize)
        # Numbers whose exponent has all bits set are NaN or infinity, in each of these formats.
        if any(((bits[i : i + PIECE] & exponent) == exponent).any() for i in range(0, len(bits), PIECE)):
            found.append(name)
    return found


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
