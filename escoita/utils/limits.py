"""
The limits of what is read from files that somebody else made, in one place, each with its reason.

They are checked before a file is parsed where its size tells enough, and else while it is parsed, so that a file of a
few kilobytes cannot take all memory or hours of time. All are far above what a real project writes.
"""

import json
import math
import stat
from pathlib import Path
from typing import Any

from escoita.errors import RecordError


MEBIBYTE = 1 << 20

# The Hub shows no card of more characters. A card of ours has 10,000 to 20,000.
README_BYTES = 4_000_000
# Python objects of JSON take up to about 20 times the bytes of the file: 0.7 GB of memory. A record of ours has 5 to
# 30 kB; `training.json` has a line of about 100 bytes for each row that could not be used.
JSON_BYTES = 32 * MEBIBYTE
# Commas in a file of JSON, which has at most one value more in its lists and mappings; an upper bound that is counted
# before it is parsed. `tokenizer.json` has two or three for each entry of a vocabulary.
JSON_VALUES = 2_000_000
# The same in a record, which has 400,000 for 200,000 points of the training loss.
RECORD_VALUES = 1_000_000
# SHA256SUMS has about 100 bytes for each file.
SUMS_BYTES = 2 * MEBIBYTE
# A plot of ours has 8 to 35 kB, and 140 kB with 10,000 points.
PLOT_BYTES = 8 * MEBIBYTE
# The parser of PyYAML reads about 100,000 characters in a second. A recipe has 1,000 to 5,000.
YAML_CHARACTERS = 200_000
# Values of YAML once every alias stands for what it names. A few lines of aliases of aliases can stand for billions.
YAML_VALUES = 200_000
# Levels of JSON or YAML within each other. Records have 8; Python's own limit is about 1,000.
LEVELS = 100
# Digits of an integer of a record, which then fits in 64 bits.
RECORD_DIGITS = 18
# Digits of an integer of another file. `tokenizer_config.json` of Transformers holds one of 31 digits. Any such
# integer can still be converted to floating point.
DIGITS = 100

# A corpus of a million clips of 4 s is more than 1,000 hours.
PREDICTION_ROWS = 1_000_000
# The predictions of a million clips of nine words have 78 MB, and 245 MB once decoded.
PARQUET_BYTES = 256 * MEBIBYTE
# Of all columns after decompression, in one file. To score a million clips takes 2.8 GB of memory.
DECODED_BYTES = 512 * MEBIBYTE
# Of the predictions of all corpora and systems together, in memory.
FOLDER_BYTES = 2048 * MEBIBYTE
# A lecture of an hour has 8,000 to 10,000 words, 50,000 to 80,000 characters. Counting edits takes time that grows
# with the square of it, and to find out which words a normalizer joins 1.3 GB of memory at this limit.
TRANSCRIPT_WORDS = 20_000
TRANSCRIPT_CHARACTERS = 100_000
# Ids, speakers and such of a clip; an id may be a path, which has 4,096 bytes at most on Linux.
CELL_CHARACTERS = 4_096
# Combining marks in a row. Text that is safe for streams has 30 at most (Unicode Standard Annex 15); to put them in
# order takes time that grows with the square of their number.
COMBINING_MARKS = 30
# The sum over all rows of characters of the reference times characters of the hypothesis: a million clips come to
# 1e10, 100 lectures of an hour to 4e11.
ALIGNMENT_CELLS = 500_000_000_000
# Utterances times bootstrap resamples: a million clips and 1,000 resamples come to 1e9, which takes 1.5 minutes on two
# busy cores.
DRAWS = 3_000_000_000

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
# All files of a repository but the weights.
REPOSITORY_BYTES = 2048 * MEBIBYTE
# Weights of an adapter; whole modules that were trained have some gigabytes.
WEIGHTS_BYTES = 20 * 1024 * MEBIBYTE

# The format says that a Git LFS pointer is smaller.
POINTER_BYTES = 1024
_POINTER = b"version https://git-lfs.github.com/spec/"


def read_bounded(path: Path, limit: int) -> bytes:
    """
    Reads a regular file whose size is limited.

    Args:
        path (`Path`): The file.
        limit (`int`): The most bytes that it may have.

    Raises:
        OSError: It is missing or cannot be read.
        RecordError: It is larger, is no regular file such as a named pipe, or is a Git LFS pointer.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a named pipe would wait for a writer
        raise RecordError(f"{path}: not a regular file")
    if status.st_size > limit:
        raise RecordError(f"{path}: {status.st_size:,} bytes; at most {limit:,} are read")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise RecordError(f"{path}: grows while it is read; at most {limit:,} bytes are read")
    if is_pointer(content):
        raise RecordError(pointer_message(str(path)))
    return content


def is_pointer(content: bytes) -> bool:
    """Whether this is the content of a Git LFS pointer, which a clone without git-lfs leaves instead of a file."""
    return len(content) < POINTER_BYTES and content.startswith(_POINTER)


def pointer_message(name: str) -> str:
    """What to say of a Git LFS pointer."""
    return (
        f"{name}: a Git LFS pointer instead of the file; install git-lfs and run `git lfs pull`, or download the"
        " repository with `hf download`"
    )


def parse_json(content: bytes, digits: int = DIGITS, values: int = JSON_VALUES) -> Any:
    """
    Parses JSON as the standard defines it, without what Python adds to it, and within limits.

    Args:
        content (`bytes`): In UTF-8.
        digits (`int`, *optional*): The most digits of an integer.
        values (`int`, *optional*): About the most values; the commas are counted, those of texts too.

    Raises:
        ValueError: It is not JSON, not UTF-8, is nested too deeply, or holds too many values, NaN, infinity, a number
            that is too large for floating point, an integer of too many digits, or a key twice in one object.
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
        raise ValueError(f"nested too deep to be read: more than {LEVELS} levels") from error
    _require_shallow(document)
    return document


def read_json(path: Path, limit: int = JSON_BYTES, digits: int = DIGITS) -> Any:
    """
    Reads a file of JSON as [`parse_json`] does.

    Args:
        path (`Path`): The file.
        limit (`int`, *optional*): The most bytes that it may have.
        digits (`int`, *optional*): The most digits of an integer.

    Raises:
        OSError: It is missing or cannot be read.
        RecordError: It is too large, or not JSON.
    """
    try:
        return parse_json(read_bounded(path, limit), digits)
    except ValueError as error:
        raise RecordError(f"{path}: not JSON that can be used ({error})") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose keys are unique: of two equal ones, another program may read the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that occurs twice in one object")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:20]}, which is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no number in JSON")


def _require_shallow(document: Any) -> None:
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
    raise ValueError(f"nested too deep to be read: more than {LEVELS} levels")
