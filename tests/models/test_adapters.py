"""Switched on, each adapter does what it does with plain PEFT; switched off, the base is what it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from escoita.errors import EscoitaError
from escoita.models import adapters as module
from escoita.models import family_of
from escoita.models.adapters import Adapters, merged, modules_of
from escoita.records.training import AdapterRecord, Prompt
from tests.adapter_samples import GEMMA4_LORA, PHI4_LORA, PHI4_MODULES, write_adapter
from tests.samples import tone


SPOKEN = AdapterRecord(language="gl", prompt=Prompt(user="Listen."))
# Of Phi-4, one stands within modules that the other replaces.
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "quickstart/gemma4": {"one": GEMMA4_LORA, "two": {"target_modules": r".*\.(o_proj|output_proj)"}},
    "quickstart/phi4": {"modules": PHI4_MODULES, "lora": PHI4_LORA, "other": PHI4_MODULES},
}


@pytest.fixture(scope="module", params=list(SETTINGS))
def base(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def sources(base: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: write_adapter(base, folder / name, SPOKEN, seed, **settings)
        for seed, (name, settings) in enumerate(SETTINGS[base].items())
    }


@pytest.fixture(scope="module")
def inputs(base: str) -> dict[str, torch.Tensor]:
    family = family_of(base)
    return family.encode(family.load_processor(base), [tone(seconds=0.8), tone(300, 0.5)], SPOKEN.prompt)


def load(base: str) -> Any:
    return family_of(base).load_model(base, dtype="float32").eval()


def logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return model(**inputs).logits


def test_in_any_order_each_adapter_hears_as_with_peft_and_the_base_as_before(
    base: str, sources: dict[str, str], inputs: dict[str, torch.Tensor]
) -> None:
    expected = {name: logits(PeftModel.from_pretrained(load(base), path), inputs) for name, path in sources.items()}
    model = load(base)
    alone = logits(model, inputs)
    weights = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    assert all(not torch.equal(found, alone) for found in expected.values())
    adapters = Adapters(model, sources)
    for name in [*sources, None, *reversed(sources), None, *sources]:
        adapters.use(name)
        assert torch.equal(logits(model, inputs), alone if name is None else expected[name])
        assert not model.training
    adapters.use(None)
    after = model.state_dict()
    assert after.keys() == weights.keys() and all(torch.equal(after[name], weights[name]) for name in weights)


def test_merged_it_hears_the_same_but_for_rounding(
    base: str, sources: dict[str, str], inputs: dict[str, torch.Tensor]
) -> None:
    model = load(base)
    adapters = Adapters(model, sources)
    for name, path in sources.items():
        adapters.use(name)
        found = logits(merged(load(base), path), inputs)
        torch.testing.assert_close(logits(model, inputs), found, rtol=1e-4, atol=1e-4)


def test_an_adapter_is_loaded_once_and_not_before_it_is_used(
    base: str, sources: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def noted(model: Any, adapter: str) -> Any:
        loaded.append(adapter)
        return modules_of(model, adapter)

    monkeypatch.setattr(module, "modules_of", noted)
    adapters = Adapters(load(base), sources)
    assert not loaded
    first, second, *_ = sources
    for name in (first, first, None, first, second, first):
        adapters.use(name)
    assert loaded == [sources[first], sources[second]]


def test_none_but_those_of_the_list_are_loaded(base: str, sources: dict[str, str]) -> None:
    first, *_ = sources
    adapters = Adapters(load(base), {first: sources[first]})
    with pytest.raises(EscoitaError, match=f"is not one of {first}$"):
        adapters.use(sources[first])


@pytest.mark.parametrize("spoil", ["odd weight", "missing weight", "other modules", "bias", "init_lora_weights"])
def test_an_adapter_that_is_refused_leaves_the_base_as_it_was(
    base: str, sources: dict[str, str], inputs: dict[str, torch.Tensor], tmp_path: Path, spoil: str
) -> None:
    first, *_ = sources
    spoilt = Path(shutil.copytree(sources[first], tmp_path / "spoilt"))
    weights = load_file(spoilt / "adapter_model.safetensors")
    config = json.loads((spoilt / "adapter_config.json").read_text("utf-8"))
    if spoil == "odd weight":
        weights["base_model.model.model.odd.weight"] = torch.ones(2)
    elif spoil == "missing weight":
        del weights[min(weights)]
    elif spoil in ("bias", "init_lora_weights"):
        config[spoil] = "all" if spoil == "bias" else "pissa"
    else:
        config["modules_to_save" if config["modules_to_save"] else "target_modules"] = ["nothing_such"]
    save_file(weights, spoilt / "adapter_model.safetensors")
    (spoilt / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    model = load(base)
    alone = logits(model, inputs)
    adapters = Adapters(model, {"spoilt": str(spoilt), first: sources[first]})
    adapters.use(first)
    expected = logits(model, inputs)
    with pytest.raises(EscoitaError, match=r"^adapter .*spoilt: "):
        adapters.use("spoilt")
    assert adapters.used is None and torch.equal(logits(model, inputs), alone)
    adapters.use(first)
    assert torch.equal(logits(model, inputs), expected)


@pytest.mark.parametrize("changed", [False, True])
def test_embeddings_beside_an_adapter_must_be_those_of_the_base(
    base: str, inputs: dict[str, torch.Tensor], tmp_path: Path, changed: bool
) -> None:
    """Which PEFT saves where an adapter is on the layer that makes logits, and writes into the base."""
    settings = LoraConfig(r=2, target_modules=r".*\.o_proj|lm_head", init_lora_weights=False, task_type="CAUSAL_LM")
    peft_model = get_peft_model(load(base), settings)
    peft_model.save_pretrained(tmp_path, save_embedding_layers=True)
    path = tmp_path / "adapter_model.safetensors"
    weights = load_file(path)
    (embeddings,) = [name for name in weights if "lm_head.base_layer" in name]
    weights[embeddings] += 1.0 if changed else 0.0
    save_file(weights, path)
    model = load(base)
    alone = logits(model, inputs)
    adapters = Adapters(model, {"head": str(tmp_path)})
    if changed:
        with pytest.raises(EscoitaError, match="changes the base's embeddings, and cannot be switched off$"):
            adapters.use("head")
    else:
        adapters.use("head")
        assert torch.equal(logits(model, inputs), logits(peft_model.eval(), inputs))
        adapters.use(None)
    assert torch.equal(logits(model, inputs), alone)
