"""
Take the picture of a training in a terminal: train in a pseudo-terminal, and draw its screen before the last step.

    python docs/images/terminal.py
"""

import html
import os
import re
import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image


sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests are not installed

from tests.terminal import Screen, captured


HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROWS, COLUMNS = 22, 96
OPTIONS = ["validation.clips=20", "training.max_steps=40", "training.eval_strategy=steps", "training.eval_steps=10"]
STYLE = "body { margin: 0; } pre { font: 14px/1.35 monospace; background: #0d1117; color: #e6edf3; padding: 12px; }"


def screens(pieces: list[str]) -> list[list[str]]:
    """Return the lines of the terminal after each piece."""
    screen, found = Screen(), []
    for piece in pieces:
        screen.feed(piece)
        found.append(screen.lines)
    return found


def make(
    recipe: Annotated[Path, typer.Argument(help="Recipe to train.")] = ROOT / "recipes/quickstart-uzbek.yaml",
) -> None:
    """Write terminal.png, which shows a training after its last evaluation but one."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", str(recipe), *(word for each in OPTIONS for word in ("--set", each))]
        command = [sys.executable, "-m", "escoita", *words, "--set", f"run_dir={folder}/run"]
        pieces, status = captured(command, os.environ, ROWS, COLUMNS)
    if status:
        sys.exit("".join(pieces))
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
