"""Define the number of fuzzing inputs, and make inputs from real files."""

import copy
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from escoita.cards.parquet_probe import survives


# `make fuzz` sets a larger number.
TRIED = int(os.environ.get("ESCOITA_FUZZ", "100"))
fuzzed = settings(max_examples=TRIED, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Return a real file with bytes changed, added or removed, mostly in its header, or truncated; or random bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=400))
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.integers(0, min(len(content), draw(st.sampled_from([64, 512, 1 << 20])))))
        piece = draw(
            st.binary(max_size=8) | st.sampled_from([b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b'"', b"\n"])
        )
        removed = draw(st.sampled_from([0, len(piece), 1, 16]))
        content[start : start + removed] = piece
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 4)) == 0 else content)


# Unexpected values of a record or a configuration.
HOSTILE: list[Any] = [
    *(None, True, -1, 0, 10**17, -(10**17), 10**30, 10**400, 0.5, -0.5, 1e308, -1e308, 5e-324),
    *(
        float("nan"),
        float("inf"),
        "NaN",
        "-Infinity",
        "",
        "\0",
        "\ud800",
        "\u202e",
        "x" * 10_000,
        "1" * 5000,
        "../../etc",
    ),
    *([], {}, [[]], [None], {"": None}, [1.5] * 3, {"a": {"b": [{}]}}),
]


@st.composite
def altered(draw: st.DrawFn, documents: list[Any]) -> bytes:
    """Return JSON with changed, missing, repeated or renamed values; sometimes truncated or invalid."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 4))):
        document = _altered(draw, document)
    content = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return draw(mutated([content])) if draw(st.integers(0, 9)) == 0 else content


def _altered(draw: st.DrawFn, value: Any) -> Any:
    """Return a copy of a value with a change at a random position inside it."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 5)):
        key = draw(st.integers(0, len(value) - 1)) if isinstance(value, list) else draw(st.sampled_from(sorted(value)))
        kind = draw(st.integers(0, 20))
        if kind == 0:
            del value[key]
        elif kind == 1 and isinstance(value, list):
            value.append(copy.deepcopy(value[key]))
        elif kind == 2 and isinstance(value, dict):
            value[draw(st.text(max_size=5))] = value[key]
        else:
            value[key] = _altered(draw, value[key])
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and draw(st.booleans()):
        return draw(st.integers() | st.floats() | st.sampled_from([-value, value + 1, value * 1000]))
    if isinstance(value, str) and draw(st.booleans()):
        return draw(st.text() | st.sampled_from([value * 2, value[:-1], f"{value}\n<!-- escoita:end results -->"]))
    return copy.deepcopy(draw(st.sampled_from(HOSTILE)))  # a copy, as it may be changed later


# Parquet files on which Arrow may abort are read in a child process, several at a time.
IN_A_BATCH = 20
batched = settings(fuzzed, max_examples=max(1, TRIED // IN_A_BATCH))


def batches(inputs: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Return lists of inputs."""
    return st.lists(inputs, min_size=IN_A_BATCH, max_size=IN_A_BATCH)


@contextmanager
def survivors(contents: list[bytes], name: str) -> Iterator[list[Path]]:
    """Yield files with these contents, without those that kill a process that reads them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(index) / name for index in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.parent.mkdir()
            path.write_bytes(content)
        yield surviving(paths)


def surviving(paths: list[Path]) -> list[Path]:
    """Return the Parquet files that a process can read without being killed, found by bisection."""
    if not paths or survives(paths):
        return paths
    half = len(paths) // 2
    return surviving(paths[:half]) + surviving(paths[half:]) if half else []


def no_text(rows: int) -> pa.Array:
    """Return a text column with bytes that are not UTF-8, which Arrow writes and reads without an error."""
    offsets = pa.array(range(rows + 1), pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), rows, [None, offsets, pa.py_buffer(b"\xff" * rows)])
