"""Check the text, the times and the speakers of subtitles."""

from pathlib import Path

import pytest

from escoita.data.annotations import read_segments
from escoita.data.annotations.base import AnnotationError
from tests.data.annotations.samples import SRT, VTT, write


def test_subrip_cues_have_no_tags_and_no_numbers(tmp_path: Path) -> None:
    segments = read_segments(write(tmp_path / "a.srt", SRT.replace("\n", "\r\n"), "utf-8-sig"))
    assert [each[1:4] for each in segments] == [(1, 2.5, "bo día a todos"), (3, 4, "25")]


def test_webvtt_cues_have_no_notes_and_no_names(tmp_path: Path) -> None:
    segments = read_segments(write(tmp_path / "a.vtt", VTT))
    assert [(*each[1:4], each.speaker) for each in segments] == [
        (1, 2.5, "bo día & ata", "Ana María"),
        (3, 4, "mañá", ""),
    ]


def test_a_file_without_cues_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError):
        read_segments(write(tmp_path / "a.srt", "bo día\n"))
