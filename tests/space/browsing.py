"""Provide helpers for the tests in a browser."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from escoita.space.app import build, start
from escoita.space.demo import Demo


if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The microphone is a file, and no permission is requested.
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
in_chromium = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")]


@contextmanager
def served(demo: Demo) -> Iterator[str]:
    page = build(demo)
    try:
        yield start(page, demo)
    finally:
        page.close(verbose=False)


def upload(page: "Page", recording: Path) -> None:
    page.locator("#recording [data-testid=source-select] button").first.click()
    page.locator("#recording input[type=file]").set_input_files(recording)
    page.locator("#recording .component-wrapper").wait_for()
