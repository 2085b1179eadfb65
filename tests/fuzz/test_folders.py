"""Inspect folders whose files try to run commands, to take all memory or time, or to name files outside of them."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from escoita.data import encodings
from escoita.data.annotations import base, read_segments
from escoita.data.annotations.base import AnnotationError
from escoita.data.inspection import inspect, tables
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import Listing
from escoita.data.inspection.manifest import check_and_divide, manifest_lines
from escoita.errors import CorpusError
from tests.samples import tone, write_clip


VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\n"
TEXTGRID = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0 1 <exists> '
LARGE = 1_000_000


def found_in(folder: Path, **files: str | bytes) -> Found:
    """Write a recording `a.wav` and files, `.` as `_` in their names, into a folder, and inspect it."""
    write_clip(folder / "a.wav", tone(seconds=2.0))
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return inspect(str(folder), "gl", folder.parent / "extracted")


@pytest.mark.parametrize(
    "text", ["<v" + " " * LARGE, "<v." * LARGE, "<a" * LARGE, "{\\" * LARGE, "<v " * LARGE], ids=range(5)
)
def test_unclosed_tags_of_subtitles_take_linear_time(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(VTT + text, "utf-8")
    assert len(read_segments(tmp_path / "a.vtt")) == 1


def test_a_character_reference_with_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(f"{VTT}&#{'9' * 5000};", "utf-8")
    with pytest.raises(AnnotationError) as refused:
        read_segments(tmp_path / "a.vtt")
    assert refused.value.row == 3


def test_chains_of_slots_without_a_time_take_linear_time(tmp_path: Path) -> None:
    count = 20_000
    slots = "".join(f'<TIME_SLOT TIME_SLOT_ID="k{i}" TIME_VALUE="{i}"/>' for i in range(count))
    pairs = [(f"k{i}", "u0") for i in range(count)] + [(f"u{i}", f"u{i + 1}") for i in range(count)]
    annotations = "".join(
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="{one}" TIME_SLOT_REF2="{two}"/>'
        "</ANNOTATION>"
        for number, (one, two) in enumerate(pairs)
    )
    document = f'<TIME_ORDER>{slots}</TIME_ORDER><TIER TIER_ID="t">{annotations}</TIER>'
    (tmp_path / "a.eaf").write_text(f"<ANNOTATION_DOCUMENT>{document}</ANNOTATION_DOCUMENT>", "utf-8")
    with pytest.raises(AnnotationError) as refused:
        read_segments(tmp_path / "a.eaf")
    assert refused.value.value == "u0"


def test_deep_elements_are_read_without_recursion(tmp_path: Path) -> None:
    deep = "<a>" * 100_000 + "</a>" * 100_000
    (tmp_path / "a.eaf").write_text(f"<ANNOTATION_DOCUMENT>{deep}</ANNOTATION_DOCUMENT>", "utf-8")
    assert read_segments(tmp_path / "a.eaf") == []


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.TextGrid", f'{TEXTGRID} 1 "IntervalTier" "a" 0 1 1 1e306 1e307 "ola"'),
        ("a.TextGrid", f'{TEXTGRID} 1 "IntervalTier" "a" 0 1 1 0 1e999 "ola"'),
        ("a.TextGrid", f"{TEXTGRID} 1000000000000"),
        ("a.TextGrid", f'{TEXTGRID} 1 "IntervalTier" "a" 0 1 1e400'),
        ("a.ctm", "a 1 1e306 1 ola\n"),
        ("a.ctm", "a 1 nan 1 ola\n"),
        ("a.stm", "a 1 s 0 1e306 ola\n"),
        ("a.stm", "a 1 s 2 1 ola\n"),
    ],
)
def test_impossible_times_and_numbers_are_refused(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(AnnotationError):
        read_segments(tmp_path / name)


def test_the_number_of_segments_is_limited_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MOST_SEGMENTS", 10)
    (tmp_path / "a.TextGrid").write_text(f'{TEXTGRID} 1 "IntervalTier" "a" 0 1 1000 ' + '0 1 "" ' * 11, "utf-8")
    with pytest.raises(AnnotationError) as refused:
        read_segments(tmp_path / "a.TextGrid")
    assert "where a TextGrid has" not in refused.value.problem


def test_words_of_one_time_are_joined_in_linear_time(tmp_path: Path) -> None:
    (tmp_path / "a.ctm").write_text("a 1 0 0 x\n" * 200_000, "utf-8")
    (segment,) = read_segments(tmp_path / "a.ctm")
    assert len(segment.text) == 399_999


@pytest.mark.parametrize("name", ["m_csv", "m_jsonl", "cuts_jsonl_gz"])
def test_the_number_of_lines_is_limited_before_they_are_split(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "MOST_LINES", 10)
    lines = {"m_csv": "audio,text\na.wav,ola\n", "m_jsonl": '{"audio": "a.wav", "text": "ola"}\n'}.get(name, "{}\n")
    content = (lines * 11).encode()
    with pytest.raises(CorpusError) as refused:
        found_in(tmp_path, **{name: gzip.compress(content) if name.endswith("gz") else content})
    assert "at most 10" in str(refused.value)


def test_the_number_of_cells_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_CELLS", 100)
    wide = json.dumps({"audio": "a.wav", "text": "ola", **{f"k{number}": "" for number in range(50)}})
    with pytest.raises(CorpusError) as refused:
        found_in(tmp_path, m_jsonl=wide + "\n{}" * 10)
    assert "at most 100" in str(refused.value)


CUT = {
    "id": "i",
    "start": 0,
    "duration": 1,
    "recording": {"duration": 2, "sources": [{"type": "file", "source": "a.wav"}]},
    "supervisions": [{"text": "ola mundo", "speaker": "s"}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"start": 10**400},
        {"start": float("nan")},
        {"start": float("inf")},
        {"start": 1e306},
        {"start": -1},
        {"duration": -1},
        {"id": "\ud800"},
        {"supervisions": [{"text": "ola", "speaker": "\ud800"}]},
        {"supervisions": [{"text": "ola", "speaker": "\0"}]},
        {"recording": {"duration": 2, "sources": [{"type": "file", "source": ["a.wav"]}]}},
        {"recording": {"duration": 2, "sources": [{"type": "file", "source": "/etc/passwd"}]}},
        {"recording": {"duration": 2, "sources": [{"type": "command", "source": "touch hacked; cat a.wav"}]}},
    ],
    ids=str,
)
def test_cuts_that_cannot_be_used_are_rejected_one_by_one(change: dict[str, Any], tmp_path: Path) -> None:
    good = {**CUT, "start": 0.5, "duration": 0.5}
    found = found_in(tmp_path, cuts_jsonl=f"{json.dumps(good)}\n{json.dumps(CUT | change)}\n")
    assert [row.row for row in found.rows] == [1]
    assert [row.row for row in found.rejected] == [2]
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("times", ["nan 1", "0 nan", "1e306 1", "1.5 inf", "-1 1", "1.9 1"])
def test_impossible_times_of_kaldi_are_rejected(times: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("u ola\nv mundo\n", "utf-8")
    (tmp_path / "segments").write_text(f"u a {times}\nv a 0.1 0.9\n", "utf-8")
    found = found_in(tmp_path, wav_scp="a a.wav\n")
    assert [row.id for row in found.rows] == ["v"]
    assert [row.row for row in found.rejected] == [1]


def test_no_command_of_kaldi_is_run(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a ola mundo\n", "utf-8")
    found = found_in(tmp_path, wav_scp=f"a touch {tmp_path}/hacked; cat {tmp_path}/a.wav |\n")
    assert [Path(row.audio).name for row in found.rows] == ["a.wav"]
    assert not (tmp_path / "hacked").exists()


def test_names_that_differ_only_in_case_are_not_confused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a.wav", "A.wav", "b/C.wav", "b/c.wav"):
        write_clip(tmp_path / name, tone(seconds=1.0))
    listing = Listing(tmp_path)
    for name in ("a.wav", "A.wav", "b/C.wav", "b/c.wav"):
        assert listing.find(name) == tmp_path / name
    assert listing.find("a.WAV") is None
    assert listing.find("B/c.wav") is None


def test_links_out_of_the_folder_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_clip(tmp_path / "outside.wav", tone(seconds=1.0))
    os.symlink(tmp_path / "outside.wav", folder / "b.wav")
    os.symlink("/dev/zero", folder / "c.wav")
    os.symlink("d.wav", folder / "d.wav")
    os.mkfifo(folder / "e.wav")
    os.mkfifo(folder / "e.csv")
    names = ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "../outside.wav", str(tmp_path / "outside.wav")]
    write_clip(folder / "a.wav")
    listing = Listing(folder)
    assert [listing.find(name) for name in names] == [folder / "a.wav"] + [None] * 6


def test_speakers_that_are_not_unicode_are_rejected(tmp_path: Path) -> None:
    for letter in "bcd":
        write_clip(tmp_path / f"{letter}.wav", tone(seconds=2.0))
    speakers = ("x", "y", "\ud800", "z")
    rows = [
        {"audio": f"{letter}.wav", "text": f"texto {letter}", "speaker": speaker}
        for letter, speaker in zip("abcd", speakers, strict=True)
    ]
    found = found_in(tmp_path, m_jsonl="".join(json.dumps(row) + "\n" for row in rows))
    assert [row.row for row in found.rejected] == [3]
    division = check_and_divide(found, 30.0)
    assert "".join(manifest_lines(division, tmp_path)).encode()
