"""Test that two processes with gloo train the same as one process with twice the batch size."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.training.sft import train
from tests.conftest import ROOT, write_manifest


Command = Callable[..., subprocess.CompletedProcess[str]]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "training/sft.py")


@pytest.fixture
def recipe(short_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., Recipe]:
    """Return a recipe with 27 clips, so that the last step of an epoch has three clips for two processes."""
    clips = {"train": 27, "validation": 6}
    corpora = [
        f"corpora.{split}=[{{name: few, path: {write_manifest(tmp_path / f'{split}.jsonl', split, count)}}}]"
        for split, count in clips.items()
    ]
    settings = ["training.max_steps=6", "training.eval_strategy=steps", "training.eval_steps=3", "validation.clips=4"]
    return lambda *overrides: short_recipe(*corpora, *settings, *overrides)


@pytest.mark.slow
def test_two_processes_train_the_same_as_one_with_twice_the_batch(
    recipe: Callable[..., Recipe], command: Command, tmp_path: Path
) -> None:
    single = recipe()
    by_one = train(single)
    shared = recipe("training.per_device_train_batch_size=4")
    shared.write(tmp_path / "shared.yaml")
    ended = command(*TORCHRUN, "--recipe", str(tmp_path / "shared.yaml"))
    assert ended.returncode == 0, ended.stderr
    run = RunDirectory(shared.run_path)
    by_two = TrainingRecord.read(run.training)

    assert by_one is not None and (by_one.processes, by_two.processes) == (1, 2)
    # The order of float32 sums differs; the measured differences are 1e-6 in the loss and 2e-5 in the weights.
    assert [each.loss for each in by_two.loss] == pytest.approx([each.loss for each in by_one.loss], abs=1e-4)
    assert [each.wer for each in by_two.validation] == [each.wer for each in by_one.validation]
    folders = [RunDirectory(each.run_path).adapter for each in (single, shared)]
    weights = [load_file(folder / "adapter_model.safetensors") for folder in folders]
    assert weights[0].keys() == weights[1].keys()
    for name, values in weights[0].items():
        assert float((values - weights[1][name]).abs().max()) < 1e-3, name
    assert by_two.pace is not None and by_one.pace is not None
    assert by_two.pace.audio_seconds == pytest.approx(by_one.pace.audio_seconds)
    # Only the main process logs and writes.
    assert ended.stderr.count("Trainable parameters") == 1
    assert len(list(run.checkpoints.glob("*/trainer_state.json"))) == 2


@pytest.mark.slow
def test_processes_with_a_sharded_model_train_the_same(
    recipe: Callable[..., Recipe], command: Command, tmp_path: Path
) -> None:
    single = recipe("training.learning_rate=3e-3")
    by_one = train(single)
    shared = recipe("training.learning_rate=3e-3", "training.per_device_train_batch_size=4", "training.use_cpu=false")
    shared.write(tmp_path / "shared.yaml")
    (tmp_path / "sft.py").write_text(FSDP_ON_CPU, "utf-8")
    script = [*TORCHRUN[:-1], str(tmp_path / "sft.py"), "--recipe", str(tmp_path / "shared.yaml")]
    settings = {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "Gemma4TextDecoderLayer",
        "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
        "PYTHONPATH": str(ROOT),
    }
    ended = command(*script, **settings)
    assert ended.returncode == 0, ended.stderr
    by_two = TrainingRecord.read(RunDirectory(shared.run_path).training)
    assert by_one is not None and by_two.processes == 2
    assert [each.loss for each in by_two.loss] == pytest.approx([each.loss for each in by_one.loss], abs=1e-4)
    # The processes generate with gathered weights, of the base as well as of the adapter.
    assert [each.step for each in by_two.validation] == [0, 3, 6]
    assert [(each.wer, each.cer) for each in by_two.validation] == [(each.wer, each.cer) for each in by_one.validation]
    assert len({each.cer for each in by_two.validation}) > 1
    assert by_two.kept_step == by_one.kept_step  # so that the best adapter is compared
    folders = [RunDirectory(each.run_path).adapter for each in (single, shared)]
    weights = [load_file(folder / "adapter_model.safetensors") for folder in folders]
    assert weights[0].keys() == weights[1].keys()
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 1e-3

    refused = command(*script, "--set", f"run_dir={tmp_path / 'refused'}", **(settings | {"FSDP_VERSION": "1"}))
    assert refused.returncode != 0 and "fsdp_version: 2" in refused.stderr


# Accelerate shards models only on GPUs; this lets it shard over gloo on CPUs.
FSDP_ON_CPU = """
import runpy
import torch
from accelerate.state import DistributedType, PartialState

PartialState._prepare_backend = lambda *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))

runpy.run_path("training/sft.py", run_name="__main__")
"""
