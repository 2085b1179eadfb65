"""Run `escoita prepare` on annotated recordings, and continue with `escoita init`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from escoita.audio.loading import SAMPLING_RATE
from escoita.cli.init import ExistingFileError
from escoita.cli.main import app
from escoita.data.annotations.rules import EMPTY, ONLY_NOTES, OVERLAP, UNINTELLIGIBLE
from escoita.data.clips import check_clips
from escoita.data.inspection import LeftOutError
from escoita.data.readers import read_corpus
from escoita.errors import CorpusError
from escoita.inference.aligner import Aligner
from escoita.preparation.long_recordings import NothingAlignedError
from escoita.recipe.schema import Corpus, load_recipe
from escoita.records.preparation import PreparationRecord
from tests.conftest import ROOT
from tests.data.inspection.layouts import write_layout
from tests.models.samples import write_ctc
from tests.preparation.test_alignment import KnownAligner, letters
from tests.samples import melody, write_clip


CUES = [
    (0, 1, "bo día"),
    (1, 2, "[riso]"),
    (2, 3, "ola [riso] que tal"),
    (3, 5, "un"),
    (4, 6, "dous"),
    (6, 7, "xxx"),
    (7, 8, "..."),
]


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield
    os.chdir(before)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def subtitles(folder: Path) -> Path:
    folder.mkdir()
    (folder / "talk.wav").touch()
    lines = [f"{index}\n00:00:0{cue[0]},000 --> 00:00:0{cue[1]},000\n{cue[2]}\n" for index, cue in enumerate(CUES, 1)]
    (folder / "talk.srt").write_text("\n".join(lines), "utf-8")
    return folder


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def test_segments_become_rows_by_counted_rules(tmp_path: Path) -> None:
    subtitles(tmp_path / "recordings")
    run("prepare", "recordings", "--language", "gl")
    assert [(row["text"], row["offset"], row["duration"]) for row in rows("recordings-rows.jsonl")] == [
        ("bo día", 0, 1),
        ("ola que tal", 2, 1),
    ]
    record = PreparationRecord.read(Path("recordings-rows.prepare.json"))
    assert record.left_out == {OVERLAP: 2, ONLY_NOTES: 1, UNINTELLIGIBLE: 1, EMPTY: 1}
    assert (record.rows, record.without_notes, record.audio_seconds, record.overlap) == (2, 1, 2.0, "drop")


def test_rules_can_be_chosen(tmp_path: Path) -> None:
    subtitles(tmp_path / "recordings")
    run("prepare", "recordings", "--language", "gl", "--overlap", "keep", "--notes", "keep", "--out", "all.jsonl")
    assert [row["text"] for row in rows("all.jsonl")] == [cue[2] for cue in CUES if cue[2] != "..."]
    assert PreparationRecord.read(Path("all.prepare.json")).left_out == {EMPTY: 1}


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    subtitles(tmp_path / "recordings")
    Path("recordings-rows.prepare.json").write_text("mine")
    with pytest.raises(ExistingFileError) as caught:
        run("prepare", "recordings", "--language", "gl")
    assert caught.value.path == Path("recordings-rows.prepare.json")
    run("prepare", "recordings", "--language", "gl", "--force")


def test_if_no_segment_remains_the_counts_are_named(tmp_path: Path) -> None:
    folder = subtitles(tmp_path / "recordings")
    (folder / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\n[riso]\n")
    with pytest.raises(LeftOutError) as caught:
        run("prepare", "recordings", "--language", "gl")
    assert ONLY_NOTES in caught.value.counts


def test_layouts_with_splits_are_refused(tmp_path: Path) -> None:
    write_layout("Common Voice", tmp_path / "recordings")
    with pytest.raises(CorpusError):
        run("prepare", "recordings", "--language", "gl")


def test_the_rows_of_an_elan_corpus_can_be_trained(tmp_path: Path) -> None:
    write_layout("ELAN", tmp_path / "recordings")
    run("prepare", "recordings", "--language", "uz")
    found = rows("recordings-rows.jsonl")
    assert len({row["speaker"] for row in found}) == 3
    base = str(ROOT / "quickstart/gemma4")
    run("init", "recordings-rows.jsonl", "--language", "uz", "--name", "talks", "--base", base)
    recipe = load_recipe("talks.yaml")
    assert recipe.corpora.split_by == "speaker"
    assert sum(len(rows(each.path)) for each in recipe.corpora.train) == len(found)


def known_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: int) -> tuple[str, str, np.ndarray]:
    """Return a model that recognizes a recording, its transcript, and the recording: a second for each word."""
    model, text = write_ctc(tmp_path / "ctc"), letters(words, 1)
    monkeypatch.setattr(Aligner, "log_probabilities", KnownAligner.log_probabilities)
    monkeypatch.setattr(Aligner, "spoken", text, raising=False)
    loud = np.arange(words * SAMPLING_RATE) % SAMPLING_RATE < 0.8 * SAMPLING_RATE
    return model, text, melody(float(words)) * loud


def test_long_recordings_are_aligned_with_their_text_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, text, samples = known_recording(tmp_path, monkeypatch, 240)
    (tmp_path / "ctc/README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    (tmp_path / "book").mkdir()
    write_clip(tmp_path / "book/chapter.wav", samples)
    (tmp_path / "book/chapter.txt").write_text(text)
    write_clip(tmp_path / "book/short.wav", melody(1.0))
    (tmp_path / "book/short.txt").write_text("abc")
    run("prepare", "book", "--language", "uz")
    assert [row["text"] for row in rows("book-rows.jsonl")] == [text, "abc"]
    run("prepare", "book", "--language", "uz", "--force", "--aligner", model)
    clips = [row for row in rows("book-rows.jsonl") if "score" in row]
    assert " ".join(row["text"] for row in clips) == text and len(clips) >= 10
    assert all(2 <= row["duration"] <= 25 and row["score"] > 0.9 for row in clips)
    record = PreparationRecord.read(Path("book-rows.prepare.json"))
    assert record.aligner is not None and record.rows == len(clips) + 1
    assert (record.aligner.license, record.aligner.recordings, record.aligner.clips) == ("cc-by-nc-4.0", 1, len(clips))
    assert not record.aligner.romanized
    read, rejected = read_corpus(Corpus(name="book", path="book-rows.jsonl"), "uz")
    assert len(read) == record.rows and not rejected
    assert not check_clips(read, 30.0)[1]

    base = str(ROOT / "quickstart/gemma4")
    run("init", "book", "--language", "uz", "--name", "novel", "--base", base, "--aligner", model)
    recipe = load_recipe("novel.yaml")
    assert recipe.corpora.split_by == "clip" and len(rows("novel.jsonl")) == record.rows
    known = {row["text"]: row.get("score") for row in rows("book-rows.jsonl")}
    assert {row["text"]: row.get("score") for row in rows("novel.jsonl")} == known
    aligned = PreparationRecord.read(Path("novel.prepare.json")).aligner
    assert aligned is not None and aligned.license == "cc-by-nc-4.0"
    run("init", "book-rows.jsonl", "--language", "uz", "--name", "again", "--base", base)
    assert len(rows("again.jsonl")) == record.rows
    with pytest.raises(ExistingFileError):
        run("init", "book-rows.jsonl", "--language", "uz", "--name", "novel", "--base", base)
    run("init", "book-rows.jsonl", "--language", "uz", "--name", "novel", "--base", base, "--force")
    assert not Path("novel.prepare.json").exists()


def test_the_record_of_init_is_that_of_the_rows_that_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, text, samples = known_recording(tmp_path, monkeypatch, 60)
    (tmp_path / "book").mkdir()
    write_clip(tmp_path / "book/chapter.wav", samples)
    (tmp_path / "book/chapter.txt").write_text(text)
    (tmp_path / "book/damaged.wav").write_bytes(b"RIFF")
    (tmp_path / "book/damaged.txt").write_text("abc")
    run("init", "book", "--language", "uz", "--base", str(ROOT / "quickstart/gemma4"), "--aligner", model)
    record = PreparationRecord.read(Path("book.prepare.json"))
    found = rows("book.jsonl")
    assert record.rows == len(found) and sum(record.rejected.values()) == 1
    assert record.audio_seconds == pytest.approx(sum(row["duration"] for row in found), abs=0.01)


def test_a_dialogue_and_recordings_of_one_name_keep_their_speakers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, text, samples = known_recording(tmp_path, monkeypatch, 60)
    turns = [" ".join(text.split()[place : place + 10]) for place in range(0, 60, 10)]
    transcripts = {
        "Ana": text,
        "Brais": text,
        "talk": "".join(f"{'Xan' if place % 2 else 'Uxía'}: {turn}\r\n" for place, turn in enumerate(turns)),
    }
    for folder, content in transcripts.items():
        (tmp_path / "books" / folder).mkdir(parents=True)
        write_clip(tmp_path / "books" / folder / "one.wav", samples)
        (tmp_path / "books" / folder / "one.txt").write_text(content, "utf-16")
    run("prepare", "books", "--language", "gl", "--aligner", model, "--speaker-folders")
    found = rows("books-rows.jsonl")
    assert all(row["score"] > 0.9 for row in found) and len({row["id"] for row in found}) == len(found)
    for speaker, part in (
        ("Ana", text),
        ("Brais", text),
        ("Uxía", " ".join(turns[::2])),
        ("Xan", " ".join(turns[1::2])),
    ):
        assert " ".join(row["text"] for row in found if row["speaker"] == speaker) == part


@pytest.mark.parametrize("command", ["init", "prepare"])
def test_without_an_aligner_the_option_for_dialogues_is_named(command: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / "talks" / folder).mkdir(parents=True)
        for index in range(4):
            write_clip(tmp_path / f"talks/{folder}/{index}.wav", melody(1.0 + 0.1 * index))
            lines = [f"Ana: {folder} a{index}", f"Brais: {folder} b{index}", "Ana: c", "Brais: d"]
            (tmp_path / f"talks/{folder}/{index}.txt").write_text("\n".join(lines))
    base = ("--base", str(ROOT / "quickstart/gemma4")) if command == "init" else ()
    output = run(command, "talks", "--language", "gl", *base)
    assert "Ana, Brais" in output and "--aligner" in output and "--speaker-folders" not in output


def test_another_transcript_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_ctc(tmp_path / "ctc")
    monkeypatch.setattr(Aligner, "log_probabilities", KnownAligner.log_probabilities)
    monkeypatch.setattr(Aligner, "spoken", letters(60, 1), raising=False)
    (tmp_path / "book").mkdir()
    write_clip(tmp_path / "book/one.wav", melody(60.0))
    (tmp_path / "book/one.txt").write_text(letters(60, 2))
    for arguments in (("prepare", "book"), ("init", "book", "--base", str(ROOT / "quickstart/gemma4"))):
        with pytest.raises(NothingAlignedError) as caught:
            run(*arguments, "--language", "uz", "--aligner", model)
        assert str(caught.value.path).endswith("one.txt")
    assert not list(tmp_path.glob("*.json*")) and not list(tmp_path.glob("*.yaml"))


def test_an_empty_transcript_is_named(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    write_clip(tmp_path / "book/one.wav", melody(1.0))
    (tmp_path / "book/one.txt").touch()
    with pytest.raises(CorpusError) as caught:
        run("prepare", "book", "--language", "gl")
    assert "one.txt:1" in caught.value.problem
