"""JSON files that somebody else wrote: bounded before they are parsed, and plain values only."""

from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.utils.limits import POINTER_BYTES, is_pointer, parse_json, pointer_message, read_bounded
from escoita.utils.visible import visible


MOST_JSON_BYTES = 2_000_000


def read_object(path: Path, what: str, most_bytes: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """
    Reads a JSON object.

    Args:
        path (`Path`): The file.
        what (`str`): Names its owner in errors, such as `adapter user/name`.
        most_bytes (`int`, *optional*): The largest accepted file.

    Returns:
        `dict[str, Any]`: The object.

    Raises:
        EscoitaError: The file is too large, is not a JSON object, or contains NaN, infinity, an integer of more than
            100 digits or a key twice.
    """
    try:
        value = parse_json(read_bounded(path, most_bytes))
    except EscoitaError as error:
        raise EscoitaError(f"{what}: {str(error).replace(str(path), path.name, 1)}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise EscoitaError(f"{what}: {path.name}: cannot be read ({visible(str(reason))[:200]})") from error
    if not isinstance(value, dict):
        raise EscoitaError(f"{what}: {path.name}: must be a JSON object, not a {type(value).__name__}")
    return value


def refuse_large(path: Path, what: str, most_bytes: int) -> None:
    """
    Refuses a file above a size, before anything of it is read.

    Raises:
        EscoitaError: It is larger.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise EscoitaError(f"{what}: {path.name} has {size:,} bytes; at most {most_bytes:,} are accepted")


def refuse_pointer(path: Path, what: str) -> None:
    """
    Refuses a Git LFS pointer, which a clone without git-lfs leaves instead of a large file.

    Raises:
        EscoitaError: The file is one.
    """
    with path.open("rb") as file:
        start = file.read(POINTER_BYTES)
    if is_pointer(start):
        raise EscoitaError(f"{what}: {pointer_message(path.name)}")
