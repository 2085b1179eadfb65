from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.space.browsing import CHROMIUM, FLAGS, MICROPHONE, Visit
from tests.space.stub import CLIP


if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Increase the timeout, for busy machines."""
    if CHROMIUM is not None:
        from playwright.sync_api import expect

        expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a recording of 40 seconds, at the sampling rate of a microphone."""
    samples = [soundfile.read(clip, dtype="float32")[0] for clip in sorted(CLIP.parent.glob("*.ogg"))]
    path = tmp_path_factory.mktemp("recorded") / "long.wav"
    soundfile.write(path, np.repeat(np.concatenate(samples)[: 40 * 16_000], 3), 48_000)
    return path


@pytest.fixture(scope="module")
def browser(recording: Path) -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    microphone = [*MICROPHONE, f"--use-file-for-audio-capture={recording}"]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS + microphone) as browser,
    ):
        yield browser


@pytest.fixture
def visit(browser: "Browser", address: str) -> Iterator[Visit]:
    """Open the page with options of a browser context; the page must not raise an error."""
    errors: list[str] = []
    contexts = []

    def opened(url: str = address, **options: object) -> "Page":
        context = browser.new_context(**{"locale": "en-GB", "permissions": ["microphone"]} | options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.locator("#transcribe").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
