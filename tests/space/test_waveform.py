from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.audio.loading import SAMPLING_RATE
from escoita.records.transcript import Segment
from escoita.space.status import CSS, DARK, HEIGHT, LIGHT, MOST_SEGMENTS, WIDTH, clock, peaks, waveform
from tests.space.colors import contrast
from tests.space.stub import tone


def drawn(samples: np.ndarray, *segments: Segment, language: str = "en") -> ElementTree.Element:
    return ElementTree.fromstring(waveform(samples, segments, language))  # noqa: S314


def test_segments_lie_where_they_were_heard() -> None:
    page = drawn(tone(10), Segment(0, 2.5, "bo día"), Segment(2.5, 10, ""))
    assert [(band.get("x"), band.get("width")) for band in page.iter("rect")] == [("0.0", "150.0"), ("150.0", "450.0")]
    assert [title.text for title in page.iter("title")] == ["0:00–0:02 bo día", "0:02–0:10 no words"]
    assert [edge.get("d") for edge in page.iter("path") if edge.get("class") == "edge"] == [f"M150.0 0V{HEIGHT}"]
    assert [span.text for span in page.iter("span")] == ["0:00", "0:10"]


def test_the_drawing_says_in_words_what_it_shows() -> None:
    def label(*segments: Segment, language: str = "en") -> str | None:
        (drawing,) = drawn(tone(2), *segments, language=language).iter("svg")
        assert drawing.get("role") == "img"
        return drawing.get("aria-label")

    two = (Segment(0, 1, "a"), Segment(1, 2, "b"))
    assert label(*two) == "Waveform of the recording: 0:02, 2 segments"
    assert label(*two, language="gl") == "Forma de onda da gravación: 0:02, 2 segmentos"
    assert label() == label(two[0]) == "Waveform of the recording: 0:02"


def test_half_an_hour_in_a_thousand_segments_is_small() -> None:
    samples = np.tile(tone(60), 30)
    segments = [Segment(1.8 * i, 1.8 * (i + 1), "<" * 5000) for i in range(1000)]
    text = waveform(samples, segments)
    assert len(text) < 250_000
    bands = list(ElementTree.fromstring(text).iter("rect"))  # noqa: S314
    assert len(bands) <= MOST_SEGMENTS
    assert sum(float(band.get("width", 0)) for band in bands) == pytest.approx(WIDTH, abs=0.1 * len(bands))


def test_hostile_words_stay_words() -> None:
    words = "</title><script>alert(1)</script>\x00\u202e&"
    page = drawn(tone(1), Segment(0, 1, words))
    assert not list(page.iter("script"))
    (title,) = page.iter("title")
    assert title.text == "0:00–0:01 </title><script>alert(1)</script><U+0000><U+202E>&"


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(1, np.float32), np.ones(7, np.float32)])
def test_hardly_any_samples(samples: np.ndarray) -> None:
    page = drawn(samples, Segment(0, 0, ""))
    assert "nan" not in ElementTree.tostring(page, "unicode")


def test_silence_is_a_thin_line_and_the_loudest_moment_is_full() -> None:
    assert not peaks(np.zeros(SAMPLING_RATE, np.float32), 10).any()
    loud = np.zeros(1000, np.float32)
    loud[550] = -0.2
    assert peaks(loud, 10).tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]


@given(st.integers(1, 5000), st.integers(1, 700))
def test_no_sample_is_left_out(length: int, columns: int) -> None:
    heights = peaks(np.linspace(0.1, 1, length, dtype=np.float32), columns)
    assert len(heights) == min(length, columns) and heights[-1] == 1 and (np.diff(heights) >= 0).all()


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_lines_can_be_seen_in_light_and_in_dark(scheme: dict[str, str]) -> None:
    for line in ("wave", "edge"):
        for ground in ("band", "ground"):
            assert contrast(scheme[line], scheme[ground]) >= 3
        assert f"stroke: {scheme[line]};" in CSS
    assert f"fill: {scheme['band']};" in CSS


@pytest.mark.parametrize(
    "moment, shown", [(0, "0:00"), (59.4, "0:59"), (59.99, "1:00"), (0.77, "0:01"), (61, "1:01"), (3723, "1:02:03")]
)
def test_clock(moment: float, shown: str) -> None:
    assert clock(moment) == shown
