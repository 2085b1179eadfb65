"""Run a command in a pseudo-terminal, and show the screen that a user sees."""

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterable, Mapping

from tests.conftest import ROOT


# Cursor movements, erased lines and the rest of the control sequences that rich and tqdm write.
CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|[\r\n\x08]")


class Screen:
    """Hold the lines of a terminal, without colors."""

    def __init__(self) -> None:
        self.text, self.row, self.column = [""], 0, 0

    @property
    def lines(self) -> list[str]:
        """Return the lines without spaces at their ends."""
        return [line.rstrip() for line in self.text]

    def feed(self, text: str) -> None:
        """Write text with its control sequences."""
        start = 0
        for found in CONTROL.finditer(text):
            self._write(text[start : found.start()])
            start = found.end()
            count = int(found[1]) if (found[1] or "").isdigit() else 1
            if found[0] == "\r":
                self.column = 0
            elif found[0] == "\n":
                self._move(self.row + 1)
            elif found[2] == "A":
                self._move(self.row - count)
            elif found[2] == "K":
                line = self.text[self.row]
                self.text[self.row] = "" if found[1] == "2" else line[: self.column]
        self._write(text[start:])

    def _move(self, row: int) -> None:
        self.row = max(0, row)
        self.text += [""] * (self.row + 1 - len(self.text))

    def _write(self, text: str) -> None:
        line = self.text[self.row].ljust(self.column)
        self.text[self.row] = line[: self.column] + text + line[self.column + len(text) :]
        self.column += len(text)


def captured(
    command: list[str], environment: Mapping[str, str], rows: int = 24, columns: int = 96
) -> tuple[list[str], int]:
    """Return the pieces that a command writes to a terminal, in order, and its exit status."""
    main, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    size = {"TERM": "xterm", "COLUMNS": str(columns), "LINES": str(rows)}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, cwd=ROOT, env={**environment, **size})
    os.close(child)
    pieces, decoder = [], codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        try:
            data = os.read(main, 4096)
        except OSError:  # the process has closed the terminal
            data = b""
        if not data:
            break
        pieces.append(decoder.decode(data))
    os.close(main)
    return pieces, process.wait()


def screen(pieces: Iterable[str]) -> list[str]:
    """Return the lines of a terminal after all pieces."""
    terminal = Screen()
    for piece in pieces:
        terminal.feed(piece)
    return terminal.lines
