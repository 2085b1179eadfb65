"""
Define the limits for reading untrusted files, each with its reason.

They are checked before a file is parsed if its size suffices, and otherwise during parsing, so that a file of a few
kilobytes cannot take all memory or hours of time. All are far above the sizes in real projects.
"""

import json
import math
import stat
from pathlib import Path
from typing import Any

from escoita.errors import RecordError


MEBIBYTE = 1 << 20

# The Hub shows no card of more characters. A card of escoita has 10,000 to 20,000.
README_BYTES = 4_000_000
# Python objects of JSON take up to about 20 times the bytes of the file: 0.7 GB of memory. A record of escoita has 5
# to 30 kB; `training.json` has a line of about 100 bytes for each unusable row.
JSON_BYTES = 32 * MEBIBYTE
# Commas in a JSON file, an upper bound of its values that is counted before parsing. `tokenizer.json` has two or three
# for each entry of a vocabulary.
JSON_VALUES = 2_000_000
# The same in a record, which has 400,000 for 200,000 points of the training loss.
RECORD_VALUES = 1_000_000
# SHA256SUMS has about 100 bytes for each file.
SUMS_BYTES = 2 * MEBIBYTE
# A plot of escoita has 8 to 35 kB, and 140 kB with 10,000 points.
PLOT_BYTES = 8 * MEBIBYTE
# PyYAML parses about 100,000 characters per second. A recipe has 1,000 to 5,000.
YAML_CHARACTERS = 200_000
# Values of YAML after all aliases are expanded. A few lines of nested aliases can expand to billions.
YAML_VALUES = 200_000
# Nesting levels of JSON or YAML. Records have 8; Python's own limit is about 1,000.
LEVELS = 100
# Digits of an integer of a record, which then fits in 64 bits.
RECORD_DIGITS = 18
# Digits of an integer in another file. `tokenizer_config.json` of Transformers contains one of 31 digits. Integers
# below this limit can be converted to floating point.
DIGITS = 100

# A million clips of 4 s are more than 1,000 hours.
PREDICTION_ROWS = 1_000_000
# The predictions of a million clips of nine words have 78 MB, and 245 MB once decoded.
PARQUET_BYTES = 256 * MEBIBYTE
# All columns of one file after decompression. Scoring a million clips takes 2.8 GB of memory.
DECODED_BYTES = 512 * MEBIBYTE
# The predictions of all corpora and systems together, in memory.
FOLDER_BYTES = 2048 * MEBIBYTE
# A lecture of an hour has 8,000 to 10,000 words, 50,000 to 80,000 characters. The time of counting edits grows with
# the square of the length. At this limit, finding the words that a normalizer joins takes 1.3 GB of memory.
TRANSCRIPT_WORDS = 20_000
TRANSCRIPT_CHARACTERS = 100_000
# Id, speaker and other text cells of a clip; an id may be a path, which has at most 4,096 bytes on Linux.
CELL_CHARACTERS = 4_096
# Different characters of a vocabulary. Chinese is written with about 4,000; a vocabulary may be that of all languages.
VOCABULARY_CHARACTERS = 50_000
# Consecutive combining marks. Stream-safe text has at most 30 (Unicode Standard Annex 15); the time of sorting them
# grows with the square of their number.
COMBINING_MARKS = 30
# The sum over all rows of characters of the reference times characters of the hypothesis: a million clips come to
# 1e10, 100 lectures of an hour to 4e11.
ALIGNMENT_CELLS = 500_000_000_000
# Utterances times bootstrap resamples: a million clips and 1,000 resamples come to 1e9, which takes 1.5 minutes on two
# cores under load.
DRAWS = 3_000_000_000

# No recording lasts 116 days. Sampling rates times larger numbers are not finite.
RECORDING_SECONDS = 10_000_000

# Points of the training loss in a record and in a plot.
LOSS_POINTS = 200_000
# Evaluations during one training, each of which takes seconds to minutes.
VALIDATION_POINTS = 10_000
# Bins of a histogram of durations; `escoita data` makes at most 21.
HISTOGRAM_BINS = 1_000
# Corpora of all splits of a recipe.
CORPORA = 500

