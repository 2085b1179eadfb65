"""
Take the picture of a training in a terminal: train in a pseudo-terminal, and draw its screen before the last step.

    python docs/images/terminal.py
"""

import codecs
import fcntl
import html
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image


HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROWS, COLUMNS = 22, 96
OPTIONS = ["validation.clips=20", "training.max_steps=40", "training.eval_strategy=steps", "training.eval_steps=10"]
STYLE = "body { margin: 0; } pre { font: 14px/1.35 monospace; background: #0d1117; color: #e6edf3; padding: 12px; }"
# Cursor movements, erased lines and the rest of the control sequences that rich and tqdm write.
CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|[\r\n\x08]")


class Screen:
    """Hold the lines of a terminal, without colors."""

    def __init__(self) -> None:
        self.lines, self.row, self.column = [""], 0, 0

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
                line = self.lines[self.row]
                self.lines[self.row] = "" if found[1] == "2" else line[: self.column]
        self._write(text[start:])

    def _move(self, row: int) -> None:
        self.row = max(0, row)
        self.lines += [""] * (self.row + 1 - len(self.lines))

    def _write(self, text: str) -> None:
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + text + line[self.column + len(text) :]
        self.column += len(text)


def captured(command: list[str]) -> list[str]:
    """Run a command in a pseudo-terminal, and return what it writes, in pieces."""
    main, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, cwd=ROOT, env=environment)  # noqa: S603
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
    if process.wait():
        sys.exit("".join(pieces))
    return pieces


def screens(pieces: list[str]) -> list[list[str]]:
    """Return the lines of the terminal after each piece."""
    screen, found = Screen(), []
    for piece in pieces:
        screen.feed(piece)
        found.append([line.rstrip() for line in screen.lines])
    return found


def make(
    recipe: Annotated[Path, typer.Argument(help="Recipe to train.")] = ROOT / "recipes/quickstart-uzbek.yaml",
) -> None:
    """Write terminal.png, which shows a training after its last evaluation but one."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", str(recipe), *(word for each in OPTIONS for word in ("--set", each))]
        pieces = captured([sys.executable, "-m", "escoita", *words, "--set", f"run_dir={folder}/run"])
    shown = screens(pieces)
    rows = [lines for lines in shown if any(re.search(r"^Training .* 3\d/40 ", line) for line in lines)]
    lines = [line for line in rows[-1] if line]
    text = f"$ escoita train {recipe.relative_to(ROOT)}\n" + "\n".join(lines)
    typer.echo(text)
    draw(text, HERE / "terminal.png")


def draw(text: str, path: Path) -> None:
    """Write a picture of lines of text."""
    from playwright.sync_api import sync_playwright

    page_text = f"<meta charset=utf-8><style>{STYLE}</style><pre>{html.escape(text)}</pre>"
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        with playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags) as browser:
            page = browser.new_page(viewport={"width": 860, "height": 100}, device_scale_factor=1)
            page.set_content(page_text)
            taken = page.locator("pre").screenshot()
    Image.open(BytesIO(taken)).convert("RGB").quantize(16).save(path, optimize=True)


if __name__ == "__main__":
    typer.run(make)
