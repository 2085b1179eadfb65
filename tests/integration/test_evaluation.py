"""Base and adapter on test clips, through the same Transcriber as everything else."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file, save_file

from escoita.audio import read_audio
from escoita.errors import AudioError, EscoitaError
from escoita.records import EvaluationRecord
from escoita.rundir import RunDirectory
from escoita.transcribe import Transcriber
from eval.predictions import read_predictions
from eval.results import score
from eval.run import evaluate_manifests
from tests.conftest import CORPUS, write_manifest


BASE = "./quickstart/gemma4"


@pytest.fixture(scope="module")
def transcriber(quickstart_run: Path) -> Transcriber:
    return Transcriber.load(BASE, str(RunDirectory(quickstart_run).adapter), batch_size=4)


def test_results_are_made_from_the_predictions_alone(quickstart_run: Path) -> None:
    run = RunDirectory(quickstart_run)
    record = EvaluationRecord.read(run.results)
    assert score(sorted(run.eval.glob("*/predictions.parquet")), record.normalizer, record.resamples) == record
    assert (record.base, record.adapter) == (BASE, "adapter")
    result = record.corpora[0]
    assert (result.name, result.language, result.n, result.rejected) == ("escoita-quickstart-uz", "uz", 8, 0)
    assert result.base_wer is not None and result.wer_ci95[0] <= result.wer <= result.wer_ci95[1]
    assert result.substitutions + result.deletions + result.insertions == round(result.wer * result.reference_words)
    assert record.pooled.model_copy(update={"name": result.name}) == result


def test_batches_hear_what_one_by_one_hears(quickstart_run: Path, transcriber: Transcriber) -> None:
    table, _ = read_predictions(next(RunDirectory(quickstart_run).eval.glob("*/predictions.parquet")))
    clips = [read_audio(CORPUS / f"test/{index:04d}.ogg") for index in range(8)]
    single = [transcriber.transcribe([clip])[0].text for clip in clips]
    assert [transcript.text for transcript in transcriber.transcribe(clips)] == single
    assert table["hypothesis"].to_pylist() == single
    assert len(set(single)) > 1  # it listens: not the same text for every clip


def test_any_adapter_on_any_manifest(
    quickstart_run: Path, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    manifest = write_manifest(tmp_path / "mine.jsonl", "test", 4, gone={"audio_filepath": "gone.ogg", "text": "bir"})
    adapter = str(RunDirectory(quickstart_run).adapter)
    arguments = ["--base", BASE, "--adapter", adapter, "--corpus", str(manifest), "--out", str(tmp_path / "out")]
    done = command("eval/run.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert f"Not used: {manifest}:5: {tmp_path / 'gone.ogg'}: no such file" in done.stderr
    result = EvaluationRecord.read(tmp_path / "out/results.json").pooled
    assert (result.n, result.rejected) == (4, 1)
    assert command("eval/run.py", "--base", BASE).returncode == 2


def test_an_adapter_whose_weights_find_no_place_is_refused(quickstart_run: Path, tmp_path: Path) -> None:
    """PEFT itself would only warn, and the base would answer alone."""
    adapter = tmp_path / "adapter"
    shutil.copytree(RunDirectory(quickstart_run).adapter, adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    renamed = {key.replace("audio_tower", "audio_model"): value for key, value in weights.items()}
    save_file(renamed, adapter / "adapter_model.safetensors")
    with pytest.raises(EscoitaError, match=r"does not fit this base \(\d+ weights find no place\)"):
        Transcriber.load(BASE, str(adapter))


def test_what_is_not_there_is_said(quickstart_run: Path, tmp_path: Path) -> None:
    adapter = RunDirectory(quickstart_run).adapter
    with pytest.raises(EscoitaError, match=r"escoita.json"):
        evaluate_manifests(BASE, str(adapter.parent), [CORPUS / "test.jsonl"], tmp_path)
    with pytest.raises(EscoitaError, match=r"base .*nowhere: neither a folder here nor a model of the Hub"):
        evaluate_manifests("./nowhere", str(adapter), [CORPUS / "test.jsonl"], tmp_path)


def test_one_file_or_a_clear_message(transcriber: Transcriber, tmp_path: Path) -> None:
    heard = transcriber.transcribe_file(CORPUS / "test/0001.ogg")
    assert heard.text and heard.audio_seconds == pytest.approx(0.765, abs=0.01) and heard.compute_seconds > 0
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "long.wav", np.ones(31 * 16_000) * 0.1, 16_000)
    for name, reason in (("silence.wav", "nothing can be heard"), ("long.wav", "31.0 s is over the 30 s")):
        with pytest.raises(AudioError, match=f"^{name}: {reason}"):
            transcriber.transcribe_file(tmp_path / name)