# Files of a repository; escoita publishes 15 to 100.
FILES = 2_000
# Characters of a file's name with its folders; file systems take 255 bytes for each part.
NAME_CHARACTERS = 500
# All files of a repository except the weights.
REPOSITORY_BYTES = 2048 * MEBIBYTE
# Weights of an adapter; fully trained modules have some gigabytes.
WEIGHTS_BYTES = 20 * 1024 * MEBIBYTE

# The specification of Git LFS limits a pointer to fewer bytes.
POINTER_BYTES = 1024
_POINTER = b"version https://git-lfs.github.com/spec/"


class FileSizeError(RecordError):
    """
    Report a file that exceeds its size limit.

    Args:
        size (`int`): The size of the file in bytes.
        limit (`int`): The limit in bytes.
    """

    problem = "{size:,} bytes; at most {limit:,} are read"
    size: int
    limit: int


class LfsPointerError(RecordError):
    """Report a Git LFS pointer, which a clone without git-lfs leaves instead of a file."""

    problem = "a Git LFS pointer instead of the file"
    hint = "install git-lfs and run `git lfs pull`, or download the repository with `hf download`"


def read_bounded(path: Path, limit: int) -> bytes:
    """
    Read a regular file of limited size.

    Args:
        path (`Path`): The file.
        limit (`int`): The largest accepted size in bytes.

    Raises:
        OSError: The file is missing or cannot be read.
        RecordError: The file is larger, is not a regular file, or is a Git LFS pointer.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a named pipe would wait for a writer
        raise RecordError("not a regular file", path=path)
    if status.st_size > limit:
        raise FileSizeError(path=path, size=status.st_size, limit=limit)
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # another process appends to it
        raise FileSizeError(path=path, size=len(content), limit=limit)
    if is_pointer(content):
        raise LfsPointerError(path=path)
    return content


def is_pointer(content: bytes) -> bool:
    """Return whether the content of a file is a Git LFS pointer."""
    return len(content) < POINTER_BYTES and content.startswith(_POINTER)


def pointer_message(name: str) -> str:
    """Return the error message for a Git LFS pointer."""
    return str(LfsPointerError(path=name))


def parse_json(content: bytes, digits: int = DIGITS, values: int = JSON_VALUES) -> Any:
    """
    Parse standard JSON, without the extensions of Python, within limits.

    Args:
        content (`bytes`): JSON in UTF-8.
        digits (`int`, *optional*): The largest number of digits of an integer.
        values (`int`, *optional*): The largest number of commas, those in strings included, as a bound of the values.

    Raises:
        ValueError: The content is not JSON, not UTF-8, is nested too deeply, or contains too many values, NaN,
            infinity, a number that is too large for floating point, an integer of too many digits, or a duplicate key.
    """
    if (commas := content.count(b",")) > values:
        raise ValueError(f"{commas:,} commas, and so about as many values; at most {values:,} are read")

    def integer(text: str) -> int:
        if len(text) > digits + text.startswith("-"):
            raise ValueError(f"an integer of {len(text):,} digits")
        return int(text)

    try:
        document = json.loads(
            content.decode("utf-8-sig"),
            parse_int=integer,
            parse_float=_finite,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError as error:
        raise ValueError(f"more than {LEVELS} nesting levels") from error
    _check_nesting(document)
    return document


def read_json(path: Path, limit: int = JSON_BYTES, digits: int = DIGITS) -> Any:
    """
    Read a JSON file with [`parse_json`].

    Args:
        path (`Path`): The file.
        limit (`int`, *optional*): The largest accepted size in bytes.
        digits (`int`, *optional*): The largest number of digits of an integer.

    Raises:
        OSError: The file is missing or cannot be read.
        RecordError: The file is too large, or not JSON.
    """
    try:
        return parse_json(read_bounded(path, limit), digits)
    except ValueError as error:
        raise RecordError(f"not JSON that can be used ({error})", path=path) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with unique keys, because programs differ in the duplicate that they read."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate key in an object")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"number {text[:20]} is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _check_nesting(document: Any) -> None:
    level = [document]
    for _ in range(LEVELS):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"more than {LEVELS} nesting levels")
