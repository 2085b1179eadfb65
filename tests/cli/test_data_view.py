import io
import re
from typing import Literal

import pytest
from rich.console import Console

from escoita.cli.data_view import print_data
from escoita.data.contamination import find_duplicates, find_leaks
from escoita.data.report import describe, duration_edges
from escoita.data.rows import Rejected
from escoita.data.statistics import Measured
from escoita.records.data import DataRecord, Missing
from tests.data.measures import clip, measured


KNOWN = bytes(range(64))
NAME = "a-corpus-with-a-name-of-thirty"


def record_of(*parts: Measured, missing: list[Missing] | None = None) -> DataRecord:
    edges = duration_edges([part.seconds for part in parts])
    rejected = [Rejected("/srv/m.jsonl", 7, "a.wav", "no such file")]
    train = [part for part in parts if part.split == "train"]
    return DataRecord(
        name="small",
        max_audio_seconds=30.0,
        normalizer="basic",
        duration_edges=edges,
        corpora=[describe(part, rejected, edges, "basic", 30.0) for part in parts],
        missing=missing or [],
        duplicates=[each for part in parts for each in find_duplicates([part])],
        leaks=[leak for part in parts if train and part.split != "train" for leak in find_leaks(part, train)],
    )


def printed(record: DataRecord, terminal: bool = False) -> str:
    text = io.StringIO()
    colours: Literal["standard"] | None = "standard" if terminal else None
    print_data(record, Console(file=text, width=80, force_terminal=terminal, color_system=colours))
    return text.getvalue()


@pytest.fixture
def record() -> DataRecord:
    words = "O'zbekiston Respublikasi toʻgʻrisida uzun bir gap aytildi va yozib olindi " * 3
    clips = [clip(f"{words}{number}", 12.0 + number, KNOWN, speaker="f1") for number in range(12)]
    train = measured(*clips, corpus=NAME)
    odd = "[red]чироқни[/red] \x1b[2J ёқ\u202e"
    test = measured(clip(f"{words}0", 40, KNOWN, speaker="f1"), clip(odd, 3.0), corpus=NAME, split="test")
    return record_of(train, measured("bir", corpus=NAME, split="validation"), test)


@pytest.mark.parametrize("terminal", [False, True])
def test_the_output_fits_80_columns(record: DataRecord, terminal: bool) -> None:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed(record, terminal)).splitlines()
    assert max(map(len, lines)) <= 80
    # The table of corpora folds a long name, but no number.
    assert any(re.search(r"validation\s+1\s+0\.0 min\s+1\.0 s\s+3\.0\s+unknown\s+1", line) for line in lines)


def test_outside_of_a_terminal_the_output_is_plain_text(record: DataRecord) -> None:
    text = printed(record)
    assert "\x1b" not in text and not re.search("[─│━┃]", text)
    assert "\x1b" in printed(record, terminal=True)


def test_text_of_a_corpus_is_escaped(record: DataRecord) -> None:
    assert "[red]чироқни[/red] <U+001B>[2J ёқ<U+202E>" in printed(record)
    assert "\x1b[2J" not in printed(record, terminal=True)


def test_all_findings_are_printed(record: DataRecord) -> None:
    text = " ".join(printed(record).split())
    for expected in (
        f"{NAME}, test, compared with train by transcript: 1 clip (50.0 %); 1 transcript 0, like train 0: O'zbekiston",
        "by speaker: 1 clip (50.0 %); 1 speaker; 1 could be compared 0, like train 0: O'zbekiston",
        "by audio: 1 clip (50.0 %); 1 recording 0, like train 0: O'zbekiston",
        f"{NAME}, validation, compared with train by transcript: none by speaker: ",
        "train: 11 clips (91.7 %) with the recording of an earlier clip; 1 recording 1, like 0: O'zbekiston",
        "1 clip (50.0 %): longer than the 30 s",
        "0: 40.0 s: O'zbekiston",
        f"{NAME}, test: 1 of 3: no such file m.jsonl:7: a.wav: no such file",
        "words split in 12 clips (100.0 %) O'zbekiston Respublikasi toʻgʻrisida … → o zbekiston respublikasi …",
        "' U+0027 apostrophe",
        "not in train",
    ):
        assert expected in text, expected


def test_a_clean_corpus_and_a_missing_one() -> None:
    clean = record_of(measured("bir", split="test"), missing=[Missing(split="train", name="far")])
    text = printed(
        clean.model_copy(update={"corpora": [data.model_copy(update={"reasons": []}) for data in clean.corpora]})
    )
    for section in ("Unusable rows", "Duplicates in a split"):
        assert f"{section}\n  none\n" in text
    assert re.search(r"far\s+train\s", text) and "far (train)" in text


def test_an_empty_record() -> None:
    assert "Corpora" in printed(record_of(missing=[Missing(split="test", name="far")]))
