"""What was heard so far, batch by batch, so that a run that was killed at any point goes on from there."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from escoita.utils.files import clear_write_errors, write_atomically
from escoita.records.transcript import Note, Segment, Transcript


# Transcripts of a batch, in its order.
Heard = dict[int, list[Transcript]]


def read_journals(folder: Path, key: str) -> Heard:
    """
    Reads what all processes wrote so far.

    Args:
        folder (`Path`): Of one corpus and system; one file for each process.
        key (`str`): What the transcripts depend on. A file that was written under another is not believed.

    Returns:
        `dict[int, list[Transcript]]`: Transcripts by number of the batch. A line that was cut off by a kill is left
        out, and its batch heard again.
    """
    heard: Heard = {}
    for path in sorted(folder.glob("*.jsonl")):
        heard |= _read(path, key)
    return heard


def append_batches(path: Path, key: str, batches: Iterable[tuple[int, list[Transcript]]]) -> None:
    """
    Writes each batch as soon as it is heard, behind what this process wrote before it was killed.

    Args:
        path (`Path`): The file of this process.
        key (`str`): See [`read_journals`].
        batches (`Iterable[tuple[int, list[Transcript]]]`): Number of the batch, and its transcripts.
    """
    before = _read(path, key).items() if path.is_file() else ()
    write_atomically(path, "".join([json.dumps({"key": key}) + "\n", *(_line(*batch) for batch in before)]))
    # Without a buffer: closing the file would try once more to write what did not fit on the disk.
    with path.open("ab", buffering=0) as journal:
        for batch in batches:
            left = memoryview(_line(*batch).encode())
            with clear_write_errors(path):
                while left:  # a disk that is nearly full takes a part of it
                    left = left[journal.write(left) :]


def _line(number: int, transcripts: list[Transcript]) -> str:
    return json.dumps({"batch": number, "heard": [asdict(transcript) for transcript in transcripts]}) + "\n"


def _read(path: Path, key: str) -> Heard:
    heard: Heard = {}
    first, *lines = path.read_bytes().split(b"\n")
    if first != json.dumps({"key": key}).encode():
        return heard
    for line in lines[:-1]:  # behind the last newline stands nothing, or half a line
        try:
            entry = json.loads(line)
        except ValueError:  # the machine lost power before this was on the disk
            break
        heard[entry["batch"]] = [_transcript(**fields) for fields in entry["heard"]]
    return heard


def _transcript(segments: list[dict], notes: Sequence[Note] = (), **fields: object) -> Transcript:
    parts = tuple(Segment(**segment) for segment in segments)
    return Transcript(**fields, segments=parts, notes=tuple(notes))  # type: ignore[arg-type]
