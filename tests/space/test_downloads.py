"""Test the files of a transcript."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.audio.loading import read_recording
from escoita.inference.outputs import FORMATS, TranscribedFile
from escoita.inference.subtitles import make_cues, transcript_words
from escoita.records.transcript import Segment, Transcript
from escoita.space.downloads import DOWNLOADS, MAX_NAME_BYTES, safe_stem, write_downloads
from tests.space.stub import CLIP


SILENCE = np.zeros(16_000, np.float32)


def test_the_files_are_those_of_the_command_transcribe(tmp_path: Path) -> None:
    samples = read_recording(CLIP).samples
    length = len(samples) / 16_000
    transcript = Transcript("musiqani och", length, 0.5, 9, segments=(Segment(0.0, length, "musiqani och"),))
    words = transcript_words(transcript, samples)
    cues = make_cues(words, length)
    file = TranscribedFile(CLIP.name, transcript, tuple(words), tuple(cues), "uz")
    paths = write_downloads(transcript, samples, tmp_path, str(CLIP), "uz")
    assert [path.name for path in paths] == [f"{CLIP.stem}.{name}" for name in DOWNLOADS]
    assert [path.read_text("utf-8") for path in paths] == [FORMATS[name](file) for name in DOWNLOADS]
    assert json.loads(paths[-1].read_text("utf-8"))["language"] == "uz"


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    for path in write_downloads(Transcript("a\ud800b", 1.0, 0.5), SILENCE, tmp_path, "\udfff.wav"):
        assert "a\ufffdb" in path.read_text("utf-8")


def test_an_empty_transcript_has_no_cues(tmp_path: Path) -> None:
    txt, srt, vtt, _ = write_downloads(Transcript("", 1.0, 0.5), SILENCE, tmp_path, "quiet.wav")
    assert txt.read_text() == srt.read_text() == "" and vtt.read_text() == "WEBVTT\n"


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
