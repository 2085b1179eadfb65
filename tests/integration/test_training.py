"""Test training on the tiny base: reproducible, resumable, with a list of rejected rows."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from escoita.errors import CorpusError, RecipeError, TrainingError
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import ChangedRecipeError
from escoita.training.extension import NoCheckpointError
from escoita.training.sanity_checks import DivergedError, TrainableError, ZeroGradientError
from escoita.training.sft import train
from tests.conftest import ROOT, write_manifest


def losses(record: TrainingRecord) -> list[float]:
    return [point.loss for point in record.loss]


def test_run_directory_holds_adapter_and_record(quickstart_run: Path) -> None:
    run = RunDirectory(quickstart_run)
    record = TrainingRecord.read(run.training)
    assert record.steps == 4 and len(record.loss) == 4 and record.sessions == 1
    assert record.trainable_parameters["audio"] > 0 and record.trainable_parameters["language"] > 0
    assert sum(record.trainable_parameters.values()) == 159_104
    assert [(use.split, use.utterances) for use in record.corpora] == [("train", 24)]
    names = {path.name for path in run.adapter.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "escoita.json", "tokenizer.json"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pth", ".md"))}
    assert AdapterRecord.read(run.adapter / "escoita.json").prompt.user == "Please transcribe this audio."


def test_two_runs_give_the_same_losses(quickstart_run: Path, short_recipe: Callable[..., Recipe]) -> None:
    second = train(short_recipe())
    assert second is not None
    assert losses(second) == losses(TrainingRecord.read(RunDirectory(quickstart_run).training))


def test_a_finished_run_is_not_trained_again(quickstart_run: Path, short_recipe: Callable[..., Recipe]) -> None:
    record = RunDirectory(quickstart_run).training
    before = record.stat().st_mtime_ns
    assert train(short_recipe(f"run_dir={quickstart_run}")) == TrainingRecord.read(record)
    assert record.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_finished_run_trains_on_with_more_steps(
    short_recipe: Callable[..., Recipe], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = short_recipe().run_dir
    with pytest.raises(NoCheckpointError) as refused:
        train(short_recipe(f"run_dir={folder}"), resume=True)
    assert refused.value.key == "--resume"
    first = train(short_recipe(f"run_dir={folder}", "training.max_steps=2"))
    longer = short_recipe(f"run_dir={folder}", "training.max_steps=5")
    assert train(longer, dry_run=True) is None
    second = train(longer, resume=True)
    assert first is not None and second is not None
    assert (first.steps, second.steps, second.sessions) == (2, 5, 2)
    assert losses(second)[:2] == losses(first) and len(losses(second)) == 5
    assert second.adapter_sha256 != first.adapter_sha256
    assert RunDirectory(longer.run_path).load_recipe().training["max_steps"] == 5
    (extension,) = TrainingRecord.read(RunDirectory(longer.run_path).training).extensions
    assert (extension.step, extension.unit, extension.before, extension.now) == (2, "steps", 2, 5)
    assert "training.max_steps" in capfd.readouterr().err
    assert train(longer) == second  # it is finished again


def test_another_recipe_in_the_same_folder_is_refused(
    quickstart_run: Path, short_recipe: Callable[..., Recipe]
) -> None:
    with pytest.raises(ChangedRecipeError) as error:
        train(short_recipe(f"run_dir={quickstart_run}", "training.learning_rate=0.1"))
    assert (error.value.key, error.value.before, error.value.now) == ("training.learning_rate", 0.003, 0.1)


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_losses(
    quickstart_run: Path, short_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = short_recipe()
    run = RunDirectory(recipe.run_path)
    recipe.write(tmp_path / "recipe.yaml")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_A_CHECKPOINT, str(tmp_path / "recipe.yaml")],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL
    assert (run.checkpoints / "checkpoint-2").is_dir() and not run.training.exists()
    # An incomplete checkpoint is skipped.
    (run.checkpoints / "checkpoint-3").mkdir()
    (run.checkpoints / "checkpoint-3/trainer_state.json").write_text('{"global_step"')

    record = train(recipe)
    assert record is not None and record.sessions == 2 and record.steps == 4
    uninterrupted = losses(TrainingRecord.read(RunDirectory(quickstart_run).training))
    assert losses(record) == pytest.approx(uninterrupted, abs=1e-5)


KILLED_AFTER_A_CHECKPOINT = """
import os, signal, sys
from transformers import TrainerCallback
from escoita.training.checkpointing import Clock
from escoita.training.sft import train
from escoita.recipe.schema import load_recipe

def on_step_begin(self, args, state, control, **kwargs):
    if state.global_step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Clock.on_step_begin = on_step_begin
