import re

from escoita.records.transcript import Segment, Transcript
from escoita.serve import formats


TRANSCRIPT = Transcript(
    "salom <b>dunyo</b>",
    3671.5,
    0.1,
    segments=(Segment(0.0, 1.25, "salom"), Segment(2.0, 3.0, ""), Segment(3661.5, 3671.5004, "<b>dunyo</b>")),
)


def test_json_names_the_model() -> None:
    body = formats.json_body(TRANSCRIPT, "m")
    assert (body["text"], body["model"], body["usage"]["seconds"]) == (TRANSCRIPT.text, "m", 3671.5)


def test_verbose_json_has_all_segments() -> None:
    body = formats.verbose_json(TRANSCRIPT, "uz")
    assert (body["language"], body["duration"], body["text"]) == ("uz", 3671.5, TRANSCRIPT.text)
    assert [(each["id"], each["start"], each["end"]) for each in body["segments"]] == [
        (0, 0.0, 1.25),
        (1, 2.0, 3.0),
        (2, 3661.5, 3671.5),
    ]


def test_subtitles_have_times_and_text() -> None:
    assert "salom" in formats.srt(TRANSCRIPT)
    assert "01:01:01,500 --> 01:01:11,500" in formats.srt(TRANSCRIPT)
    assert formats.vtt(TRANSCRIPT).startswith("WEBVTT\n\n")
    assert "01:01:01.500 --> 01:01:11.500" in formats.vtt(TRANSCRIPT)


def test_no_markup_of_a_model_gets_into_webvtt() -> None:
    assert not re.search("<b>", formats.vtt(TRANSCRIPT))
