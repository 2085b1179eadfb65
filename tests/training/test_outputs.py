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
from escoita.records.training import AdapterRecord, ValidationPoint
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

    def save_pretrained(self, folder: Path, **options: Any) -> None:
        write_weights(folder, self.value)


class Family:
    def save_processor(self, processor: Any, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(processor)

    def resolved_settings(self, processor: str, settings: AdapterRecord) -> AdapterRecord:
        return settings.model_copy(update={"language_token": "gl"})

    def rendered_prompt(self, processor: str, settings: AdapterRecord) -> str:
        return f"<audio>{settings.prompt.user}"

    def tower_of(self, name: str) -> str:
        return "audio" if "audio" in name else "language"


def trainer(run: RunDirectory, best_step: int | None) -> SimpleNamespace:
    """Return a trainer after training, with or without a best adapter."""
    best = BestAdapter()
    best.step = best_step
    if best_step is not None:
        folder = run.best / f"step-{best_step}"
        write_weights(folder, 2.0)
    handler, args = SimpleNamespace(callbacks=[best]), SimpleNamespace(output_dir=str(run.checkpoints))
    state = SimpleNamespace(global_step=30)
    return SimpleNamespace(callback_handler=handler, args=args, model=Model(), processing_class="tokens", state=state)


@pytest.mark.parametrize("best_step, weights", [(20, 2.0), (None, 1.0)])
def test_the_best_adapter_is_saved_or_else_the_last(tmp_path: Path, best_step: int | None, weights: float) -> None:
    run, recipe = RunDirectory(tmp_path / "run"), Recipe.model_validate(yaml.safe_load(RECIPE))
    run.adapter.mkdir(parents=True)
    (run.adapter / "of-an-earlier-run.txt").touch()
    save_adapter(trainer(run, best_step), Family(), recipe, run)  # type: ignore[arg-type]
    files = {path.name: path for path in run.adapter.iterdir()}
    assert set(files) == {"adapter_model.safetensors", "tokenizer.json", "escoita.json"}
    assert files["tokenizer.json"].read_text() == "tokens"
    assert all((each == weights).all() for each in load_file(files["adapter_model.safetensors"]).values())
    expected = recipe.generation_settings().model_copy(
        update={"rendered_prompt": f"<audio>{recipe.prompt.user}", "language_token": "gl"}
    )
    assert AdapterRecord.read(run.adapter / "escoita.json") == expected
    assert [path.name for path in tmp_path.glob("run/adapter*")] == ["adapter"]


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_an_untrained_adapter_is_not_saved(tmp_path: Path, value: float) -> None:
    run, recipe = RunDirectory(tmp_path / "run"), Recipe.model_validate(yaml.safe_load(RECIPE))
    ended = trainer(run, None)
    ended.model.value = value
    with pytest.raises(UntrainedError) as refused:
        save_adapter(ended, Family(), recipe, run)  # type: ignore[arg-type]
    assert (refused.value.towers, refused.value.step) == (("audio", "language"), 30)
    assert not list(run.path.glob("adapter*"))


def test_validation_points_come_from_the_log() -> None:
    metrics = {"eval_wer": 1.25, "eval_cer": 0.5, "eval_utterances": 48, "eval_transcription_seconds": 2.5}
    history = [
        {"step": 0, "eval_loss": 3.0, **metrics},
        {"step": 5, "loss": 2.0},
        {"step": 5, "eval_loss": 1.5},
        {"step": 5, "train_runtime": 7.0},
    ]
    assert validation_points(json.loads(json.dumps(history))) == [
        ValidationPoint(step=0, loss=3.0, wer=1.25, cer=0.5, utterances=48),
        ValidationPoint(step=5, loss=1.5),
    ]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 1000])
def test_a_long_curve_is_thinned_and_keeps_its_last_point(count: int) -> None:
    points = list(range(count))
    fewer = thinned(points, 3)
    assert len(fewer) <= 3 and fewer == sorted(fewer) and fewer[-1:] == points[-1:]
    assert thinned(points, 1000) == points


def test_versions_are_those_of_the_packages_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name}-1")
    plain = Recipe.model_validate(yaml.safe_load(RECIPE))
    assert set(versions(plain)) == set(VERSIONS)
    changed = plain.model_copy(update={"engine": "unsloth", "load_in_4bit": True})
    assert set(versions(changed)) - set(VERSIONS) == {"unsloth", "bitsandbytes"}
