"""Test the evaluation of base, adapter and baselines on test clips."""

import inspect
import json
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file

from escoita.audio.loading import read_audio
from escoita.cli.evaluation import evaluate as evaluate_command
from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.evaluate import evaluate, evaluate_manifests, evaluate_run
from escoita.evaluation.predictions import predictions_path, read_predictions
from escoita.evaluation.request import SystemSpec
from escoita.hub.files import adapter_record
from escoita.inference.transcriber import Transcriber
from escoita.recipe.schema import Corpus, Evaluation
from escoita.records.evaluation import EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.conftest import CORPUS, ROOT, write_manifest
from tests.models.samples import write_ctc, write_whisper


BASE = "./quickstart/gemma4"
NAME = "escoita-quickstart-uz"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def transcriber(quickstart_run: Path) -> Transcriber:
    return Transcriber.load(BASE, str(RunDirectory(quickstart_run).adapter), batch_seconds=5)


def predictions(path: Path) -> pa.Table:
    """Return the predictions without the columns that depend on speed."""
    table, _ = read_predictions(path)
    return table.drop_columns(["compute_seconds"]).replace_schema_metadata()


def test_results_are_made_from_the_predictions_alone(quickstart_run: Path) -> None:
    run = RunDirectory(quickstart_run)
    record = EvaluationRecord.read(run.results)
    assert score(run.eval, record.normalizer, record.resamples) == record
    assert [(system.name, system.base, system.adapter) for system in record.systems] == [
        ("adapter", BASE, "adapter"),
        ("base", BASE, None),
    ]
    assert record.main_system.device == "cpu" and record.main_system.dtype == "float32"
    assert record.main_system.peak_memory_bytes > 1e8 and record.main_system.processes == 1
    (result,) = record.corpora
    assert (result.name, result.language, result.n, result.rejected) == (NAME, "uz", 8, 0)
    rates = result.main_system.raw
    assert rates.wer_ci95[0] <= rates.wer <= rates.wer_ci95[1]
    assert rates.substitutions + rates.deletions + rates.insertions == round(rates.wer * rates.reference_words)
    assert result.main_system.rtfx > 0 and result.main_system.tokens_per_second > 0
    assert {probe.system for probe in record.probes} == {"adapter", "base"} and record.probes[0].n >= 10
    assert record.pooled.main_system.raw == rates


def results(folder: Path) -> dict[str, Any]:
    """Return `results.json` without the fields that depend on time and machine."""

    def reproducible(value: Any) -> Any:
        if isinstance(value, dict):
            excluded = ("rtfx", "tokens_per_second", "peak_memory_bytes")
            return {key: reproducible(each) for key, each in value.items() if key not in excluded}
        return [reproducible(each) for each in value] if isinstance(value, list) else value

    found: dict[str, Any] = reproducible(json.loads((folder / "results.json").read_text("utf-8")))
    return found


def test_the_script_and_the_command_have_the_same_options() -> None:
    script = runpy.run_path(str(ROOT / "eval/run.py"))["main"]
    assert inspect.signature(script).parameters == inspect.signature(evaluate_command).parameters


@pytest.mark.slow
def test_the_script_and_the_function_have_the_same_results(
    quickstart_run: Path, tmp_path: Path, command: Command
) -> None:
    run = RunDirectory(shutil.copytree(quickstart_run, tmp_path / "run"))
    shutil.rmtree(run.eval)
    done = command("eval/run.py", "--run", str(run.path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"Results: {run.results}\nReport:  {run.eval / 'report.html'}\n")
    assert "escoita-quickstart-uz" in done.stdout
    assert results(run.eval) == results(RunDirectory(quickstart_run).eval)
    assert [path.name for path in run.eval.rglob(".*")] == [".lock"]


@pytest.mark.slow
def test_the_script_and_the_command_have_the_same_results(tmp_path: Path, command: Command) -> None:
    manifest, whisper = write_manifest(tmp_path / "mine.jsonl", "test", 4), write_whisper(tmp_path / "tiny-whisper")
    printed = []
    for name, program in (("script", ["eval/run.py"]), ("command", ["-m", "escoita", "eval"])):
        arguments = ["--base", whisper, "--corpus", str(manifest), "--language", "uz", "--out", str(tmp_path / name)]
        done = command(*program, *arguments)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.replace(str(tmp_path / name), ""))
        part = command(*program, *arguments, "--shard", "1/2")
        assert part.stdout == f"{tmp_path / name / 'shards/1-of-2'}\n", part.stderr
        refused = command(*program, *arguments, "--shard", "1/2", "--merge")
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert printed[0] == printed[1] and results(tmp_path / "script") == results(tmp_path / "command")