train(load_recipe(sys.argv[1]))
"""


def test_dry_run_counts_and_writes_nothing(
    short_recipe: Callable[..., Recipe], capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = short_recipe()
    assert train(recipe, dry_run=True) is None
    assert "159,104 (audio 100,736, vision 0, language 58,368)" in capfd.readouterr().err
    assert not recipe.run_path.exists()


DIVERGES = ("training.learning_rate=1e30", "training.lr_scheduler_type=constant", "training.warmup_steps=0")


@pytest.mark.parametrize("logging_steps", [2, 25])
def test_a_diverged_training_writes_no_adapter(short_recipe: Callable[..., Recipe], logging_steps: int) -> None:
    steps = [f"training.logging_steps={logging_steps}", "training.save_strategy=no"]
    recipe = short_recipe(*DIVERGES, *steps)
    with pytest.raises(DivergedError) as refused:
        train(recipe)
    assert set(refused.value.towers) == {"audio", "language"}
    assert {path.name for path in recipe.run_path.iterdir()} == {"recipe.yaml", "checkpoints"}


def test_a_tower_without_gradients_stops_training(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.gemma4.modeling_gemma4 import Gemma4MultimodalEmbedder

    forward = Gemma4MultimodalEmbedder.forward
    monkeypatch.setattr(Gemma4MultimodalEmbedder, "forward", lambda *args, **kwargs: forward(*args, **kwargs).detach())
    recipe = short_recipe("training.logging_steps=2")
    with pytest.raises(ZeroGradientError) as refused:
        train(recipe)
    assert (refused.value.towers, refused.value.step) == (("audio",), 2)
    assert not recipe.run_path.joinpath("adapter").exists()


@pytest.mark.parametrize("nothing", ["learning_rate=0", "learning_rate=.nan", "num_train_epochs=0", "max_steps=0"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_training_without_steps_is_refused(short_recipe: Callable[..., Recipe], nothing: str, dry_run: bool) -> None:
    recipe = short_recipe("training.max_steps=-1", f"training.{nothing}")
    with pytest.raises(RecipeError) as error:
        train(recipe, dry_run)
    assert error.value.key == f"training.{nothing.partition('=')[0]}"
    assert not recipe.run_path.exists()


def test_targets_that_miss_the_audio_tower_are_refused(short_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(TrainableError) as error:
        train(short_recipe(r"method.target_modules=.*language_model.*\.(q|v)_proj"))
    assert (error.value.key, error.value.value, error.value.count) == ("method.trainable.audio", 100_736, 0)


@pytest.mark.parametrize("dry_run", [True, False])
def test_missing_targets_are_refused(short_recipe: Callable[..., Recipe], dry_run: bool) -> None:
    recipe = short_recipe("method.target_modules=nothing")
    with pytest.raises(TrainingError) as error:
        train(recipe, dry_run)
    assert error.value.key == "method"
    assert not recipe.run_path.exists()


def broken_rows(folder: Path) -> dict[str, dict]:
    """Write one row for each kind of unusable input, and two clips that are unusual but usable."""
    quiet = np.zeros(8000, np.float32)
    soundfile.write(folder / "nan.wav", np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT")
    soundfile.write(folder / "none.wav", quiet[:0], 16_000)
    soundfile.write(folder / "long.wav", np.zeros(16_000 * 31, np.float32), 16_000)
    (folder / "text.wav").write_text("this is not audio")
    tone = 0.1 * np.sin(np.arange(8000) / 5).astype(np.float32)
    soundfile.write(folder / "stereo.wav", np.stack([tone, tone], axis=1), 16_000)
    soundfile.write(folder / "telephone.wav", tone, 8_000)
    names = ["missing", "nan", "none", "long", "text", "stereo", "telephone"]
    rows = {name: {"audio_filepath": str(folder / f"{name}.wav"), "text": "bir"} for name in names}
    return rows | {"mute": {"audio_filepath": str(folder / "stereo.wav"), "text": "  "}, "odd": {"text": "bir"}}


def test_rejected_rows_are_listed_and_counted(short_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "bad.jsonl", "train", 24, **broken_rows(tmp_path))
    corpus = f"corpora.train=[{{name: bad, path: {manifest}}}]"

    refused = short_recipe(corpus)
    with pytest.raises(CorpusError) as error:
        train(refused)
    assert "bad.jsonl" in str(error.value) and not refused.run_path.exists()

    record = train(short_recipe(corpus, "corpora.max_rejected_share=0.5", "training.max_steps=2"))
    assert record is not None
    assert (record.corpora[0].utterances, record.corpora[0].rejected) == (26, 7)
    listed = "\n".join(record.rejected)
    for row, reason in {
        "25: .*missing.wav": "no such file",
        "26: .*nan.wav": "holds samples that are not numbers",
        "27: .*none.wav": "holds no samples",
        "28: .*long.wav": r"31\.0 s .*30 s",
        "29: .*text.wav": "not a recording that can be read",
        "32: .*stereo.wav": "empty transcript",
        "33: row": "columns.audio",
    }.items():
        assert re.search(f"bad.jsonl:{row}: {reason}", listed), (row, listed)


def test_training_is_offline(short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:  # workers use these sockets to send batches
            raise AssertionError(f"a connection to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    record = train(short_recipe("training.max_steps=2"))
    assert record is not None and record.steps == 2


@pytest.mark.slow
def test_recipe_errors_of_the_script_are_one_line(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    recipe = (ROOT / "recipes/quickstart-uzbek.yaml").read_text("utf-8").replace("lora_alpha: 16", "lora_alfa: 16")
    (tmp_path / "wrong.yaml").write_text(recipe, "utf-8")
    line = recipe.splitlines().index("  lora_alfa: 16") + 1
    wrong = command("training/sft.py", "--recipe", str(tmp_path / "wrong.yaml"))
    assert wrong.returncode == 1
    assert f"wrong.yaml:{line}: method.lora_alfa: unknown key; did you mean 'lora_alpha'?" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert command("training/sft.py").returncode == 2
    unknown = command(
        "training/sft.py", "--recipe", "recipes/quickstart-uzbek.yaml", "--set", "training.lerning_rate=1"
    )
    assert unknown.returncode == 1 and "did you mean 'learning_rate'?" in unknown.stderr


def test_help_needs_no_heavy_import(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    program = (
        "import sys, escoita.cli.main, cards.build, cards.push, training.sft, eval.run, space.app;"
        "print(json.dumps(sorted({'torch', 'transformers', 'gradio'} & set(sys.modules))))"
    )
    listed = command("-c", f"import json; {program}")
    assert json.loads(listed.stdout) == []
    helped = command("-m", "escoita", "--help")
    assert helped.returncode == 0 and "train" in helped.stdout
