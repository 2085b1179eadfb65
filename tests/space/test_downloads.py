import html
import io
import json
import os
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.records.transcript import Segment, Transcript
from escoita.space.downloads import (
    FORMATS,
    LONGEST_NAME,
    WORD_JOINER,
    as_json,
    as_srt,
    as_text,
    as_vtt,
    safe_stem,
    write_downloads,
)


HOSTILE = "<script>alert(1)</script> & --> {\\an8} 00:00:01,000 --> 00:00:02,000\n\n2\n\nWEBVTT NOTE\x00 \u2028x"
TWO = Transcript(
    "bo día ola",
    3723.5,
    1.0,
    9,
    segments=(Segment(0.0, 1.25, "bo día"), Segment(1.25, 1.25, ""), Segment(3723.0004, 3723.5, "ola")),
)


def cues(text: str, kind: str) -> list[tuple[int, int, str]]:
    """Start and end in milliseconds, and text, as FFmpeg reads subtitles."""
    with av.open(io.BytesIO(text.encode()), "r", format=kind) as container:
        packets = [packet for packet in container.demux() if packet.size]
        starts = [packet.pts or 0 for packet in packets]
        return [
            (start, start + (packet.duration or 0), bytes(packet).decode())
            for start, packet in zip(starts, packets, strict=True)
        ]


def heard(*texts: str, end: float | None = None) -> Transcript:
    segments = tuple(Segment(2.0 * i, end if end is not None else 2.0 * i + 1.5, each) for i, each in enumerate(texts))
    return Transcript(" ".join(texts), 2.0 * len(texts), 0.5, segments=segments)


def test_times_and_words_of_subtitles() -> None:
    assert as_srt(TWO) == "1\n00:00:00,000 --> 00:00:01,250\nbo día\n\n2\n01:02:03,000 --> 01:02:03,500\nola\n"
    assert as_vtt(TWO) == ("WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nbo día\n\n01:02:03.000 --> 01:02:03.500\nola\n")
    assert as_text(TWO) == "bo día ola\n"


def test_programs_read_every_field() -> None:
    read = json.loads(as_json(TWO))
    assert read["segments"][0] == {"start": 0.0, "end": 1.25, "text": "bo día"}
    assert len(read["segments"]) == 3 and read["audio_seconds"] == 3723.5 and read["tokens"] == 9
    assert "día" in as_json(TWO)


def test_a_transcript_without_segments_is_one() -> None:
    assert cues(as_vtt(Transcript("salom", 2.5, 0.1)), "webvtt") == [(0, 2500, "salom")]


@pytest.mark.parametrize("nothing", [Transcript("", 2.0, 0.1), heard("", " \n ")])
def test_nothing_was_heard(nothing: Transcript) -> None:
    assert as_text(nothing) == as_srt(nothing) == ""
    assert as_vtt(nothing) == "WEBVTT\n"
    assert json.loads(as_json(nothing))["text"] == nothing.text


def test_hostile_text_stays_text_in_one_subtitle() -> None:
    (vtt,), (srt,) = cues(as_vtt(heard(HOSTILE)), "webvtt"), cues(as_srt(heard(HOSTILE)), "srt")
    assert "<" not in vtt[2] and "-->" not in vtt[2]
    assert "-->" not in srt[2] and "<script" not in srt[2] and "{\\" not in srt[2]
    plain = " ".join(HOSTILE.replace("\x00", "\ufffd").split())
    assert html.unescape(vtt[2]) == srt[2].replace(WORD_JOINER, "") == plain


@given(st.lists(st.text(max_size=40).map(lambda text: text.replace(WORD_JOINER, "")), max_size=5))
def test_ffmpeg_reads_back_what_was_heard(texts: list[str]) -> None:
    transcript = heard(*texts)
    expected = _expected(texts)
    assert [(a, b, html.unescape(text)) for a, b, text in _kept(as_vtt(transcript), "webvtt")] == expected
    assert [(a, b, text.replace(WORD_JOINER, "")) for a, b, text in _kept(as_srt(transcript), "srt")] == expected
    assert [segment["text"] for segment in json.loads(as_json(transcript))["segments"]] == texts


def test_half_a_character_can_be_written(tmp_path: Path) -> None:
    for path in write_downloads(heard("a\ud800b"), tmp_path, "\udfff.wav"):
        assert "a\ufffdb" in path.read_text("utf-8")


def _expected(texts: list[str]) -> list[tuple[int, int, str]]:
    shown = [as_text(Transcript(text, 1.0, 0.1)).rstrip("\n") for text in texts]
    return [(2000 * place, 2000 * place + 1500, text) for place, text in enumerate(shown) if text]


def _kept(text: str, kind: str) -> list[tuple[int, int, str]]:
    return cues(text, kind) if "-->" in text else []


def test_a_segment_never_ends_before_it_begins() -> None:
    assert cues(as_srt(heard("a", end=0.0)), "srt") == [(0, 1, "a")]


def test_files_are_named_after_the_recording(tmp_path: Path) -> None:
    paths = write_downloads(TWO, tmp_path / "one", "/srv/uploads/3f/Entrevista con María.m4a")
    assert [path.name for path in paths] == [f"Entrevista con María.{ending}" for ending in FORMATS]
    assert paths[1].read_text("utf-8") == as_srt(TWO)


@pytest.mark.parametrize(
    "recording, stem",
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\ola.wav", "ola"),
        ("..", "transcript"),
        ("", "transcript"),
        (".wav", "wav"),
        ("nul.wav", "transcript-nul"),
        ("con.tar.gz", "transcript-con.tar"),
        ('a"; rm -rf *\n<b>.wav', "a- rm -rf -b"),
        ("сўз.ogg", "сўз"),
    ],
)
def test_names_of_recordings_do_no_harm(recording: str, stem: str) -> None:
    assert safe_stem(recording) == stem


@given(st.text(max_size=300))
def test_any_name_becomes_one_that_can_be_written(recording: str) -> None:
    stem = safe_stem(recording)
    assert stem and os.path.basename(stem) == stem and stem not in (".", "..") and not stem.startswith((".", "-"))
    assert len(stem.encode()) <= LONGEST_NAME + len("transcript-")
    assert all(each.isprintable() or each.isalnum() for each in stem)
