"""Test uploads by suffix in a browser, which calls some recordings video, or does not know them."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from escoita.recipe.schema import Space
from escoita.space.texts import translate
from escoita.space.uploads import upload_texts
from tests.space.browsing import Visit, in_chromium, served
from tests.space.pages import demo_of
from tests.space.stub import CONTAINERS, Stub, write_clip


pytestmark = in_chromium
# Drops a file, as a visitor does; Playwright has no method for it.
DROP = """(zone, [name, type, content]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(content), (each) => each.charCodeAt(0))], name, {type}));
    zone.dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: data}));
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with served(demo_of(settings=Space(max_megabytes=1), ready=lambda: Stub("salom dunyo"))) as address:
            yield address


def test_a_recording_in_each_container_is_transcribed(visit: Visit, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = visit()
    source = page.locator("#recording [data-testid=source-select] button").first
    source.click()
    for suffix in [*CONTAINERS, ".wav"]:
        page.locator("#recording input[type=file]").set_input_files(write_clip(tmp_path / f"clip{suffix}"))
        expect(page.locator("#recording").get_by_label("Clear"), suffix).to_be_visible()
        page.locator("#transcribe").click()
        expect(page.locator("#transcript textarea"), suffix).to_have_value("salom dunyo")
        page.locator("#recording").get_by_label("Clear").click()
        expect(page.locator("#transcript textarea"), suffix).to_have_value("")


def test_the_file_dialog_offers_the_suffixes(visit: Visit) -> None:
    page = visit()
    page.locator("#recording [data-testid=source-select] button").first.click()
    with page.expect_file_chooser():
        page.locator("#recording button:has(input[type=file])").click()
    offered = (page.locator("#recording input[type=file]").get_attribute("accept") or "").split(",")
    assert {"audio/*", *CONTAINERS} <= set(offered)


def test_a_dropped_video_is_transcribed(visit: Visit, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = visit()
    page.locator("#recording [data-testid=source-select] button").first.click()
    content = base64.b64encode(write_clip(tmp_path / "clip.webm").read_bytes()).decode()
    zone = page.locator("#recording button:has(input[type=file])")
    zone.evaluate(DROP, ["clip.webm", "video/webm", content])
    expect(page.locator("#recording").get_by_label("Clear")).to_be_visible()
    page.locator("#transcribe").click()
    expect(page.locator("#transcript textarea")).to_have_value("salom dunyo")


def test_a_large_file_is_refused_before_the_upload_in_the_language_of_the_page(visit: Visit, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = visit(locale="gl-ES")
    uploads = []
    page.on("request", lambda request: uploads.append(request.url) if request.method == "POST" else None)
    page.locator("#recording [data-testid=source-select] button").first.click()
    (tmp_path / "big.wav").write_bytes(bytes(2**20 + 2**19))
    page.locator("#recording input[type=file]").set_input_files(tmp_path / "big.wav")
    problem = page.locator(".recording-problem").first
    expect(problem).to_have_text(f"big.wav: {translate('refusal.megabytes', 'gl', size='1.5', limit='1')}")
    assert not [url for url in uploads if "/upload" in url]
    page.locator("#recording input[type=file]").set_input_files(write_clip(tmp_path / "clip.mov"))
    expect(problem).to_be_hidden()
    expect(page.locator("#recording").get_by_label(translate("common.clear", "gl"))).to_be_visible()


def test_the_texts_for_the_script_are_escaped_and_keep_the_placeholder() -> None:
    assert "{size}" in upload_texts(Space(), "en") and "<script>" not in upload_texts(Space(), "en")
