"""Test the waveform, the segments and the status of a transcription."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.audio.loading import SAMPLING_RATE
from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.records import transcript as transcripts
from escoita.records.training import AdapterRecord
from escoita.records.transcript import Segment, Transcript
from escoita.space.status import (
    CSS,
    DARK,
    HEIGHT,
    LIGHT,
    MAX_SEGMENTS,
    NOTES,
    WIDTH,
    clock,
    done_line,
    generation_settings_line,
    peaks,
    progress_line,
    segment_list,
    waveform,
)
from escoita.space.texts import LANGUAGES, translate
from tests.space.colors import contrast
from tests.space.stub import tone


def transcript(text: str = "salom", audio: float = 3.0, compute: float = 1.5, truncated: bool = False) -> Transcript:
    return Transcript(text, audio, compute, 3, truncated, (Segment(0.0, audio, text),))


def test_the_position_in_the_queue_is_shown() -> None:
    settings = Space(max_queue=7)
    assert progress_line(Partial("", (), 0.0, 3.0, before=0), settings, "gl") == translate("status.next", "gl")
    third = progress_line(Partial("", (), 0.0, 3.0, before=2), settings, "gl")
    assert third == translate("status.queued", "gl", place=3, size=7)


def test_a_long_recording_has_a_labelled_progress_bar() -> None:
    partial = Partial("salom", (Segment(0.0, 30.0, "salom"),), 30.0, 90.0)
    line = progress_line(partial, Space(), "en")
    assert '<progress max="90.0" value="30.0" aria-label="' in line
    assert "<progress" not in progress_line(Partial("sa", (), 0.0, 3.0), Space(), "en")


def test_the_result_has_length_first_text_and_speed() -> None:
    line = done_line(transcript(), 0.4, "en")
    assert "3.0" in line and "0.4" in line and "2.0" in line
    assert progress_line(Partial("salom", (), 3.0, 3.0, None, 0.4, transcript()), Space(), "en") == line


def test_the_result_has_no_speed_without_computing_time() -> None:
    assert len(done_line(transcript(compute=0.0), None, "en").split(" · ")) == 1


def test_the_result_reports_empty_and_truncated_transcripts() -> None:
    assert translate("status.no_words", "gl") in done_line(transcript(""), None, "gl").split(" · ")
    assert translate("status.no_words", "gl") not in done_line(transcript(), None, "gl")
    assert translate("status.truncated", "gl") in done_line(transcript(truncated=True), None, "gl").split("<br>")


def test_one_segment_of_the_whole_recording_is_not_listed() -> None:
    assert segment_list([], 3.0, "en") == ""
    assert segment_list([Segment(0.0, 3.0, "salom")], 3.0, "en") == ""
    assert segment_list([Segment(0.0, 2.0, "salom")], 3.0, "en").count("<li ") == 1


def test_a_segment_without_words_is_listed() -> None:
    output = segment_list([Segment(0.0, 30.0, "salom"), Segment(30.0, 60.0, "")], 60.0, "en")
    assert output.count("<li ") == 2 and f">{translate('segments.no_words')}</bdi></li>" in output


@given(st.text())
def test_transcripts_are_escaped(text: str) -> None:
    output = segment_list([Segment(0.0, 30.0, f"<script>{text}"), Segment(30.0, 60.0, text)], 60.0, "en")
    assert "<script" not in output and output.count("<li ") == 2


def test_generation_settings_are_escaped() -> None:
    record = AdapterRecord(language="uz", prompt={"user": "<b>Transcribe.</b>"})
    line = generation_settings_line(record, "en")
    assert "<b>Uzbek</b>" in line and "&lt;b&gt;Transcribe.&lt;/b&gt;" in line
    assert generation_settings_line(None, "en") == ""


def test_notes_on_the_recording_follow_the_result() -> None:
    noted = replace(transcript(), notes=("cut_off", "one_channel"))
    for language in LANGUAGES:
        lines = done_line(noted, None, language).split("<br>")
        assert lines[1:] == [translate("status.cut_off", language), translate("status.one_channel", language)]
    assert NOTES.keys() == transcripts.NOTES.keys()


def parsed_waveform(samples: np.ndarray, *segments: Segment, language: str = "en") -> ElementTree.Element:
    return ElementTree.fromstring(waveform(samples, segments, language))  # noqa: S314


def test_segments_are_drawn_at_their_times() -> None:
    page = parsed_waveform(tone(10), Segment(0, 2.5, "bo día"), Segment(2.5, 10, ""))
    assert [(band.get("x"), band.get("width")) for band in page.iter("rect")] == [("0.0", "150.0"), ("150.0", "450.0")]
    assert [title.text for title in page.iter("title")] == [
        "0:00–0:02 bo día",
        f"0:02–0:10 {translate('segments.no_words')}",
    ]
    assert [edge.get("d") for edge in page.iter("path") if edge.get("class") == "edge"] == [f"M150.0 0V{HEIGHT}"]
    assert [span.text for span in page.iter("span")] == ["0:00", "0:10"]


def test_the_drawing_has_a_label() -> None:
    def label(*segments: Segment, language: str = "en") -> str | None:
        (drawing,) = parsed_waveform(tone(2), *segments, language=language).iter("svg")
        assert drawing.get("role") == "img"
        return drawing.get("aria-label")

    two = (Segment(0, 1, "a"), Segment(1, 2, "b"))
    for language in ("en", "gl"):
        expected = translate("segments.waveform", language, length="0:02", count=2)
        assert label(*two, language=language) == expected
    assert label() == label(two[0]) == translate("segments.waveform_whole", length="0:02")


def test_the_drawing_of_half_an_hour_in_a_thousand_segments_is_small() -> None:
    samples = np.tile(tone(60), 30)
    segments = [Segment(1.8 * i, 1.8 * (i + 1), "<" * 5000) for i in range(1000)]
    text = waveform(samples, segments)
    assert len(text) < 250_000
    bands = list(ElementTree.fromstring(text).iter("rect"))  # noqa: S314
    assert len(bands) <= MAX_SEGMENTS
    assert sum(float(band.get("width", 0)) for band in bands) == pytest.approx(WIDTH, abs=0.1 * len(bands))


def test_hostile_text_is_escaped_in_the_drawing() -> None:
    words = "</title><script>alert(1)</script>\x00\u202e&"
    page = parsed_waveform(tone(1), Segment(0, 1, words))
    assert not list(page.iter("script"))
    (title,) = page.iter("title")
    assert title.text == "0:00–0:01 </title><script>alert(1)</script><U+0000><U+202E>&"


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(1, np.float32), np.ones(7, np.float32)])
def test_few_samples(samples: np.ndarray) -> None:
    page = parsed_waveform(samples, Segment(0, 0, ""))
    assert "nan" not in ElementTree.tostring(page, "unicode")


def test_peaks_of_silence_and_of_the_loudest_sample() -> None:
    assert not peaks(np.zeros(SAMPLING_RATE, np.float32), 10).any()
    loud = np.zeros(1000, np.float32)
    loud[550] = -0.2
    assert peaks(loud, 10).tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]


@given(st.integers(1, 5000), st.integers(1, 700))
def test_peaks_include_every_sample(length: int, columns: int) -> None:
    heights = peaks(np.linspace(0.1, 1, length, dtype=np.float32), columns)
    assert len(heights) == min(length, columns) and heights[-1] == 1 and (np.diff(heights) >= 0).all()


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_lines_have_enough_contrast(scheme: dict[str, str]) -> None:
    for line in ("wave", "edge"):
        for ground in ("band", "ground"):
            assert contrast(scheme[line], scheme[ground]) >= 3
        assert f"stroke: {scheme[line]};" in CSS
    assert f"fill: {scheme['band']};" in CSS


@pytest.mark.parametrize(
    "moment, expected", [(0, "0:00"), (59.4, "0:59"), (59.99, "1:00"), (0.77, "0:01"), (61, "1:01"), (3723, "1:02:03")]
)
def test_clock(moment: float, expected: str) -> None:
    assert clock(moment) == expected
