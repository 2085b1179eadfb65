"""Test the page after its connection was cut, and after the server was restarted."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from escoita.space.demo import Demo
from escoita.space.texts import translate
from tests.space.browsing import Visit, in_chromium, served, upload
from tests.space.pages import demo_of
from tests.space.stub import CLIP, Stub


pytestmark = [pytest.mark.slow, *in_chromium]
TEXT = " ".join(f"soz{number}" for number in range(12))


class Forwarder:
    """
    Forward the connections of a port, until they are cut.

    Args:
        address (`str`): The URL of the page.
    """

    def __init__(self, address: str):
        self.target, self.port = urlsplit(address).port, 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def running(self) -> Iterator[str]:
        ready = threading.Event()

        async def listen() -> None:
            server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()

        def run() -> None:
            self._loop.create_task(listen())
            self._loop.run_forever()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert ready.wait(30)
        yield f"http://127.0.0.1:{self.port}/"
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join(30)

    def cut(self) -> None:
        """Cut all connections; new ones are forwarded."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers |= {writer, to_there}
        await asyncio.gather(self._copy(reader, to_there), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return demo_of(ready=lambda: Stub(TEXT, delay=0.7))


@pytest.fixture
def address() -> str:
    return ""


def test_a_job_whose_connection_is_cut_continues_and_is_shown_again(visit: Visit, demo: Demo) -> None:
    from playwright.sync_api import expect

    with served(demo) as direct, (forwarder := Forwarder(direct)).running() as address:
        page = visit(address, locale="gl-ES")
        transcript, status = page.locator("#transcript textarea"), page.locator("#status")
        upload(page, CLIP)
        page.locator("#transcribe").click()
        page.wait_for_function("document.querySelector('#transcript textarea').value.includes('soz2')")
        forwarder.cut()
        expect(status).to_contain_text(translate("status.resumed", "gl", name=CLIP.name))
        assert transcript.input_value().startswith("soz0 soz1 soz2")
        expect(page.locator("#stop")).to_be_visible()
        expect(transcript).to_have_value(TEXT)
        expect(page.locator("#downloads a")).to_have_count(4)
        expect(page.locator("#stop")).to_be_hidden()


def test_a_comparison_whose_connection_is_cut_continues_and_is_shown_again(visit: Visit, demo: Demo) -> None:
    from playwright.sync_api import expect

    with served(demo) as direct, (forwarder := Forwarder(direct)).running() as address:
        page = visit(address)
        page.get_by_role("tab").nth(1).click()
        texts, status = page.locator("#compare-texts textarea"), page.locator("#compare-status")
        page.locator("#compare-recording [data-testid=source-select] button").first.click()
        page.locator("#compare-recording input[type=file]").set_input_files(CLIP)
        page.locator("#compare-recording .component-wrapper").wait_for()
        page.locator("#compare").click()
        page.wait_for_function("document.querySelector('#compare-texts textarea').value.includes('soz2')")
        with page.expect_navigation():
            forwarder.cut()
        page.get_by_role("tab").nth(1).click()
        expect(status).to_contain_text(translate("status.resumed", name=CLIP.name))
        assert texts.first.input_value().startswith("soz0 soz1 soz2")
        expect(page.locator("#compare-stop")).to_be_visible()
        expect(texts.last).to_have_value(TEXT)
        assert texts.first.input_value() == TEXT
        expect(page.locator("#compare-stop")).to_be_hidden()
        expect(page.locator("#comparison section")).to_have_count(1)
        demo.jobs._jobs.clear()
        page.reload()
        page.get_by_role("tab").nth(1).click()
        expect(status).to_contain_text(translate("status.kept", name=CLIP.name))
        expect(texts.last).to_have_value(TEXT)
        assert texts.first.input_value() == TEXT


def test_a_restored_comparison_names_the_models_that_were_chosen(visit: Visit, demo: Demo) -> None:
    from playwright.sync_api import expect

    adapters = {"first": str(CLIP.parent), "second": str(CLIP.parent.parent)}
    several = demo_of(adapters=adapters, ready=lambda: Stub("salom dunyo"))
    with served(several) as address:
        page = visit(address)
        page.get_by_role("tab").nth(1).click()
        page.get_by_label(translate("compare.first")).first.click()
        page.get_by_role("option", name="second").click()
        page.locator("#compare-recording [data-testid=source-select] button").first.click()
        page.locator("#compare-recording input[type=file]").set_input_files(CLIP)
        page.locator("#compare-recording .component-wrapper").wait_for()
        page.locator("#compare").click()
        title = page.locator("#comparison h3")
        expect(title).to_have_text("second – first")
        for kept in ("status.restored", "status.kept"):
            page.reload()
            page.get_by_role("tab").nth(1).click()
            expect(page.locator("#compare-status")).to_contain_text(translate(kept, name=CLIP.name))
            expect(title).to_have_text("second – first")
            several.jobs._jobs.clear()


def test_a_finished_text_is_restored_and_forgotten_with_its_recording(visit: Visit, demo: Demo) -> None:
    from playwright.sync_api import expect

    with served(demo_of(ready=lambda: Stub("salom dunyo"))) as address:
        page = visit(address)
        transcript = page.locator("#transcript textarea")
        upload(page, CLIP)
        page.locator("#transcribe").click()
        expect(page.locator("#downloads a")).to_have_count(4)
        page.reload()
        expect(transcript).to_have_value("salom dunyo")
        expect(page.locator("#status")).to_contain_text(translate("status.restored", name=CLIP.name))
        expect(page.locator("#downloads a")).to_have_count(4)
        upload(page, CLIP)
        expect(transcript).to_have_value("")
        page.reload()
        page.locator("#transcribe").wait_for()
        page.wait_for_timeout(2_000)
        expect(transcript).to_have_value("")


def test_the_text_is_kept_if_the_server_has_lost_the_job(visit: Visit, demo: Demo) -> None:
    from playwright.sync_api import expect

    with served(demo) as address:
        page = visit(address)
        upload(page, CLIP)
        page.locator("#transcribe").click()
        page.wait_for_function("document.querySelector('#transcript textarea').value.includes('soz3')")
        page.wait_for_timeout(300)
        demo.jobs._jobs.clear()
        page.reload()
        expect(page.locator("#status")).to_contain_text(translate("status.kept", name=CLIP.name))
        assert page.locator("#transcript textarea").input_value().startswith("soz0 soz1 soz2 soz3")


def test_a_stopped_job_stays_stopped(visit: Visit, demo: Demo) -> None:
    from playwright.sync_api import expect

    with served(demo) as address:
        page = visit(address)
        expect(page.locator("#stop")).to_be_hidden()
        upload(page, CLIP)
        page.locator("#transcribe").click()
        page.wait_for_function("document.querySelector('#transcript textarea').value.includes('soz1')")
        page.locator("#stop").click()
        expect(page.locator("#status")).to_have_text(translate("status.stopped"))
        expect(page.locator("#stop")).to_be_hidden()
        page.wait_for_timeout(2_000)
        (job,) = demo.jobs._jobs.values()
        assert job.ended is not None and "soz11" not in page.locator("#transcript textarea").input_value()
