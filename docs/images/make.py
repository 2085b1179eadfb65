"""
Make the images of README: the page with a transcript, and the evaluation of an example card.

    make demo SERVE=0
    python docs/images/make.py
"""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer


if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CLIP = ROOT / "quickstart/corpus/uz/test/0001.ogg"
SENTENCE = "musiqani och"
CARD = ROOT / "docs/examples/gemma4-uzbek/README.md"
FROM, TO = "## Evaluation", "## Data"  # the first heading of the image, and the heading after its end
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 860px; margin: 0 auto; padding: 1rem 2rem; }
table { border-collapse: collapse; } td, th { border: 1px solid #d0d7de; padding: 4px 10px; } img { max-width: 100%; }
pre { background: #f6f8fa; padding: 10px; overflow: auto; } code { overflow-wrap: anywhere; }
"""


def make(
    run: Annotated[Path, typer.Argument(help="Run directory of the quick start.")] = ROOT / "runs/quickstart-uzbek",
) -> None:
    """Write page.png and card.png."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        with playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags) as browser:
            for name, image in (("page", page(browser, run)), ("card", card(browser))):
                typer.echo(write_palette_image(image, HERE / f"{name}.png"))


def page(browser: "Browser", run: Path) -> bytes:
    """Return a screenshot of the page after its example was transcribed."""
    from escoita.inference.serving import Engine
    from escoita.space.app import build, start
    from escoita.space.demo import of_run

    with tempfile.TemporaryDirectory() as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        demo = of_run(run)
        with Engine.load(demo.base, demo.adapters, demo.revision, demo.dtype) as engine:
            list(engine.stream(CLIP, next(iter(demo.adapters))))  # the first request is slower
            settings = demo.settings.model_copy(
                update={"examples": [str(CLIP)], "example_texts": {CLIP.name: SENTENCE}}
            )
            demo = replace(demo, settings=settings, ready=lambda: engine, loading=lambda: False)
            blocks = build(demo)
            shown = browser.new_page(viewport={"width": 900, "height": 1100}, color_scheme="light", locale="en")
            shown.goto(start(blocks, demo))
            shown.get_by_role("button", name=SENTENCE).first.click()
            shown.locator("#drawing svg").wait_for()
            shown.wait_for_timeout(1000)  # the animations end
            image = shown.screenshot(full_page=True)
            blocks.close(verbose=False)
    return image


def card(browser: "Browser") -> bytes:
    """Return a screenshot of the evaluation in the card, rendered from Markdown."""
    from markdown_it import MarkdownIt

    text = CARD.read_text("utf-8")
    text = text[text.index(FROM) : text.index(TO)]
    html = f"<meta charset=utf-8><style>{STYLE}</style>{MarkdownIt('commonmark').enable('table').render(text)}"
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir=CARD.parent, encoding="utf-8") as file:
        file.write(html)
        file.flush()
        shown = browser.new_page(viewport={"width": 900, "height": 900})
        shown.goto(Path(file.name).as_uri())
        return shown.screenshot(full_page=True)


def write_palette_image(image: bytes, path: Path) -> Path:
    """Write an image with 64 colors, which are enough for such pages, and return its path."""
    from io import BytesIO

    from PIL import Image

    Image.open(BytesIO(image)).convert("RGB").quantize(64).save(path, optimize=True)
    return path


if __name__ == "__main__":
    typer.run(make)
