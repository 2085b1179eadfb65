"""Align speech of espeak-ng with the trained CTC quick start, and train on the clips; see bench/alignment.py."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from bench.alignment import BenchAligner, Phrase, boundary_errors, clips_by_voice, outcome, record, transcript
from escoita.audio.loading import SAMPLING_RATE
from escoita.cli.main import app
from escoita.inference.model_source import find_model
from escoita.preparation.alignment import cut_clips
from escoita.records.evaluation import EvaluationRecord
from escoita.records.preparation import PreparationRecord
from escoita.run_directory import RunDirectory
from tests.conftest import ROOT


MODEL = str(ROOT / "runs/quickstart-ctc")
pytestmark = pytest.mark.demo


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path) -> Iterator[None]:
    """Use a folder in which the bases of the recipes are found."""
    before = Path.cwd()
    (tmp_path / "quickstart").symlink_to(ROOT / "quickstart")
    os.chdir(tmp_path)
    yield
    os.chdir(before)


def test_boundaries_wrong_sentences_and_speakers() -> None:
    clips = clips_by_voice("test")
    aligner = BenchAligner(find_model(MODEL, language="uz").load(), MODEL)
    texts = sorted({text for own in clips.values() for text, _ in own})
    samples, sentences = record(clips, ["linda", "m8"], 100, 1)
    found = {}
    for case in ("right", "wrong", "other"):
        lines = transcript(sentences, case, texts, 2)
        words, _ = aligner.align(samples, " ".join(line.text for line in lines))
        if case == "right":
            assert float(np.median([*boundary_errors(words, sentences)])) < 0.06
        speakers = [line.speaker for line in lines for _ in line.text.split()]
        found[case] = outcome(cut_clips(words, samples, speakers=speakers), lines, sentences)
    right, wrong, other = found.values()
    # A phrase that a cut divides is compared completely, so some of the edits are those of the measure.
    assert right["right used"] > 0.7 * right["right"] and right["edits"] < 0.05 * right["words"]
    assert right["clips"] >= 4 and not right["mixed"] and not wrong["mixed"]
    assert wrong["wrong"] >= 4 and wrong["wrong used"] <= 0.25 * wrong["wrong"]
    assert wrong["edits"] < 0.05 * wrong["words"]
    assert not other["clips"]


@pytest.mark.parametrize("place", [0, -1])
def test_a_number_at_an_end_is_in_the_clip_with_its_speech(place: int) -> None:
    aligner = BenchAligner(find_model(MODEL, language="uz").load(), MODEL)
    samples, sentences = record(clips_by_voice("test"), ["linda"], 8, 1)
    phrases = [phrase for sentence in sentences for phrase in sentence]
    words = " ".join(phrase.text for phrase in phrases).split()
    words[place] = "12."
    aligned, _ = aligner.align(samples, " ".join(words))
    clip, reason = cut_clips(aligned, samples)[place]
    assert not reason and "12." in clip.text
    assert clip.start < phrases[0].start if place == 0 else clip.end > phrases[-1].end


def run(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def plain(sentences: list[list[Phrase]]) -> str:
    return "\n\n".join(" ".join(phrase.text for phrase in sentence) for sentence in sentences)


def test_three_commands_lead_from_an_audiobook_to_an_evaluated_adapter() -> None:
    clips = clips_by_voice("test")
    for seed, voice in enumerate(("linda", "m6", "m8")):
        samples, sentences = record(clips, [voice], 30, seed)
        Path("audiobook", voice).mkdir(parents=True)
        soundfile.write(Path("audiobook", voice, "chapter.flac"), samples, SAMPLING_RATE)
        Path("audiobook", voice, "chapter.txt").write_text(plain(sentences), "utf-8")
    base = "quickstart/gemma4"
    run("init", "audiobook", "--language", "uz", "--aligner", MODEL, "--base", base, "--speaker-folders")
    run("train", "audiobook.yaml", "--set", "training.max_steps=2")
    run("eval", "--run", "runs/audiobook")
    result = EvaluationRecord.read(RunDirectory(Path("runs/audiobook")).results).corpora[0]
    manifest = [json.loads(line) for line in Path("audiobook.jsonl").read_text("utf-8").splitlines()]
    assert result.n == sum(row["split"] == "test" for row in manifest) > 0
    assert all(2 <= row["duration"] <= 25 and row["score"] > 0.2 for row in manifest)
    aligned = PreparationRecord.read(Path("audiobook.prepare.json")).aligner
    assert aligned is not None and (aligned.recordings, aligned.license) == (3, "apache-2.0")
