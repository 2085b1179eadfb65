"""JSON files that somebody else wrote: bounded before they are parsed, and plain values only."""

import json
import math
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.visible import visible


MOST_JSON_BYTES = 2_000_000
# Tokenizers store "no limit" as an integer of 31 digits.
MOST_DIGITS = 100
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


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
    refuse_large(path, what, most_bytes)
    refuse_pointer(path, what)
    try:
        value = json.loads(
            path.read_bytes().decode("utf-8"),
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_not_a_number,
            object_pairs_hook=_object,
        )
    except RecursionError as error:
        raise EscoitaError(f"{what}: {path.name} is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise EscoitaError(f"{what}: {path.name} cannot be read ({visible(str(error))[:200]})") from error
    if not isinstance(value, dict):
        raise EscoitaError(f"{what}: {path.name} must be a JSON object, not a {type(value).__name__}")
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
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise EscoitaError(
            f"{what}: {path.name} is a Git LFS pointer instead of the file; install git-lfs and run `git lfs pull`, or"
            " use `hf download`"
        )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object contains a key twice")
    return found


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(text):,} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite")
    return value


def _not_a_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")
