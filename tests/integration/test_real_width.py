"""
Test all commands on a Gemma 4 with the widths of E4B, and two layers in each tower.

The base has 8,192 tokens, random weights and 320 million parameters. The most memory that a command took is
2.6 GB (`train`); the test asserts less than 5 GB.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from escoita.recipe.schema import load_recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from tests.cards.publishing import client_environment
from tests.conftest import ROOT, write_manifest
from tests.hub_double import HubDouble, Repo, serve
from tests.models.shapes import write_e4b


pytestmark = pytest.mark.slow
BASE, ADAPTER = "ana/wide-base", "ana/wide-adapter"
MOST_BYTES = 5e9
# A small process starts the command, because a process inherits the peak of the process that starts it, and because
# the worker of pytest has started the commands of other tests.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
sys.exit(code)
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubDouble]:
    """Store the base in the Hub double."""
    from transformers import AutoConfig, Gemma4ForConditionalGeneration, GenerationConfig

    folder = tmp_path_factory.mktemp("base")
    two: dict[str, Any] = {
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
        "num_kv_shared_layers": 0,
    }
    write_e4b(folder, **two, vocab_size=8192, vocab_size_per_layer_input=8192)
    document = json.loads((folder / "config.json").read_text("utf-8"))
    document["audio_config"]["num_hidden_layers"] = document["vision_config"]["num_hidden_layers"] = 2
    config = AutoConfig.for_model(**document)
    torch.manual_seed(0)
    model = Gemma4ForConditionalGeneration(config).bfloat16()
    assert sum(weight.numel() for weight in model.parameters()) == 319_855_136
    model.generation_config = GenerationConfig(eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id)
    model.save_pretrained(folder)
    with serve(tmp_path_factory.mktemp("hub")) as double:
        for repo in (BASE, ADAPTER):
            double.store.create(Repo("model", repo), author="ana")
        double.commit(BASE, {path.name: path.read_bytes() for path in folder.iterdir()}, "Upload")
        yield double


@pytest.fixture(scope="module")
def escoita(hub: HubDouble, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs a command, and asserts its exit status and its memory."""
    home = tmp_path_factory.mktemp("home")
    peak_file = tmp_path_factory.mktemp("peak") / "bytes"

    def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        keep = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, peak_file, sys.executable, "-m", "escoita", *map(str, arguments)],
            cwd=ROOT,
            env=keep | client_environment(hub) | {"HF_HOME": str(home), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr + done.stdout
        peak = int(peak_file.read_text("utf-8"))
        print(f"{arguments[0]}: {peak / 1e9:.1f} GB")
        assert peak < MOST_BYTES
        return done

    return run


def test_train_evaluate_merge_push_and_verify(hub: HubDouble, escoita: Run, tmp_path: Path) -> None:
    manifests = {split: write_manifest(tmp_path / f"{split}.jsonl", split, 4) for split in ("train", "test")}
    recipe = load_recipe(
        ROOT / "recipes/gemma4-uzbek.yaml",
        [
            f"base={BASE}",
            "name=wide",
            f"run_dir={tmp_path / 'wide'}",
            "engine=transformers",
            "load_in_4bit=false",
            "dtype=float32",
            "method.trainable={language: 901120, audio: 495616, vision: none}",
            f"corpora.train=[{{name: few, path: {manifests['train']}}}]",
            "corpora.validation=[]",
            f"corpora.test=[{{name: few, path: {manifests['test']}}}]",
            "training={max_steps: 2, per_device_train_batch_size: 2, learning_rate: 0.001, logging_steps: 1}",
            "eval.max_new_tokens=8",
            "eval.resamples=100",
            "eval.probes=false",
        ],
    )
    recipe.write(tmp_path / "recipe.yaml")
    run = RunDirectory(recipe.run_path)
    assert "No problem found" in escoita("doctor", tmp_path / "recipe.yaml").stdout
    escoita("train", tmp_path / "recipe.yaml")
    training = TrainingRecord.read(run.training)
    assert training.steps == 2 and len(training.loss) == 2
    escoita("eval", "--run", run.path)
    assert EvaluationRecord.read(run.results).corpora[0].n == 4
    escoita("card", "--run", run.path)
    assert "experimental" in (run.path / "README.md").read_text("utf-8")
    escoita("merge", "--run", run.path, "--out", tmp_path / "merged")
    assert list((tmp_path / "merged").glob("*.safetensors"))
    escoita("push", "--run", run.path, "--repo", ADAPTER)
    verified = escoita("verify", ADAPTER)
    assert "holds" in verified.stdout and "contradict" not in verified.stdout
