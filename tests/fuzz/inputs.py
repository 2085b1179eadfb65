"""What fuzzing tries: how many inputs, and how one is made of a real file."""

import os

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


# `make fuzz` asks for more.
TRIED = int(os.environ.get("ESCOITA_FUZZ", "100"))
fuzzed = settings(max_examples=TRIED, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A real file with bytes changed, added or taken out, mostly of its header, perhaps cut off; or random bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=400))
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, min(len(content), draw(st.sampled_from([64, 512, 1 << 20])))))
        piece = draw(
            st.binary(max_size=8) | st.sampled_from([b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b'"', b"\n"])
        )
        taken = draw(st.sampled_from([0, len(piece), 1, 16]))
        content[place : place + taken] = piece
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 4)) == 0 else content)


def no_text(rows: int) -> pa.Array:
    """A column of text whose bytes are none; Arrow writes and reads it without a word."""
    offsets = pa.array(range(rows + 1), pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), rows, [None, offsets, pa.py_buffer(b"\xff" * rows)])
