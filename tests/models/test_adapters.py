"""Test loading, merging and switching adapters, compared with plain PEFT."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from escoita.errors import EscoitaError
from escoita.models import adapters as module
from escoita.models import family_of
from escoita.models.adapters import Adapters, merged, modules_of
from escoita.models.errors import IncompatibleAdapterError
from escoita.models.phi4 import Phi4Family
from escoita.records.training import AdapterRecord, Prompt
from escoita.training.callbacks import save_weights
from tests.adapter_samples import GEMMA4_LORA, PHI4_LORA, PHI4_MODULES, write_adapter
from tests.models.phi4_samples import noise, write_phi4
from tests.samples import tone


RECORD = AdapterRecord(language="gl", prompt=Prompt(user="Listen."))
# One adapter of Phi-4 is in modules that the other one replaces.
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
        name: write_adapter(base, folder / name, RECORD, seed, **settings)
        for seed, (name, settings) in enumerate(SETTINGS[base].items())
    }


@pytest.fixture(scope="module")
def inputs(base: str) -> dict[str, torch.Tensor]:
    family = family_of(base)
    return family.encode(family.load_processor(base), [tone(seconds=0.8), tone(300, 0.5)], RECORD.prompt)


def load(base: str) -> Any:
    return family_of(base).load_model(base, dtype="float32").eval()


def logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return model(**inputs).logits


def test_switching_gives_the_same_logits_as_peft(
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


def test_merged_adapter_gives_the_same_logits_up_to_rounding(
    base: str, sources: dict[str, str], inputs: dict[str, torch.Tensor]
) -> None:
    model = load(base)
    adapters = Adapters(model, sources)
    for name, path in sources.items():
        adapters.use(name)
        found = logits(merged(load(base), path), inputs)
        torch.testing.assert_close(logits(model, inputs), found, rtol=1e-4, atol=1e-4)


def test_adapter_is_loaded_once_at_its_first_use(
    base: str, sources: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def recorded(model: Any, adapter: str) -> Any:
        loaded.append(adapter)
        return modules_of(model, adapter)

    monkeypatch.setattr(module, "modules_of", recorded)
    adapters = Adapters(load(base), sources)
    assert not loaded
    first, second, *_ = sources
    for name in (first, first, None, first, second, first):
        adapters.use(name)
    assert loaded == [sources[first], sources[second]]


def test_unknown_adapter_is_refused(base: str, sources: dict[str, str]) -> None:
    first, *_ = sources
    adapters = Adapters(load(base), {first: sources[first]})
    with pytest.raises(EscoitaError) as error:
        adapters.use(sources[first])
    assert (error.value.key, error.value.value) == ("adapter", sources[first])


@pytest.mark.parametrize("spoil", ["odd weight", "missing weight", "other modules", "bias", "init_lora_weights"])
def test_refused_adapter_does_not_change_the_base(
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
    with pytest.raises(EscoitaError) as error:
        adapters.use("spoilt")
    assert str(error.value.path).startswith(str(spoilt))
    assert adapters.used is None and torch.equal(logits(model, inputs), alone)
    adapters.use(first)
    assert torch.equal(logits(model, inputs), expected)


@pytest.mark.parametrize("changed", [False, True])
def test_changed_embeddings_are_refused(
    base: str, inputs: dict[str, torch.Tensor], tmp_path: Path, changed: bool
) -> None:
    """PEFT saves them with an adapter on the output layer, and writes them into the base."""
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
        with pytest.raises(EscoitaError) as error:
            adapters.use("head")
        assert (error.value.path, error.value.key) == (str(tmp_path), embeddings)
    else:
        adapters.use("head")
        assert torch.equal(logits(model, inputs), logits(peft_model.eval(), inputs))
        adapters.use(None)
    assert torch.equal(logits(model, inputs), alone)


PHI4 = Phi4Family()
ENDINGS = ["audio_embed.encoder", "audio_embed.up_proj_for_speech", "audio_embed.down_proj_for_speech"]
PHI4_SETTINGS: dict[str, dict[str, Any]] = {
    "modules": {"target_modules": "dummy-target-modules", "modules_to_save": ENDINGS},
    "lora": {"target_modules": r".*\.layers\.\d+\.self_attn\.(qkv|o)_proj|.*audio_embed\.encoder\..*\.[qv]_proj"},
}


@pytest.fixture(autouse=True)
def deterministic_algorithms() -> Any:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def phi4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_phi4(tmp_path_factory.mktemp("phi4") / "base"))


@pytest.fixture(scope="module")
def phi4_inputs(phi4: Path) -> dict[str, torch.Tensor]:
    processor = PHI4.load_processor(str(phi4))
    return PHI4.encode(processor, [noise(1.0), noise(0.4, 1)], Prompt(user="Escoita."))


@pytest.fixture(scope="module", params=["modules", "lora"])
def trained(request: pytest.FixtureRequest, phi4: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return a model with a changed adapter, and the folder that it was saved into."""
    torch.manual_seed(0)
    model = get_peft_model(
        PHI4.load_model(str(phi4)), LoraConfig(r=2, task_type="CAUSAL_LM", **PHI4_SETTINGS[request.param])
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    folder = tmp_path_factory.mktemp("adapter") / request.param
    save_weights(model, folder)
    return model.eval(), folder


def equal_logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        found, again = (model.eval()(**inputs).logits for _ in range(2))
    assert torch.equal(found, again)
    return found


def copied(folder: Path, out: Path) -> dict[str, torch.Tensor]:
    """Copy an adapter, and return its weights."""
    shutil.copytree(folder, out)
    return load_file(folder / "adapter_model.safetensors")


def test_only_trained_weights_are_saved(trained: tuple[Any, Path]) -> None:
    model, folder = trained
    saved = load_file(folder / "adapter_model.safetensors")
    moved = {
        name.replace(".modules_to_save.default", "").replace(".default", ""): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    additional = saved.keys() - moved.keys()
    assert not moved.keys() - saved.keys()
    assert all(name.endswith(("global_mean", "global_invstd")) for name in additional)  # buffers of a trained module
    assert all(torch.equal(saved[name], parameter) for name, parameter in moved.items())
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_plain_peft_gives_the_same_logits(
    trained: tuple[Any, Path], phi4: Path, phi4_inputs: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Use one row on the base of Transformers with a merged speech LoRA, because its encoder processes padding."""
    model, folder = trained
    PHI4.load_model(str(phi4)).save_pretrained(tmp_path)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path), folder)
    alone = {key: value[:1] for key, value in phi4_inputs.items()}
    assert torch.equal(equal_logits(plain, alone), equal_logits(model, alone))
    with plain.disable_adapter():
        assert not torch.equal(equal_logits(plain, alone), equal_logits(model, alone))


def test_merged_model_is_plain(trained: tuple[Any, Path], phi4: Path, phi4_inputs: dict[str, torch.Tensor]) -> None:
    model, folder = trained
    found = merged(PHI4.load_model(str(phi4)), str(folder))
    assert type(found).__name__ == "Phi4MultimodalForCausalLM"
    assert not any("modules_to_save" in name or "lora" in name for name, _ in found.named_parameters())
    expected = equal_logits(model, phi4_inputs)
    if folder.name == "modules":
        assert torch.equal(equal_logits(found, phi4_inputs), expected)
    else:
        torch.testing.assert_close(equal_logits(found, phi4_inputs), expected, rtol=0, atol=1e-5)


def test_merging_keeps_half_precision(trained: tuple[Any, Path], phi4: Path) -> None:
    found = merged(PHI4.load_model(str(phi4), dtype="float16"), str(trained[1]))
    assert {parameter.dtype for parameter in found.parameters()} == {torch.float16}


def test_adapter_is_not_merged_in_4_bits(
    trained: tuple[Any, Path], phi4: Path, phi4_inputs: dict[str, torch.Tensor]
) -> None:
    model, folder = trained
    quantized = PHI4.load_model(str(phi4))
    quantized.is_loaded_in_4bit = True
    found = merged(quantized, str(folder))
    assert isinstance(found, PeftModel) and not found.training
    assert (found.dtype, found.device) == (torch.float32, torch.device("cpu"))  # which the Transcriber calls
    assert torch.equal(equal_logits(found, phi4_inputs), equal_logits(model, phi4_inputs))


def test_unexpected_weight_is_refused(trained: tuple[Any, Path], phi4: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    weights = copied(trained[1], spoilt)
    save_file(weights | {"base_model.model.model.odd.weight": torch.ones(2)}, spoilt / "adapter_model.safetensors")
    with pytest.raises(IncompatibleAdapterError):
        merged(PHI4.load_model(str(phi4)), str(spoilt))


def test_missing_weight_is_refused(trained: tuple[Any, Path], phi4: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    weights = copied(trained[1], spoilt)
    del weights[min(weights)]
    save_file(weights, spoilt / "adapter_model.safetensors")
    with pytest.raises(IncompatibleAdapterError):
        merged(PHI4.load_model(str(phi4)), str(spoilt))


def test_missing_module_is_refused(trained: tuple[Any, Path], phi4: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    copied(trained[1], folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    key = "modules_to_save" if trained[1].name == "modules" else "target_modules"
    config[key] = ["nothing_such"]
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(IncompatibleAdapterError):
        merged(PHI4.load_model(str(phi4)), str(folder))


@pytest.mark.parametrize("with_embeddings", [False, True])
def test_adapter_on_tied_output_layer_is_not_merged(
    phi4: Path, phi4_inputs: dict[str, torch.Tensor], tmp_path: Path, with_embeddings: bool
) -> None:
    """PEFT saves the embeddings of the base with such an adapter by default."""
    settings = LoraConfig(r=2, target_modules=r".*\.o_proj|lm_head", init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(PHI4.load_model(str(phi4)), settings)
    if with_embeddings:
        model.save_pretrained(tmp_path / "adapter")
    else:
        save_weights(model, tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert any("lm_head.base_layer" in name for name in saved) == with_embeddings
    found = merged(PHI4.load_model(str(phi4)), str(tmp_path / "adapter"))
    assert isinstance(found, PeftModel)  # merged, it would change the embeddings that are the same weight
    assert torch.equal(equal_logits(found, phi4_inputs), equal_logits(model, phi4_inputs))


def test_pickled_adapter_is_not_read(
    trained: tuple[Any, Path], phi4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pickled"
    torch.save(copied(trained[1], folder), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    monkeypatch.setattr("peft.utils.save_and_load.torch_load", lambda *_, **__: pytest.fail("a pickle was read"))
    with pytest.raises(EscoitaError):
        merged(PHI4.load_model(str(phi4)), str(folder))
