"""What stands under a transcript."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.records import transcript as transcripts
from escoita.records.training import AdapterRecord
from escoita.records.transcript import Segment, Transcript
from escoita.space.status import NOTES, done_line, generation_settings_line, progress_line, segment_list
from escoita.space.texts import LANGUAGES, say


def transcript(text: str = "salom", audio: float = 3.0, compute: float = 1.5, truncated: bool = False) -> Transcript:
    return Transcript(text, audio, compute, 3, truncated, (Segment(0.0, audio, text),))


def test_who_waits_is_told_the_place_in_the_line() -> None:
    settings = Space(max_queue=7)
    assert progress_line(Partial("", (), 0.0, 3.0, before=0), settings, "en") != ""
    third = progress_line(Partial("", (), 0.0, 3.0, before=2), settings, "en")
    assert "3" in third and "7" in third


def test_a_long_recording_has_a_bar_with_a_name() -> None:
    known = Partial("salom", (Segment(0.0, 30.0, "salom"),), 30.0, 90.0)
    line = progress_line(known, Space(), "en")
    assert '<progress max="90.0" value="30.0" aria-label="' in line
    assert "<progress" not in progress_line(Partial("sa", (), 0.0, 3.0), Space(), "en")


def test_at_the_end_stand_length_first_text_and_speed() -> None:
    line = done_line(transcript(), 0.4, "en")
    assert "3.0" in line and "0.4" in line and "2.0" in line
    assert progress_line(Partial("salom", (), 3.0, 3.0, None, 0.4, transcript()), Space(), "en") == line


def test_no_speed_without_time_and_no_first_text_without_one() -> None:
    assert len(done_line(transcript(compute=0.0), None, "en").split(" · ")) == 1


def test_that_nothing_was_said_or_text_is_cut_off_is_told() -> None:
    whole, none = done_line(transcript(), None, "en"), done_line(transcript(""), None, "en")
    assert none.count(" · ") == whole.count(" · ") + 1
    assert "<br>" in done_line(transcript(truncated=True), None, "en")


def test_one_segment_of_the_whole_recording_is_no_list() -> None:
    assert segment_list([], 3.0, "en") == ""
    assert segment_list([Segment(0.0, 3.0, "salom")], 3.0, "en") == ""
    assert segment_list([Segment(0.0, 2.0, "salom")], 3.0, "en").count("<li>") == 1


def test_a_segment_without_words_says_so() -> None:
    said = segment_list([Segment(0.0, 30.0, "salom"), Segment(30.0, 60.0, "")], 60.0, "en")
    assert said.count("<li>") == 2 and "</span> </li>" not in said


@given(st.text())
def test_what_was_heard_is_escaped(text: str) -> None:
    said = segment_list([Segment(0.0, 30.0, f"<script>{text}"), Segment(30.0, 60.0, text)], 60.0, "en")
    assert "<script" not in said and said.count("<li>") == 2


def test_what_an_adapter_is_told_is_escaped() -> None:
    record = AdapterRecord(language="uz", prompt={"user": "<b>Transcribe.</b>"})
    said = generation_settings_line(record, "en")
    assert "<b>uz</b>" in said and "&lt;b&gt;Transcribe.&lt;/b&gt;" in said
    assert generation_settings_line(None, "en") == ""


def test_notes_on_the_recording_stand_below() -> None:
    noted = replace(transcript(), notes=("cut_off", "one_channel"))
    for language in LANGUAGES:
        lines = done_line(noted, None, language).split("<br>")
        assert lines[1:] == [say("status.cut_off", language), say("status.one_channel", language)]
    assert {note: say(key) for note, key in NOTES.items()} == transcripts.NOTES
