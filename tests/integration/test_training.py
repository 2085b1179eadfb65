"""Training on the tiny base: repeatable, resumable, honest about what it could not use."""

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

from escoita.errors import CorpusError, RecipeError, TrainingError, UntrainedError
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.run_directory import RunDirectory
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
    again = train(short_recipe())
    assert again is not None
    assert losses(again) == losses(TrainingRecord.read(RunDirectory(quickstart_run).training))


def test_a_finished_run_is_not_trained_again(quickstart_run: Path, short_recipe: Callable[..., Recipe]) -> None:
    record = RunDirectory(quickstart_run).training
    before = record.stat().st_mtime_ns
    assert train(short_recipe(f"run_dir={quickstart_run}")) == TrainingRecord.read(record)
    assert record.stat().st_mtime_ns == before


def test_another_recipe_in_the_same_folder_is_refused(
    quickstart_run: Path, short_recipe: Callable[..., Recipe]
) -> None:
    with pytest.raises(TrainingError, match=r"training.learning_rate was 0.003, is 0.1.*--restart"):
        train(short_recipe(f"run_dir={quickstart_run}", "training.learning_rate=0.1"))


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_like_one_that_was_not(
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
    # A checkpoint that was being written when the power went is passed over.
    (run.checkpoints / "checkpoint-3").mkdir()
    (run.checkpoints / "checkpoint-3/trainer_state.json").write_text('{"global_step"')

    record = train(recipe)
    assert record is not None and record.sessions == 2 and record.steps == 4
    uninterrupted = losses(TrainingRecord.read(RunDirectory(quickstart_run).training))
    assert losses(record) == pytest.approx(uninterrupted, abs=1e-5)


KILLED_AFTER_A_CHECKPOINT = """
import os, signal, sys
from transformers import TrainerCallback
from escoita.training import checkpointing as session
from escoita.training.sft import train
from escoita.recipe.schema import load_recipe

def on_step_begin(self, args, state, control, **kwargs):
    if state.global_step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

session.Clock.on_step_begin = on_step_begin
train(load_recipe(sys.argv[1]))
"""


def test_dry_run_counts_and_writes_nothing(
    short_recipe: Callable[..., Recipe], capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = short_recipe()
    assert train(recipe, dry_run=True) is None
    assert "Trainable parameters: 159,104 (audio 100,736, vision 0, language 58,368)" in capfd.readouterr().err
    assert not recipe.run_path.exists()


DIVERGES = ("training.learning_rate=1e30", "training.lr_scheduler_type=constant", "training.warmup_steps=0")


@pytest.mark.parametrize("logging_steps", [2, 25])
def test_a_training_that_diverges_leaves_no_adapter(short_recipe: Callable[..., Recipe], logging_steps: int) -> None:
    steps = [f"training.logging_steps={logging_steps}", "training.save_strategy=no"]
    recipe = short_recipe(*DIVERGES, *steps)
    with pytest.raises(UntrainedError) as refused:
        train(recipe)
    assert set(refused.value.towers) == {"audio", "language"}
    assert {path.name for path in recipe.run_path.iterdir()} == {"recipe.yaml", "checkpoints"}


def test_a_tower_without_a_gradient_ends_training(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.gemma4.modeling_gemma4 import Gemma4MultimodalEmbedder

    forward = Gemma4MultimodalEmbedder.forward
    monkeypatch.setattr(Gemma4MultimodalEmbedder, "forward", lambda *args, **kwargs: forward(*args, **kwargs).detach())
    recipe = short_recipe("training.logging_steps=2")
    with pytest.raises(UntrainedError) as refused:
        train(recipe)
    assert (refused.value.towers, refused.value.step) == (("audio",), 2)
    assert not recipe.run_path.joinpath("adapter").exists()


@pytest.mark.parametrize("nothing", ["learning_rate=0", "learning_rate=.nan", "num_train_epochs=0", "max_steps=0"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_training_that_would_take_no_step_is_refused_before(
    short_recipe: Callable[..., Recipe], nothing: str, dry_run: bool
) -> None:
    recipe = short_recipe("training.max_steps=-1", f"training.{nothing}")
    with pytest.raises(RecipeError, match=f"training.{nothing.partition('=')[0]}"):
        train(recipe, dry_run)
    assert not recipe.run_path.exists()


def test_targets_that_miss_the_audio_tower_are_refused(short_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(TrainingError, match=r"method.trainable.audio: the recipe says 100736, but 0 parameters"):
        train(short_recipe(r"method.target_modules=.*language_model.*\.(q|v)_proj"))


@pytest.mark.parametrize("dry_run", [True, False])
def test_targets_that_are_not_there_are_refused(short_recipe: Callable[..., Recipe], dry_run: bool) -> None:
    recipe = short_recipe("method.target_modules=nothing")
    with pytest.raises(TrainingError, match=r"^method: the adapter cannot be put on the base: Target modules nothing"):
        train(recipe, dry_run)
    assert not recipe.run_path.exists()


def broken_rows(folder: Path) -> dict[str, dict]:
    """One row for each kind of bad input, and two clips that are unusual but can be used."""
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


def test_bad_rows_are_named_counted_and_never_dropped(short_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "bad.jsonl", "train", 24, **broken_rows(tmp_path))
    corpus = f"corpora.train=[{{name: bad, path: {manifest}}}]"

    refused = short_recipe(corpus)
    with pytest.raises(CorpusError, match=r"7 of 33 rows cannot be used, over the 1.0% .*: .*bad.jsonl:\d+"):
        train(refused)
    assert not refused.run_path.exists()

    record = train(short_recipe(corpus, "corpora.max_rejected_share=0.5", "training.max_steps=2"))
    assert record is not None
    assert (record.corpora[0].utterances, record.corpora[0].rejected) == (26, 7)
    named = "\n".join(record.rejected)
    for row, reason in {
        "25: .*missing.wav": "no such file",
        "26: .*nan.wav": "holds samples that are not numbers",
        "27: .*none.wav": "holds no samples",
        "28: .*long.wav": "31.0 s is over the 30 s",
        "29: .*text.wav": "not a recording that can be read",
        "32: .*stereo.wav": "empty transcript",
        "33: row": "has no column that is known as audio",
    }.items():
        assert re.search(f"bad.jsonl:{row}: {reason}", named), (row, named)


def test_training_touches_no_network(short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:  # by which workers pass on what they read
            raise AssertionError(f"a connection to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    record = train(short_recipe("training.max_steps=2"))
    assert record is not None and record.steps == 2


def test_script_and_recipe_errors_end_with_one_line(
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
