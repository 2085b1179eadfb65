import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.inference.alignment import Word
from escoita.inference.outputs import (
    ENDINGS,
    FORMATS,
    WORD_JOINER,
    TranscribedFile,
    as_csv,
    as_eaf,
    as_json,
    as_srt,
    as_textgrid,
    as_txt,
    as_vtt,
    clean,
)
from escoita.inference.subtitles import make_cues
from escoita.records.transcript import Transcript


# Texts that formats must escape, or cannot contain.
NASTY = '<i>a&b</i> "x", --> {\\an8} 1;2 =1+1 \x07 \ud800 \ufffe'


def transcribed(*words: tuple[float, float, str], seconds: float = 10.0, **more: Any) -> TranscribedFile:
    spoken = tuple(Word(*word) for word in words)
    transcript = Transcript(" ".join(word.text for word in spoken), seconds, 0.1)
    return TranscribedFile("../a b/c.ogg", transcript, spoken, tuple(make_cues(spoken, seconds)), "gl", **more)


def special_texts() -> TranscribedFile:
    return transcribed(*((place * 0.5, place * 0.5 + 0.4, word) for place, word in enumerate(NASTY.split(" "))))


TWO = transcribed((0.5, 0.9, "Bos"), (0.9, 1.4, "días."), (3.0, 3.6, "Si."))


def test_text_is_one_line() -> None:
    assert as_txt(TWO) == "Bos días. Si.\n"
    assert as_txt(transcribed()) == ""


def test_srt() -> None:
    assert as_srt(TWO) == ("1\n00:00:00,500 --> 00:00:01,500\nBos días.\n\n2\n00:00:03,000 --> 00:00:03,900\nSi.\n")
    assert as_srt(transcribed()) == ""


def test_vtt() -> None:
    assert as_vtt(TWO) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nBos días.\n\n00:00:03.000 --> 00:00:03.900\nSi.\n"
    )
    assert as_vtt(transcribed()) == "WEBVTT\n"


def test_times_over_an_hour() -> None:
    assert "01:01:01,000 --> 01:01:02,000" in as_srt(transcribed((3661.0, 3662.0, "longo día"), seconds=3700.0))


def test_texts_contain_no_tags_and_times_for_players() -> None:
    srt, vtt = as_srt(special_texts()), as_vtt(special_texts())
    assert srt.count("-->") == vtt.count("-->") == len(special_texts().cues)
    assert not re.search(r"<\w|\{\\", srt) and srt.replace(WORD_JOINER, "").count("<i>") == 1
    assert "&lt;i&gt;a&amp;b&lt;/i&gt;" in vtt and "<" not in vtt
    for text in (srt, vtt):
        text.encode()  # no half of a surrogate pair
        assert "\x07" not in text


def test_json_has_the_shape_of_verbose_json() -> None:
    content = json.loads(as_json(TWO))
    assert list(content) == ["task", "language", "duration", "text", "segments"]
    assert (content["task"], content["language"], content["duration"]) == ("transcribe", "gl", 10.0)
    assert content["text"] == " ".join(segment["text"] for segment in content["segments"]) == "Bos días. Si."
    first = content["segments"][0]
    assert (first["id"], first["start"], first["end"], first["temperature"]) == (0, 0.5, 1.4, 0.0)
    words = json.loads(as_json(transcribed((0.5, 0.9, "Bos"), word_timestamps=True)))["words"]
    assert words == [{"word": "Bos", "start": 0.5, "end": 0.9}]


def test_a_table_is_quoted() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(special_texts()))))
    assert rows[0] == ["start", "end", "text"]
    assert " ".join(text for *_, text in rows[1:]) == clean(NASTY)
    assert [float(start) for start, *_ in rows[1:]] == [cue.words[0].start for cue in special_texts().cues]


def test_xml_is_escaped() -> None:
    root = ElementTree.fromstring(as_eaf(special_texts()).encode())  # noqa: S314  # written here
    values = [value.text or "" for value in root.iterfind("TIER[@TIER_ID='words']//ANNOTATION_VALUE")]
    assert " ".join(values) == clean(NASTY)
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert media is not None
    assert media.attrib == {
        "MEDIA_URL": "../a%20b/c.ogg",
        "RELATIVE_MEDIA_URL": "./../a%20b/c.ogg",
        "MIME_TYPE": "audio/ogg",
    }


def test_praat_files_are_read_by_praatio(tmp_path: Path) -> None:
    textgrid = pytest.importorskip("praatio.textgrid")
    for name, file in (("two", TWO), ("nasty", special_texts()), ("none", transcribed())):
        path = tmp_path / f"{name}.TextGrid"
        path.write_text(as_textgrid(file), "utf-8")
        found = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
        assert found.tierNames == ("phrases", "words") and found.maxTimestamp == 10.0
        words = [entry for entry in found.getTier("words").entries if entry.label]
        assert [entry.label for entry in words] == [clean(word.text) for word in file.words]
        assert [entry.start for entry in words] == pytest.approx([word.start for word in file.words], abs=0.001)
        entries = found.getTier("words").entries
        assert entries[0].start == 0 and entries[-1].end == 10.0
        assert all(one.end == other.start for one, other in zip(entries, entries[1:], strict=False))


def test_elan_files_are_read_by_pympi(tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi.Elan")
    for name, file in (("two", TWO), ("nasty", special_texts()), ("none", transcribed())):
        path = tmp_path / f"{name}.eaf"
        path.write_text(as_eaf(file), "utf-8")
        found = elan.Eaf(str(path))
        assert list(found.get_tier_names()) == ["phrases", "words"]
        words = [(start, end, text) for start, end, text in sorted(found.get_annotation_data_for_tier("words"))]
        assert words == [(round(word.start * 1000), round(word.end * 1000), clean(word.text)) for word in file.words]


@given(
    texts=st.lists(st.text(min_size=1).filter(lambda text: text.split() == [text]), max_size=8),
    step=st.sampled_from([1e-5, 0.0004, 0.3]),
)
def test_every_format_accepts_every_text(texts: list[str], step: float) -> None:
    file = transcribed(*((place * step, (place + 1) * step, text) for place, text in enumerate(texts)))
    for name, written in FORMATS.items():
        text = written(file)
        text.encode()
        assert name in ENDINGS
    root = ElementTree.fromstring(as_eaf(file).encode())  # noqa: S314  # written here
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root.iterfind(".//TIME_SLOT")}
    for tier in root.iterfind("TIER"):
        times = [
            slots[each.get(f"TIME_SLOT_REF{side}")]
            for each in tier.iterfind(".//ALIGNABLE_ANNOTATION")
            for side in (1, 2)
        ]
        assert times == sorted(times) and all(times[i] < times[i + 1] for i in range(0, len(times), 2))
    # Only blank lines separate cues.
    blocks = [block for block in as_vtt(file).split("\n\n")[1:] if block]
    assert len(blocks) == len(file.cues) and all("-->" in block.split("\n")[0] for block in blocks)


@pytest.mark.parametrize("text", ["=1+1", "@SUM(1)", "+34", "-2", "＝1", "－2"])
def test_a_spreadsheet_computes_no_text(text: str) -> None:
    (_, row) = csv.reader(io.StringIO(as_csv(transcribed((0, 1, text)))))
    assert row[2] == f"\u2060{text}"
