"""Test `escoita transcribe` with the adapter of a short run, in this process."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from escoita.audio.loading import read_audio
from escoita.audio.speech_detection import speech_detector
from escoita.cli.main import app
from escoita.cli.transcribe import FORMAT_NAMES
from escoita.inference.outputs import FORMATS
from escoita.inference.transcriber import Transcriber
from escoita.records.transcript import DETECTORS
from tests.conftest import CORPUS, write_manifest
from tests.samples import melody, write_clip


def transcribe(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["transcribe", *map(str, arguments)])


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Return a folder with two recordings in subfolders, and one that is broken."""
    for place, name in enumerate(("0.ogg", "a/1.ogg")):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CORPUS / f"test/000{place}.ogg", tmp_path / "clips" / name)
    return tmp_path / "clips"


def outputs(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()
    }


def test_formats_are_those_of_the_writers() -> None:
    assert list(FORMAT_NAMES) == list(FORMATS)


def test_every_format_is_written_with_the_text_of_the_transcriber(
    quickstart_run: Path, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = transcribe(clips, "--model", quickstart_run, "--output_dir", out, "--output-format", "all")
    assert done.exit_code == 0, done.output
    found = outputs(out)
    endings = ["txt", "srt", "vtt", "json", "TextGrid", "eaf", "csv"]
    assert set(found) == {f"{stem}.{ending}" for stem in ("0", "a/1") for ending in endings}
    transcriber = Transcriber.load("quickstart/gemma4", str(quickstart_run / "adapter"))
    for stem in ("0", "a/1"):
        text = transcriber.transcribe_file(clips / f"{stem}.ogg").text
        content = json.loads(found[f"{stem}.json"])
        assert found[f"{stem}.txt"].strip() == content["text"] == text and content["language"] == "uz"


def test_the_text_of_one_recording_is_printed(quickstart_run: Path, clips: Path, tmp_path: Path) -> None:
    done = transcribe(clips / "0.ogg", "-m", quickstart_run / "adapter", "-o", tmp_path / "out")
    assert done.exit_code == 0 and done.stdout == (tmp_path / "out/0.txt").read_text("utf-8")


def test_the_speech_detector_of_a_long_recording_is_named(quickstart_run: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    samples = np.concatenate([read_audio(clips / "0.ogg"), np.zeros(32_000), melody(0.8)])
    for path in (write_clip(tmp_path / "long.wav", samples), clips / "0.ogg"):
        done = transcribe(path, "-m", quickstart_run, "-o", out, "-f", "json", "--chunk-size", 2)
        content = json.loads((out / f"{path.stem}.json").read_text("utf-8"))
        named = content.get("speech_detector")
        assert named == (speech_detector() if path.stem == "long" else None)
        # The terminal may wrap the line.
        assert ("".join(DETECTORS[speech_detector()].split()) in "".join(done.stderr.split())) == (named is not None)


def test_outputs_that_exist_are_kept_unless_they_are_overwritten(
    quickstart_run: Path, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = (clips, "--model", quickstart_run, "--output-dir", out, "--output-format", "txt,csv")
    (out / "a").mkdir(parents=True)
    (out / "a/1.txt").write_text("mine\n")
    assert transcribe(*asked).exit_code == 0
    found = outputs(out)
    assert set(found) == {"0.txt", "0.csv", "a/1.txt", "a/1.csv"} and found["a/1.txt"] == "mine\n"
    times = {name: (out / name).stat().st_mtime_ns for name in found}
    assert transcribe(*asked).exit_code == 0
    assert {name: (out / name).stat().st_mtime_ns for name in found} == times
    assert transcribe(*asked, "--overwrite").exit_code == 0
    assert outputs(out)["a/1.txt"] != "mine\n"


def test_broken_recordings_are_reported_and_the_others_transcribed(
    quickstart_run: Path, clips: Path, tmp_path: Path
) -> None:
    (clips / "empty.wav").write_bytes(b"")
    done = transcribe(clips, tmp_path / "none.wav", "--model", quickstart_run, "--output-dir", tmp_path / "out")
    assert done.exit_code == 1
    assert set(outputs(tmp_path / "out")) == {"0.txt", "a/1.txt"}


def test_an_adapter_that_escoita_did_not_train_needs_prompt_and_language(
    quickstart_run: Path, clips: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(quickstart_run / "adapter", adapter)
    record = json.loads((adapter / "escoita.json").read_text("utf-8"))
    (adapter / "escoita.json").unlink()
    asked = (clips / "0.ogg", "--model", adapter, "--output-dir", tmp_path / "out")
    assert transcribe(*asked).exit_code == 1 and not (tmp_path / "out").exists()
    stored = ("--language", "uz", "--prompt", record["prompt"]["user"], "--system", record["prompt"]["system"])
    assert transcribe(*asked, *stored).exit_code == 0
    expected = Transcriber.load("quickstart/gemma4", str(quickstart_run / "adapter"))
    assert outputs(tmp_path / "out")["0.txt"].strip() == expected.transcribe_file(clips / "0.ogg").text


@pytest.mark.slow
def test_such_an_adapter_can_be_evaluated(quickstart_run: Path, tmp_path: Path) -> None:
    adapter, corpus = tmp_path / "adapter", write_manifest(tmp_path / "test.jsonl", "test", 2)
    shutil.copytree(quickstart_run / "adapter", adapter)
    (adapter / "escoita.json").unlink()
    asked = ["eval", "--base", "quickstart/gemma4", "--adapter", str(adapter), "--corpus", str(corpus)]
    asked += ["--out", str(tmp_path / "eval")]
    assert CliRunner().invoke(app, asked).exit_code == 1
    done = CliRunner().invoke(app, [*asked, "--language", "uz", "--prompt", "Please transcribe this audio."])
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "eval/results.json").read_text("utf-8"))
    assert [corpus["n"] for corpus in results["corpora"]] == [2]


@pytest.mark.parametrize(
    "option, value",
    [("--output-format", "docx"), ("--output-format", ""), ("--device", "tpu"), ("--max-line-width", "3")],
)
def test_wrong_options_are_refused_before_a_model_is_loaded(clips: Path, option: str, value: str) -> None:
    assert transcribe(clips, "--model", "nowhere", option, value).exit_code == 2


def test_nothing_is_done_if_two_recordings_have_the_same_outputs(clips: Path, tmp_path: Path) -> None:
    shutil.copy(clips / "0.ogg", clips / "a/0.wav")
    done = transcribe(clips / "0.ogg", clips / "a/0.wav", "--model", "nowhere", "--output-dir", tmp_path / "out")
    assert done.exit_code == 1 and not (tmp_path / "out").exists()
