"""
Take the pictures of every tab of the page: light and dark, on a desktop and on a phone, in every state.

    make page-images

The models are replaced by fixed texts, so that the pictures differ only if the page does.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image


if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from escoita.inference.streaming import Partial

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/images/page"
RUN = ROOT / "runs/quickstart-uzbek"
CLIP = ROOT / "quickstart/corpus/uz/test/0014.ogg"
SENTENCE = "bugun soat oʻnda uygʻot"
TEXTS = {None: "bugun soat onda uy gʻot", "quickstart-uzbek": SENTENCE}
WIDTHS, SCHEMES = {"desktop": 1280, "phone": 390}, ("light", "dark")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]


@dataclass
class FixedTexts:
    """
    Return the text of each model, and wait before the last word until `allowed`.

    Args:
        allowed (`threading.Event`): Whether transcriptions end.
    """

    allowed: threading.Event = field(default_factory=threading.Event)

    def stream(
        self, source: str | Path, adapter: str | None = None, beside: str | None = None, client: object = None
    ) -> "Iterator[Partial]":
        from escoita.audio.loading import read_audible, seconds
        from escoita.inference.streaming import Partial
        from escoita.records.transcript import Segment, Transcript

        length, text = seconds(read_audible(source, 30.0).samples), TEXTS[adapter]
        yield Partial(text.rpartition(" ")[0], (), 0.0, length, None, 0.2)
        self.allowed.wait(60)
        segments = (Segment(0.0, length, text),)
        yield Partial(text, segments, length, length, None, 0.2, Transcript(text, length, 0.4, 9, False, segments))


def make(run: Path = RUN, folder: Path = FOLDER) -> None:
    """Write a picture of each tab, state, color scheme and width."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(exist_ok=True)
    with (
        served(run) as (address, texts),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS) as browser,
    ):
        for device, width in WIDTHS.items():
            for scheme in SCHEMES:
                texts.allowed.clear()
                page = opened(browser, address, width, scheme)
                for state, picture in visited(page, texts):
                    smaller(picture, folder / f"{state}-{scheme}-{device}.webp")
                page.context.close()


@contextmanager
def served(run: Path) -> "Iterator[tuple[str, FixedTexts]]":
    """Serve the page of a run with fixed texts; yield its URL."""
    from escoita.space.app import build, start
    from escoita.space.demo import of_run

    with tempfile.TemporaryDirectory() as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        demo, texts = of_run(run), FixedTexts()
        examples = {"examples": [str(CLIP)], "example_texts": {CLIP.name: SENTENCE}}
        settings = demo.settings.model_copy(update=examples)
        demo = replace(demo, settings=settings, ready=lambda: texts, loading=lambda: False)
        blocks = build(demo)
        yield start(blocks, demo), texts
        blocks.close(verbose=False)


def opened(browser: "Browser", address: str, width: int, scheme: str) -> "Page":
    """Open the page with an empty storage."""
    size = {"width": width, "height": 900}
    page = browser.new_context(viewport=size, color_scheme=scheme, locale="en").new_page()  # type: ignore[arg-type]
    page.goto(address)
    page.locator("#transcribe").wait_for()
    return page


def visited(page: "Page", texts: FixedTexts) -> "Iterator[tuple[str, bytes]]":
    """Use the tabs as a visitor does; yield the name and a picture of each state."""
    yield "transcribe-empty", taken(page)
    page.locator("#transcribe").click()
    page.locator("#status .error").wait_for()
    yield "transcribe-error", taken(page)
    upload(page, "#recording")
    page.locator("#transcribe").click()
    page.locator("#stop").wait_for()
    page.wait_for_function("document.querySelector('#transcript textarea').value !== ''")
    yield "transcribe-busy", taken(page)
    texts.allowed.set()
    page.locator("#downloads a").first.wait_for()
    yield "transcribe-done", taken(page)
    texts.allowed.clear()
    page.get_by_role("tab", name="Compare").click()
    yield "compare-empty", taken(page)
    page.locator("#compare").click()
    page.locator("#compare-status .error").wait_for()
    yield "compare-error", taken(page)
    upload(page, "#compare-recording")
    page.get_by_label("Reference transcript (optional)").fill(SENTENCE)
    page.locator("#compare").click()
    page.locator("#compare-stop").wait_for()
    page.wait_for_function("document.querySelector('#compare-texts textarea').value !== ''")
    yield "compare-busy", taken(page)
    texts.allowed.set()
    page.locator("#comparison .rates").first.wait_for()
    yield "compare-done", taken(page)
    page.get_by_role("tab", name="About").click()
    page.locator("#about table").first.wait_for()
    yield "about", taken(page)
    page.locator("#api summary").click()
    page.locator("#api").scroll_into_view_if_needed()
    yield "api", taken(page, "#api")


def upload(page: "Page", recording: str) -> None:
    """Upload the clip to a component."""
    page.locator(f"{recording} [data-testid=source-select] button").first.click()
    page.locator(f"{recording} input[type=file]").set_input_files(CLIP)
    page.locator(f"{recording} .component-wrapper").wait_for()


def taken(page: "Page", part: str | None = None) -> bytes:
    """Take a picture of the whole page, or of a part of it, after the colors have faded in."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    return page.locator(part).screenshot() if part else page.screenshot(full_page=True)


def smaller(picture: bytes, path: Path) -> None:
    """Write a picture as WebP, in three fifths of its size if it is wide."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    size = (image.width * 3 // 5, image.height * 3 // 5) if image.width > 600 else image.size
    image.resize(size, Image.Resampling.LANCZOS).save(path, quality=52, method=6)


if __name__ == "__main__":
    make()
