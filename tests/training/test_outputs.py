import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from escoita.errors import UntrainedError
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord, Prompt, ValidationPoint
from escoita.run_directory import RunDirectory
from escoita.training.callbacks import BestAdapter
from escoita.training.outputs import VERSIONS, save_adapter, thinned, validation_points, versions
from tests.samples import RECIPE


def write_weights(folder: Path, value: float) -> None:
    folder.mkdir(parents=True)
    tensors = {f"base_model.model.{tower}.q.lora_B.weight": torch.full((2, 2), value) for tower in ("audio", "text")}
    save_file(tensors, folder / "adapter_model.safetensors")


class Model:
    value = 1.0

    def save_pretrained(self, folder: Path, **told: Any) -> None:
        write_weights(folder, self.value)


class Family:
    def save_processor(self, processor: Any, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(processor)

    def render(self, processor: str, prompt: Prompt) -> str:
        return f"<audio>{prompt.user}"

    def tower_of(self, name: str) -> str:
        return "audio" if "audio" in name else "language"


def trainer(run: RunDirectory, kept: int | None) -> SimpleNamespace:
    """One that is done, and kept the adapter of a step or none."""
    best = BestAdapter()
    best.step = kept
    if kept is not None:
        folder = run.best / f"step-{kept}"
        write_weights(folder, 2.0)
    handler, args = SimpleNamespace(callbacks=[best]), SimpleNamespace(output_dir=str(run.checkpoints))
    state = SimpleNamespace(global_step=30)
    return SimpleNamespace(callback_handler=handler, args=args, model=Model(), processing_class="tokens", state=state)


@pytest.mark.parametrize("kept, weights", [(20, 2.0), (None, 1.0)])
def test_the_best_adapter_is_saved_or_the_last_where_none_was_heard(
    tmp_path: Path, kept: int | None, weights: float
) -> None:
    run, recipe = RunDirectory(tmp_path / "run"), Recipe.model_validate(yaml.safe_load(RECIPE))
    run.adapter.mkdir(parents=True)
    (run.adapter / "of-an-earlier-run.txt").touch()
    save_adapter(trainer(run, kept), Family(), recipe, run)  # type: ignore[arg-type]
    files = {path.name: path for path in run.adapter.iterdir()}
    assert set(files) == {"adapter_model.safetensors", "tokenizer.json", "escoita.json"}
    assert files["tokenizer.json"].read_text() == "tokens"
    assert all((each == weights).all() for each in load_file(files["adapter_model.safetensors"]).values())
    expected = recipe.generation_settings().model_copy(update={"rendered_prompt": f"<audio>{recipe.prompt.user}"})
    assert AdapterRecord.read(run.adapter / "escoita.json") == expected
    assert [path.name for path in tmp_path.glob("run/adapter*")] == ["adapter"]


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_an_adapter_that_was_not_trained_is_not_saved(tmp_path: Path, value: float) -> None:
    run, recipe = RunDirectory(tmp_path / "run"), Recipe.model_validate(yaml.safe_load(RECIPE))
    ended = trainer(run, None)
    ended.model.value = value
    with pytest.raises(UntrainedError) as refused:
        save_adapter(ended, Family(), recipe, run)  # type: ignore[arg-type]
    assert (refused.value.towers, refused.value.step) == (("audio", "language"), 30)
    assert not list(run.path.glob("adapter*"))


def test_points_are_what_evaluations_logged() -> None:
    heard = {"eval_wer": 1.25, "eval_cer": 0.5, "eval_utterances": 48, "eval_listening_seconds": 2.5}
    history = [
        {"step": 0, "eval_loss": 3.0, **heard},
        {"step": 5, "loss": 2.0},
        {"step": 5, "eval_loss": 1.5},
        {"step": 5, "train_runtime": 7.0},
    ]
    assert validation_points(json.loads(json.dumps(history))) == [
        ValidationPoint(step=0, loss=3.0, wer=1.25, cer=0.5, utterances=48),
        ValidationPoint(step=5, loss=1.5),
    ]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 1000])
def test_a_long_curve_is_thinned_and_ends_where_it_ended(count: int) -> None:
    points = list(range(count))
    kept = thinned(points, 3)
    assert len(kept) <= 3 and kept == sorted(kept) and kept[-1:] == points[-1:]
    assert thinned(points, 1000) == points


def test_versions_are_of_what_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name}-1")
    plain = Recipe.model_validate(yaml.safe_load(RECIPE))
    assert set(versions(plain)) == set(VERSIONS)
    changed = plain.model_copy(update={"engine": "unsloth", "load_in_4bit": True})
    assert set(versions(changed)) - set(VERSIONS) == {"unsloth", "bitsandbytes"}
