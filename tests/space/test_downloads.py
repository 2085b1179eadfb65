"""Test the files of a transcript."""

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
    MAX_NAME_BYTES,
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
    """Return the start and end in milliseconds, and the text, of subtitles read with FFmpeg."""
    with av.open(io.BytesIO(text.encode()), "r", format=kind) as container:
        packets = [packet for packet in container.demux() if packet.size]
        starts = [packet.pts or 0 for packet in packets]
        return [
            (start, start + (packet.duration or 0), bytes(packet).decode())
            for start, packet in zip(starts, packets, strict=True)
        ]


def transcript_of(*texts: str, end: float | None = None) -> Transcript:
    segments = tuple(Segment(2.0 * i, end if end is not None else 2.0 * i + 1.5, each) for i, each in enumerate(texts))
    return Transcript(" ".join(texts), 2.0 * len(texts), 0.5, segments=segments)


def test_times_and_texts_of_subtitles() -> None:
    assert as_srt(TWO) == "1\n00:00:00,000 --> 00:00:01,250\nbo día\n\n2\n01:02:03,000 --> 01:02:03,500\nola\n"
    assert as_vtt(TWO) == ("WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nbo día\n\n01:02:03.000 --> 01:02:03.500\nola\n")
    assert as_text(TWO) == "bo día ola\n"


def test_json_contains_every_field() -> None:
    read = json.loads(as_json(TWO))
    assert read["segments"][0] == {"start": 0.0, "end": 1.25, "text": "bo día"}
    assert len(read["segments"]) == 3 and read["audio_seconds"] == 3723.5 and read["tokens"] == 9
    assert "día" in as_json(TWO)


def test_a_transcript_without_segments_is_one_subtitle() -> None:
    assert cues(as_vtt(Transcript("salom", 2.5, 0.1)), "webvtt") == [(0, 2500, "salom")]


@pytest.mark.parametrize("empty", [Transcript("", 2.0, 0.1), transcript_of("", " \n ")])
def test_an_empty_transcript(empty: Transcript) -> None:
    assert as_text(empty) == as_srt(empty) == ""
    assert as_vtt(empty) == "WEBVTT\n"
    assert json.loads(as_json(empty))["text"] == empty.text


def test_hostile_text_is_escaped_in_one_subtitle() -> None:
    (vtt,), (srt,) = cues(as_vtt(transcript_of(HOSTILE)), "webvtt"), cues(as_srt(transcript_of(HOSTILE)), "srt")
    assert "<" not in vtt[2] and "-->" not in vtt[2]
    assert "-->" not in srt[2] and "<script" not in srt[2] and "{\\" not in srt[2]
    plain = " ".join(HOSTILE.replace("\x00", "\ufffd").split())
    assert html.unescape(vtt[2]) == srt[2].replace(WORD_JOINER, "") == plain


@given(st.lists(st.text(max_size=40).map(lambda text: text.replace(WORD_JOINER, "")), max_size=5))
def test_ffmpeg_reads_any_transcript(texts: list[str]) -> None:
    transcript = transcript_of(*texts)
    expected = _expected(texts)
    assert [(a, b, html.unescape(text)) for a, b, text in _cues_if_any(as_vtt(transcript), "webvtt")] == expected
    assert [
        (a, b, text.replace(WORD_JOINER, "")) for a, b, text in _cues_if_any(as_srt(transcript), "srt")
    ] == expected
    assert [segment["text"] for segment in json.loads(as_json(transcript))["segments"]] == texts


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    for path in write_downloads(transcript_of("a\ud800b"), tmp_path, "\udfff.wav"):
        assert "a\ufffdb" in path.read_text("utf-8")


def _expected(texts: list[str]) -> list[tuple[int, int, str]]:
    lines = [as_text(Transcript(text, 1.0, 0.1)).rstrip("\n") for text in texts]
    return [(2000 * index, 2000 * index + 1500, text) for index, text in enumerate(lines) if text]


def _cues_if_any(text: str, kind: str) -> list[tuple[int, int, str]]:
    return cues(text, kind) if "-->" in text else []


def test_a_subtitle_ends_after_its_start() -> None:
    assert cues(as_srt(transcript_of("a", end=0.0)), "srt") == [(0, 1, "a")]


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
def test_safe_stem(recording: str, stem: str) -> None:
    assert safe_stem(recording) == stem


@given(st.text(max_size=300))
def test_safe_stem_of_any_name(recording: str) -> None:
    stem = safe_stem(recording)
    assert stem and os.path.basename(stem) == stem and stem not in (".", "..") and not stem.startswith((".", "-"))
    assert len(stem.encode()) <= MAX_NAME_BYTES + len("transcript-")
    assert all(each.isprintable() or each.isalnum() for each in stem)
