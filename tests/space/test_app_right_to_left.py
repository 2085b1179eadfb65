"""Test the page with a language that is written from right to left."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from escoita.inference.fairness import Client
from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.records.transcript import Segment, Transcript
from escoita.utils.languages import direction, language_name
from tests.space.browsing import CHROMIUM, Visit, served, upload
from tests.space.pages import demo_of


TEXT = "ياخشىمۇسىز، مەن 3 يىل GPS ئىشلەتتىم."


class Uyghur:
    """Return two segments for each recording."""

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        prompt_adapter: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        segments = (Segment(0.0, 30.0, TEXT), Segment(30.0, 41.0, TEXT))
        text = f"{TEXT} {TEXT}"
        yield Partial(text, segments, 41.0, 41.0, None, 0.1, Transcript(text, 41.0, 0.5, 9, False, segments))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with served(demo_of(settings=Space(max_minutes=1), language="ug", ready=Uyghur)) as address:
            yield address


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_texts_run_from_right_to_left(visit: Visit, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(np.arange(41 * 16_000) * 0.1), 16_000)
    page = visit()
    upload(page, tmp_path / "a.wav")
    page.locator("#transcribe").click()
    page.locator("#downloads a").first.wait_for()
    layout = "node => [getComputedStyle(node).direction, getComputedStyle(node).textAlign]"
    for place in ("#transcript textarea", "#segments li"):
        found, alignment = page.locator(place).first.evaluate(layout)
        assert found == "rtl" and alignment in ("start", "right"), place
    assert page.locator("#segments li").first.get_attribute("lang") == "ug"
    number, text = (page.locator(f"#segments li >> nth=0 >> {tag}").bounding_box() for tag in ("span", "bdi"))
    assert number and text and number["x"] > text["x"]
    assert page.locator("#status p").evaluate(layout)[0] == "ltr"
    page.get_by_role("tab", name="Compare").click()
    directions = "nodes => nodes.map((node) => getComputedStyle(node).direction)"
    assert set(page.locator("#compare-texts textarea").evaluate_all(directions)) == {"rtl"}


@pytest.mark.parametrize(
    "code, expected",
    [("uz", "ltr"), ("ug", "rtl"), ("ur", "rtl"), ("he", "rtl"), ("ug-Latn", "ltr"), ("dv", "rtl"), (None, "auto")],
)
def test_direction(code: str | None, expected: str) -> None:
    assert direction(code) == expected


@pytest.mark.parametrize(
    "code, language, name",
    [
        ("uz", "en", "Uzbek"),
        ("uz", "gl", "uzbeko"),
        ("uz", "uz", "oʻzbek"),
        ("kmr", "gl", "Northern Kurdish"),
        ("qaa", "en", "qaa"),
        ("?", "en", "?"),
    ],
)
def test_language_name(code: str, language: str, name: str) -> None:
    assert language_name(code, language) == name
