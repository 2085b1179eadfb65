"""Looks through everything that is about to be published, and refuses what must not leave this machine."""

import json
import re
import struct
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from escoita.errors import PublishError
from escoita.hub.forbidden import PICKLES, Forbidden, paths, secrets
from escoita.visible import visible


_CHECKPOINT = re.compile(
    r"(?:.*/)?(?:checkpoint-\d+/.*|(?:optimizer|scheduler|scaler)\.[a-z]+|training_args\.bin|trainer_state\.json"
    r"|rng_state[^/]*)"
)
_OTHER_WEIGHTS = {".gguf", ".h5", ".keras", ".msgpack", ".onnx", ".ot", ".pb", ".pte", ".tflite"}
# Beside text; nobody could say what is in others.
_BINARY = {".safetensors", ".parquet", ".model", ".png", ".jpg", ".jpeg", ".wav", ".flac", ".ogg", ".opus", ".mp3"}
_VALUES = {".json", ".jsonl", ".yaml", ".yml"}
# Pieces of words, among them of paths that are nobody's.
_VOCABULARIES = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "spiece.model"}
_ADDRESS = re.compile(r"\b(?!file:)[a-z][a-z0-9+.-]*://[^\s\"'<>)\]]*", re.IGNORECASE)
# Of a header that safetensors itself would read.
_LONGEST_HEADER = 100_000_000
_MOST_SHOWN = 20
# Where in a file, written behind its name; and what is there.
Finding = tuple[str, str]


def scan(files: Mapping[str, bytes | Path]) -> None:
    """
    Refuses secrets, absolute paths of a machine, the user name of who pushes where it is a part of a path, states of
    training, pickles, and weights in any format but safetensors.

    Text is searched as it is, parquet in the values and names of its columns and in its metadata, safetensors in their
    header, and other formats as the bytes that they are. What is neither text nor a known format is refused.

    Args:
        files (`Mapping[str, bytes | Path]`): Content, or the file that holds it, by path in the repository.

    Raises:
        PublishError: With a line for each finding: file, line or row, and what it is; never the secret itself.
    """
    known = [*secrets(), *paths()]
    found = [
        f"{_shown(name, known)}{where}: {what}"
        for name, content in files.items()
        for where, what in _findings(name, content, known)
    ]
    found = list(dict.fromkeys(found))
    if found:
        rest = [f"and {len(found) - _MOST_SHOWN} more"] if len(found) > _MOST_SHOWN else []
        lines = "\n".join(f"  {each}" for each in found[:_MOST_SHOWN] + rest)
        raise PublishError(f"nothing is published, as this must not leave the machine; take it out first:\n{lines}")


def _findings(name: str, content: bytes | Path, known: list[Forbidden]) -> Iterator[Finding]:
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if any(_matches(name, known)):
        yield "", "a secret, a path or a user in its name"
    if _CHECKPOINT.fullmatch(name):
        yield "", "the state of a training, which is no part of an adapter"
    elif suffix in PICKLES:
        yield "", "a pickle, or a format that may hold one, which runs what it holds"
    elif suffix in _OTHER_WEIGHTS:
        yield "", "weights in another format than safetensors"
    elif suffix == ".safetensors":
        yield from _in_safetensors(content, known)
    else:
        data = content.read_bytes() if isinstance(content, Path) else content
        if _is_pickle(data):
            yield "", "a pickle, which runs what it holds"
        elif suffix == ".parquet":
            yield from _in_parquet(data, known)
        elif suffix not in _BINARY and not _is_text(data):
            yield "", "neither text nor a format that can be looked into"
        else:
            text = data.decode("utf-8", "replace")
            wanted = [each for each in known if suffix in _VALUES or not each.in_values]
            if path.name in _VOCABULARIES:
                wanted = [each for each in known if each.in_vocabularies]
            for forbidden, start in _matches(text, wanted):
                yield f":{text.count(chr(10), 0, start) + 1}", forbidden.what


def _matches(text: str, known: Sequence[Forbidden]) -> Iterator[tuple[Forbidden, int]]:
    """What is found, and at which character."""
    # As long as before, so that places stay.
    plain = _ADDRESS.sub(lambda found: " " * len(found[0]), text) if "://" in text else text
    for forbidden in known:
        for found in forbidden.expression.finditer(text if forbidden.in_addresses else plain):
            yield forbidden, found.start()


def _in_safetensors(content: bytes | Path, known: list[Forbidden]) -> Iterator[Finding]:
    """In the names of tensors, and in the metadata."""
    try:
        with content.open("rb") if isinstance(content, Path) else BytesIO(content) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        if not isinstance(header, dict):
            raise ValueError("no header")
    except (ValueError, struct.error):
        yield "", "not safetensors, whatever its name says"
        return
    for key, value in header.items():
        for forbidden, _ in _matches("\n".join([key, *_strings(value)]), known):
            yield f", {_shown(key, known)}", forbidden.what


def _in_parquet(data: bytes, known: list[Forbidden]) -> Iterator[Finding]:
    """In texts and bytes of all columns, in the names of these, and in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(BytesIO(data))
        metadata = [pq.read_metadata(BytesIO(data)).metadata, table.schema.metadata]
    except (pa.ArrowException, OSError):
        yield "", "not parquet, whatever its name says"
        return
    metadata += [field.metadata for field in table.schema]
    about = "\n".join([str(table.schema), *_strings(metadata)])
    for forbidden, _ in _matches(about, known):
        yield ", metadata", forbidden.what
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_primitive(column.type):
            continue
        # All rows at once: one by one a large corpus would take minutes.
        rows = ["\n".join(_strings(value)) for value in column.to_pylist()]
        starts = list(accumulate((len(row) + 1 for row in rows), initial=0))
        for forbidden, start in _matches("\n".join(rows), known):
            yield f", row {bisect_right(starts, start)}, {_shown(name, known)}", forbidden.what


def _strings(value: Any) -> Iterator[str]:
    """All texts in a value, however deep."""
    if isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict):
        yield from _strings([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)
    elif value is not None:
        yield str(value)


def _shown(name: str, known: list[Forbidden]) -> str:
    """A name as a finding tells it: not where it is the secret."""
    return "(a name)" if any(_matches(name, known)) else visible(name)


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _is_pickle(data: bytes) -> bool:
    """By its first bytes, of protocol 2 and later; or an archive that holds one, as PyTorch and NumPy write them."""
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if not data.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return any(name.endswith((".pkl", ".npy")) for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
