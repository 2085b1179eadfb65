"""Test that the calls that the page shows return the transcript."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from escoita.space.tabs.api import EXAMPLES, api_examples
from escoita.space.texts import translate
from tests.space.browsing import CHROMIUM, Visit, served
from tests.space.pages import demo_of
from tests.space.stub import CLIP, Stub


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with served(demo_of(ready=lambda: Stub("salom dunyo"))) as address:
            yield address


def example(name: str, address: str) -> str:
    return EXAMPLES[name].format(address=address, adapter='"uzbek"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(CLIP, tmp_path / "clip.wav")
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the path")
def test_curl(address: str, folder: Path) -> None:
    command = ["bash", "-c", example("curl", address)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip().endswith('data: ["salom dunyo"]')


def test_python(address: str, folder: Path) -> None:
    command = [sys.executable, "-c", example("Python", address)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip().endswith("salom dunyo")


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on the path")
def test_javascript(address: str, folder: Path) -> None:
    code = example("JavaScript", address)
    code += (
        '\nconst file = await (await import("node:fs")).openAsBlob("clip.wav");console.log(await transcribe(file));'
    )
    command = ["node", "--input-type=module", "-e", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "salom dunyo"


def test_a_name_is_escaped() -> None:
    text = api_examples(demo_of(adapters={"<b>'\"": "acme/a"}), "gl")
    assert "<b>" not in text and translate("api.label", "gl") in text


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_a_visitor_copies_a_call(visit: Visit, address: str) -> None:
    from playwright.sync_api import expect

    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_text(translate("api.label"), exact=True).click()
    for name in EXAMPLES:
        button = page.get_by_role("button", name=f"{translate('api.copy')}: {name}")
        button.click()
        expect(button).to_have_text(translate("api.copied"))
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == example(name, address)
        assert not re.search(r"https://ADDRESS", copied)
