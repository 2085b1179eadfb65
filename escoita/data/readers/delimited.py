"""Tables of text, csv and tsv: records with the line on which an editor shows them; a broken one costs no other."""

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO


# In a .csv a field may stand in quotes, doubled inside, and may then span lines (RFC 4180). In a .tsv a quote is a
# letter like any other, as Common Voice, FLEURS and OpenSLR write them: there an opening quote often has no end.
DIALECTS: dict[str, dict] = {
    ".csv": {"delimiter": ",", "quoting": csv.QUOTE_MINIMAL},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
_QUOTED = re.compile(rb'"[^"]*"')


def read_delimited(file: BinaryIO, suffix: str) -> Iterator[tuple[int, list[str] | str]]:
    """
    Reads the records of a table; blank lines are none.

    Args:
        file (`BinaryIO`): Opened at its start.
        suffix (`str`): `.csv` or `.tsv`.

    Returns:
        `Iterator[tuple[int, list[str] | str]]`: The line on which a record begins, counted from 1, and its fields; or
        what is wrong with the record.
    """
    dialect = DIALECTS[suffix] | ({"delimiter": _separator(file)} if suffix == ".csv" else {})
    lines = _Lines(file)
    records = csv.reader(lines, strict=True, **dialect)
    line = 1
    while True:
        lines.begin_record()
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back()
            yield line, f"not a record of a table ({error})"
        else:
            if lines.damaged:
                lines.give_back()
                yield line, "not UTF-8; save the file as UTF-8"
            elif len(fields) > 1 or any(map(bytes.strip, lines.taken)):
                yield line, fields
        line += len(lines.taken)


def _separator(file: BinaryIO) -> str:
    """What parts the fields of a .csv: in countries whose numbers have commas, spreadsheets write semicolons."""
    start = file.tell()
    header = _QUOTED.sub(b"", file.readline())
    file.seek(start)
    return next((sign for sign in ",;\t" if sign.encode() in header and b'"' not in header), ",")


class _Lines:
    """The lines of a file. What a record without an end has swallowed is given back, but for its first line."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.taken: list[bytes] = []
        self.again: deque[bytes] = deque()
        self.damaged = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.file)
        self.taken.append(line)
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.damaged = True
            return line.decode(errors="replace")

    def begin_record(self) -> None:
        self.taken.clear()
        self.damaged = False

    def give_back(self) -> None:
        self.again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
