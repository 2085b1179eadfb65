"""Check the values that a recipe does not set: they come from the family and the memory, and a run keeps them."""

from pathlib import Path
from typing import Any

import pytest

from escoita.errors import RecipeError
from escoita.models.families import BY_MODEL_TYPE, FAMILIES
from escoita.recipe.schema import LISTED, Lora, Modules, Recipe, load_recipe
from escoita.training import defaults
from escoita.training.backends import ListedLayersError, untrained
from escoita.training.defaults import default_values, differences, with_defaults
from tests.conftest import ROOT
from tests.models.samples import write_whisper
from tests.samples import RECIPE


SHORT = """\
name: short
base: {base}
language: gl
method: {{kind: lora, r: 16}}
corpora:
  train: [{{name: clips, path: train.jsonl}}]
  test: [{{name: clips, path: test.jsonl}}]
card: {{title: Short, license: apache-2.0}}
run_dir: {run}
"""


@pytest.fixture
def short(tmp_path: Path) -> Recipe:
    path = tmp_path / "short.yaml"
    path.write_text(SHORT.format(base=ROOT / "quickstart/gemma4", run=tmp_path / "run"), "utf-8")
    return load_recipe(path, search=False)


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(update=changes)


def test_rank_is_enough(short: Recipe) -> None:
    filled = with_defaults(short)
    info = BY_MODEL_TYPE["gemma4"]
    assert isinstance(filled.method, Lora) and filled.method.target_modules == info.target_modules
    assert filled.method.r == 16 and filled.prompt.system and filled.prompt.user
    assert filled.training["learning_rate"] > 0 and filled.training["max_length"] == 8192
    sizes = [filled.training[key] for key in ("per_device_train_batch_size", "gradient_accumulation_steps")]
    assert sizes[0] * sizes[1] == 16
    assert filled.dtype == "float32" and filled.training["bf16"] is False
    assert len(differences(short, filled)) >= 6 and not differences(filled, with_defaults(filled))


def test_given_values_are_kept(short: Recipe) -> None:
    training = {"learning_rate": 2e-4, "per_device_train_batch_size": 2, "bf16": False}
    filled = with_defaults(changed(short, training=training))
    assert {key: filled.training[key] for key in training} == training
    assert "gradient_accumulation_steps" not in filled.training and filled.dtype == "auto"


def test_a_run_keeps_its_values(short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = with_defaults(short)
    run = tmp_path / "run"
    (run / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    first.write(run / "recipe.yaml")
    assert load_recipe(run / "recipe.yaml", search=False).model_dump() == first.model_dump()

    monkeypatch.setattr(defaults, "gpu_gigabytes", lambda text: 80.0)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    assert with_defaults(short).model_dump() == first.model_dump()
    again = with_defaults(short, restart=True)
    assert again.dtype == "bfloat16" and again.training["bf16"] is True


def test_a_run_without_a_value_stays_without_it(short: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    changed(with_defaults(short), training={"max_steps": 4}).write(run / "recipe.yaml")
    assert with_defaults(changed(short, training={"max_steps": 8})).training == {"max_steps": 8}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_has_defaults(family: Any, short: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: False)
    method = Modules(kind="modules") if family.modules else short.method
    values = default_values(changed(short, base=family.bases[0], method=method), family, 24.0)
    assert values.get("method.target_modules") or values["method.modules"]
    assert values["training.learning_rate"] > 0
    assert values.get("training.fp16", False) == family.trains_in_fp16


def test_a_method_that_the_family_has_no_default_for_is_refused(short: Recipe) -> None:
    with pytest.raises(RecipeError) as caught:
        default_values(short, BY_MODEL_TYPE["phi4_multimodal"], None)
    assert caught.value.key == "method.target_modules" and "modules" in str(caught.value.hint)
    with pytest.raises(RecipeError) as caught:
        default_values(changed(short, method=Modules(kind="modules")), BY_MODEL_TYPE["gemma4"], None)
    assert caught.value.key == "method.modules"


def test_smaller_memory_gives_smaller_batches_and_4_bits(short: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    info, base = BY_MODEL_TYPE["gemma4"], changed(short, base="unsloth/gemma-4-E4B-it")
    small, large = (default_values(base, info, gigabytes) for gigabytes in (16.0, 80.0))
    sizes = [values["training.per_device_train_batch_size"] for values in (small, large)]
    assert sizes[0] < sizes[1]
    assert small["load_in_4bit"] and "load_in_4bit" not in large


def listed(tmp_path: Path, names: str, **changes: Any) -> Recipe:
    path = tmp_path / "listed.yaml"
    path.write_text(RECIPE.replace("target_modules: .*_proj", f"target_modules: {names}"), "utf-8")
    return changed(load_recipe(path, search=False), base=str(ROOT / "quickstart/gemma4"), **changes)


def test_a_list_that_reaches_what_it_says_is_accepted(tmp_path: Path) -> None:
    recipe = listed(tmp_path, "[gate_proj, up_proj]")
    assert isinstance(recipe.method, Lora) and recipe.method.target_modules == rf"{LISTED}(gate_proj|up_proj)"
    targets = untrained(recipe).base_model.targeted_module_names
    assert targets and {name.rpartition(".")[2] for name in targets} == {"gate_proj", "up_proj"}
    written = tmp_path / "written.yaml"
    recipe.write(written)
    assert load_recipe(written, search=False) == recipe


@pytest.mark.parametrize(
    "names, concerned, changes",
    [
        ("[gate_proj, c_attn]", ("c_attn",), {}),
        ("[gate_proj, q_proj]", ("q_proj",), {}),
        ("[gate_proj]", ("gate_proj",), {"engine": "unsloth"}),
    ],
)
def test_another_list_is_refused_with_the_expression(
    tmp_path: Path, names: str, concerned: tuple[str, ...], changes: dict[str, Any]
) -> None:
    with pytest.raises(ListedLayersError) as caught:
        untrained(listed(tmp_path, names, **changes))
    assert caught.value.names == concerned and caught.value.key == "method.target_modules"
    assert BY_MODEL_TYPE["gemma4"].target_modules in str(caught.value.hint)


def test_the_token_limit_of_whisper_is_that_of_its_decoder(short: Recipe, tmp_path: Path) -> None:
    base = write_whisper(tmp_path / "whisper", positions=64)
    assert with_defaults(changed(short, base=base)).eval.max_new_tokens == 60
    assert with_defaults(short).eval.max_new_tokens == 256
