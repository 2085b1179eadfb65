import json

from escoita.records.transcript import Segment, Transcript
from escoita.serve import formats
from tests.length_model import clip


TEXT = "salom <b>dunyo</b>"
TRANSCRIPT = Transcript(TEXT, 2.0, 0.1, segments=(Segment(0.0, 2.0, TEXT),))


def test_json_names_the_model() -> None:
    body = formats.json_body(TRANSCRIPT, "m")
    assert (body["text"], body["model"], body["usage"]["seconds"]) == (TEXT, "m", 2.0)


def test_timed_formats_contain_the_text() -> None:
    file = formats.timed_file(TRANSCRIPT, clip(32_000), "uz", word_timestamps=True)
    written = {name: write(file) for name, (write, _) in formats.WRITERS.items()}
    assert set(formats.TIMED) < written.keys()
    assert all("salom" in text for text in written.values())
    content = json.loads(written["verbose_json"])
    assert (content["language"], [each["word"] for each in content["words"]]) == ("uz", TEXT.split())
    assert "<b>" not in written["vtt"]


def test_an_empty_transcript_has_no_cues() -> None:
    file = formats.timed_file(Transcript("", 2.0, 0.1, segments=(Segment(0.0, 2.0, ""),)), clip(32_000))
    assert {name: write(file) for name, (write, _) in formats.WRITERS.items() if name != "verbose_json"} == {
        "text": "",
        "srt": "",
        "vtt": "WEBVTT\n",
    }