def test_no_unfinished_files_remain(quickstart_run: Path) -> None:
    evaluated = RunDirectory(quickstart_run).eval
    assert [path.name for path in evaluated.rglob(".*")] == [".lock"]  # the lock was released
    assert (evaluated / "report.html").is_file()


def test_batches_have_the_transcripts_of_single_clips(quickstart_run: Path, transcriber: Transcriber) -> None:
    clips = [read_audio(CORPUS / f"test/{index:04d}.ogg") for index in range(8)]
    single = [transcriber.transcribe([clip])[0].text for clip in clips]
    assert [transcript.text for transcript in transcriber.transcribe(clips)] == single
    assert predictions(predictions_path(RunDirectory(quickstart_run).eval, NAME, "adapter"))[
        "hypothesis"
    ].to_pylist() == (single)
    assert len(set(single)) > 1  # the transcripts depend on the clip


@pytest.mark.slow
def test_any_adapter_on_any_manifest(quickstart_run: Path, tmp_path: Path, command: Command) -> None:
    manifest = write_manifest(tmp_path / "mine.jsonl", "test", 4, gone={"audio_filepath": "gone.ogg", "text": "bir"})
    adapter = str(RunDirectory(quickstart_run).adapter)
    arguments = ["--base", BASE, "--adapter", adapter, "--corpus", str(manifest), "--out", str(tmp_path / "out")]
    done = command("eval/run.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "adapter is" in done.stdout and f"Report:  {tmp_path / 'out/report.html'}\n" in done.stdout
    assert f"Not used: {manifest}:5: {tmp_path / 'gone.ogg'}: no such file" in done.stderr
    result = EvaluationRecord.read(tmp_path / "out/results.json").pooled
    assert (result.n, result.rejected) == (4, 1)
    for wrong in (["--base", BASE], [*arguments, "--against", "run"], [*arguments, "--out", str(manifest)]):
        refused = command("eval/run.py", *wrong)
        assert refused.returncode == 2 and "Traceback" not in refused.stderr


def evaluate_adapter(adapter: str, manifest: str, out: str) -> None:
    candidate = SystemSpec("adapter", BASE, adapter_record(adapter), adapter=adapter, adapter_name="adapter")
    settings = Evaluation(batch_seconds=4, probes=False, resamples=50)
    evaluate([candidate], [Corpus(name="mine", path=manifest)], Path(out), settings)


@pytest.mark.slow
def test_a_killed_evaluation_resumes_from_its_journal(quickstart_run: Path, tmp_path: Path) -> None:
    manifest = str(write_manifest(tmp_path / "mine.jsonl", "test", 60))
    adapter = str(RunDirectory(quickstart_run).adapter)
    journal = tmp_path / "killed/mine/.unfinished-adapter/0.jsonl"
    called = (adapter, manifest, str(tmp_path / "killed"))
    script = f"from tests.integration.test_evaluation import evaluate_adapter; evaluate_adapter{called!r}"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    while process.poll() is None and not (journal.is_file() and journal.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9 and not (tmp_path / "killed/mine/predictions.parquet").exists()
    known = [json.loads(line) for line in journal.read_text("utf-8").split("\n")[1:-1]]

    for out in ("whole", "killed"):
        evaluate_adapter(adapter, manifest, str(tmp_path / out))
    whole, resumed = (tmp_path / out / "mine/predictions.parquet" for out in ("whole", "killed"))
    assert predictions(resumed).equals(predictions(whole)) and predictions(whole).num_rows == 60
    # Clips of the journal were not transcribed again, which would have taken another time.
    before = {clip["compute_seconds"] for batch in known for clip in batch["heard"]}
    assert 0 < len(before) < 60
    assert before <= set(read_predictions(resumed)[0]["compute_seconds"].to_pylist())


@pytest.mark.slow
def test_two_processes_have_the_predictions_of_one(quickstart_run: Path, tmp_path: Path, command: Command) -> None:
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(quickstart_run, run.path)
    shutil.rmtree(run.eval)
    evaluate_run(run.path, ["eval.batch_seconds=4"])
    before = {name: predictions(predictions_path(run.eval, NAME, name)) for name in ("adapter", "base")}
    rates = EvaluationRecord.read(run.results).pooled.main_system.raw
    shutil.rmtree(run.eval)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--", "eval/run.py"]
    together = command(*launch, "--run", str(run.path), "--set", "eval.batch_seconds=4", OMP_NUM_THREADS="1")
    assert together.returncode == 0, together.stderr
    assert {name: predictions(predictions_path(run.eval, NAME, name)) for name in before} == before
    record = EvaluationRecord.read(run.results)
    assert record.pooled.main_system.raw == rates and record.main_system.processes == 2


@pytest.mark.slow
def test_baselines_and_an_earlier_run_are_compared(quickstart_run: Path, tmp_path: Path, command: Command) -> None:
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(quickstart_run, run.path)
    whisper, ctc = write_whisper(tmp_path / "tiny-whisper"), write_ctc(tmp_path / "tiny-ctc")
    done = command(
        *["eval/run.py", "--run", str(run.path), "--baseline", whisper, "--baseline", ctc],
        *["--against", str(quickstart_run), "--set", "eval.probes=false"],
    )
    assert done.returncode == 0, done.stderr
    record = EvaluationRecord.read(run.results)
    assert [system.name for system in record.systems] == ["adapter", "base", "earlier", "tiny-ctc", "tiny-whisper"]
    assert all(len(system.base_sha256) == 64 for system in record.systems)
    (result,) = record.corpora
    same = result.against("earlier")
    assert same is not None and (same.wer, same.p_value, same.verdict) == (0.0, 1.0, "no measurable difference")
    assert not any(str(tmp_path) in system.base for system in record.systems)
    assert (run.eval / NAME / "predictions-tiny-whisper.parquet").is_file()

    # Predictions that are not requested any more are removed, and only files of this run are written.
    run.data.unlink()
    other_run = RunDirectory(quickstart_run).data.stat().st_mtime_ns
    evaluate_run(run.path, ["eval.base=false", "eval.max_new_tokens=5"])
    assert run.data.is_file() and RunDirectory(quickstart_run).data.stat().st_mtime_ns == other_run
    assert EvaluationRecord.read(run.results).main_system.max_new_tokens == 5
    assert sorted(path.name for path in (run.eval / NAME).glob("*.parquet")) == ["predictions.parquet"]


def test_a_baseline_alone(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "mine.jsonl", "test", 4)
    whisper = write_whisper(tmp_path / "tiny-whisper")
    record = evaluate_manifests(whisper, None, [manifest], tmp_path / "out", language="uz")
    assert [system.name for system in record.systems] == ["base"] and record.pooled.n == 4
    assert record.main_system.adapter is None and record.main_system.base == "tiny-whisper"


def test_an_adapter_with_unexpected_weights_is_refused(quickstart_run: Path, tmp_path: Path) -> None:
    """PEFT only warns, and the base would transcribe without the adapter."""
    adapter = tmp_path / "adapter"
    shutil.copytree(RunDirectory(quickstart_run).adapter, adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    renamed = {key.replace("audio_tower", "audio_model"): value for key, value in weights.items()}
    save_file(renamed, adapter / "adapter_model.safetensors")
    with pytest.raises(EscoitaError) as error:
        Transcriber.load(BASE, str(adapter))
    assert str(adapter) in str(error.value)


def test_missing_adapters_and_bases_are_refused(quickstart_run: Path, tmp_path: Path) -> None:
    adapter = RunDirectory(quickstart_run).adapter
    with pytest.raises(EscoitaError) as error:
        evaluate_manifests(BASE, str(adapter.parent), [CORPUS / "test.jsonl"], tmp_path)
    assert "escoita.json" in str(error.value)
    with pytest.raises(EscoitaError) as error:
        evaluate_manifests("./nowhere", str(adapter), [CORPUS / "test.jsonl"], tmp_path)
    assert "nowhere" in str(error.value)


def test_one_file(transcriber: Transcriber) -> None:
    found = transcriber.transcribe_file(CORPUS / "test/0001.ogg")
    assert found.text and found.audio_seconds == pytest.approx(0.765, abs=0.01) and found.compute_seconds > 0


def test_a_recording_longer_than_the_limit_of_the_model(transcriber: Transcriber, tmp_path: Path) -> None:
    """The transcript of a recording longer than 30 s is that of its segments."""
    import numpy as np
    import soundfile

    pause = np.zeros(8_000, np.float32)
    clips = [read_audio(CORPUS / f"test/{index:04d}.ogg") for index in range(30)]
    soundfile.write(tmp_path / "long.wav", np.concatenate([part for clip in clips for part in (clip, pause)]), 16_000)
    found = transcriber.transcribe_file(tmp_path / "long.wav")
    assert found.audio_seconds > 30 and len(found.segments) >= 2
    assert all(segment.end - segment.start <= 30 for segment in found.segments)
    assert found.text == " ".join(segment.text for segment in found.segments)
