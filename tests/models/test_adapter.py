"""Adapters of both kinds on tiny bases: what is saved, and that it comes back as it was."""

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
from escoita.models.adapters import merged
from escoita.models.phi4 import Phi4Family
from escoita.records.training import Prompt
from escoita.training.callbacks import save_weights
from tests.models.phi4_samples import noise, write_phi4


FAMILY = Phi4Family()
ENDINGS = ["audio_embed.encoder", "audio_embed.up_proj_for_speech", "audio_embed.down_proj_for_speech"]
SETTINGS: dict[str, dict[str, Any]] = {
    "modules": {"target_modules": "dummy-target-modules", "modules_to_save": ENDINGS},
    "lora": {"target_modules": r".*\.layers\.\d+\.self_attn\.(qkv|o)_proj|.*audio_embed\.encoder\..*\.[qv]_proj"},
}


@pytest.fixture(autouse=True)
def one_way_to_compute() -> Any:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_phi4(tmp_path_factory.mktemp("phi4") / "base"))


@pytest.fixture(scope="module")
def inputs(base: Path) -> dict[str, torch.Tensor]:
    processor = FAMILY.load_processor(str(base))
    return FAMILY.encode(processor, [noise(1.0), noise(0.4, 1)], Prompt(user="Escoita."))


@pytest.fixture(scope="module", params=["modules", "lora"])
def trained(request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model whose adapter was moved as by training, and the folder that it was saved into."""
    torch.manual_seed(0)
    model = get_peft_model(
        FAMILY.load_model(str(base)), LoraConfig(r=2, task_type="CAUSAL_LM", **SETTINGS[request.param])
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    folder = tmp_path_factory.mktemp("adapter") / request.param
    save_weights(model, folder)
    return model.eval(), folder


def logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        found, again = (model.eval()(**inputs).logits for _ in range(2))
    assert torch.equal(found, again)
    return found


def copied(folder: Path, out: Path) -> dict[str, torch.Tensor]:
    """Copies an adapter, and gives its weights."""
    shutil.copytree(folder, out)
    return load_file(folder / "adapter_model.safetensors")


def test_only_what_was_trained_is_saved(trained: tuple[Any, Path]) -> None:
    model, folder = trained
    saved = load_file(folder / "adapter_model.safetensors")
    moved = {
        name.replace(".modules_to_save.default", "").replace(".default", ""): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    beside = saved.keys() - moved.keys()
    assert not moved.keys() - saved.keys()
    assert all(name.endswith(("global_mean", "global_invstd")) for name in beside)  # buffers of a trained module
    assert all(torch.equal(saved[name], parameter) for name, parameter in moved.items())
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_plain_peft_loads_it_and_hears_the_same(
    trained: tuple[Any, Path], base: Path, inputs: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """On the base that Transformers alone loads, its speech LoRA merged; one row, as it hears padding."""
    model, folder = trained
    FAMILY.load_model(str(base)).save_pretrained(tmp_path)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path), folder)
    alone = {key: value[:1] for key, value in inputs.items()}
    assert torch.equal(logits(plain, alone), logits(model, alone))
    with plain.disable_adapter():
        assert not torch.equal(logits(plain, alone), logits(model, alone))


def test_merged_into_the_base(trained: tuple[Any, Path], base: Path, inputs: dict[str, torch.Tensor]) -> None:
    model, folder = trained
    found = merged(FAMILY.load_model(str(base)), str(folder))
    assert type(found).__name__ == "Phi4MultimodalForCausalLM"
    assert not any("modules_to_save" in name or "lora" in name for name, _ in found.named_parameters())
    expected = logits(model, inputs)
    if folder.name == "modules":
        assert torch.equal(logits(found, inputs), expected)
    else:
        torch.testing.assert_close(logits(found, inputs), expected, rtol=0, atol=1e-5)


def test_a_base_in_half_precision_stays_in_it(trained: tuple[Any, Path], base: Path) -> None:
    found = merged(FAMILY.load_model(str(base), dtype="float16"), str(trained[1]))
    assert {parameter.dtype for parameter in found.parameters()} == {torch.float16}


def test_into_a_base_in_4_bits_it_is_not_merged(
    trained: tuple[Any, Path], base: Path, inputs: dict[str, torch.Tensor]
) -> None:
    model, folder = trained
    quantised = FAMILY.load_model(str(base))
    quantised.is_loaded_in_4bit = True
    found = merged(quantised, str(folder))
    assert isinstance(found, PeftModel) and not found.training
    assert (found.dtype, found.device) == (torch.float32, torch.device("cpu"))  # which the Transcriber asks
    assert torch.equal(logits(found, inputs), logits(model, inputs))


def test_weights_without_a_place_are_counted(trained: tuple[Any, Path], base: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    weights = copied(trained[1], spoilt)
    save_file(weights | {"base_model.model.model.odd.weight": torch.ones(2)}, spoilt / "adapter_model.safetensors")
    with pytest.raises(EscoitaError, match=r"does not fit this base \(1 missing or unexpected weights\)$"):
        merged(FAMILY.load_model(str(base)), str(spoilt))


def test_weights_that_are_missing_are_found(trained: tuple[Any, Path], base: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    weights = copied(trained[1], spoilt)
    del weights[min(weights)]
    save_file(weights, spoilt / "adapter_model.safetensors")
    with pytest.raises(EscoitaError, match=r"does not fit this base \(.* (is missing|no such tensor)"):
        merged(FAMILY.load_model(str(base)), str(spoilt))


def test_modules_that_the_base_has_not(trained: tuple[Any, Path], base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    copied(trained[1], folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    key = "modules_to_save" if trained[1].name == "modules" else "target_modules"
    config[key] = ["nothing_such"]
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(EscoitaError, match="other: does not fit this base"):
        merged(FAMILY.load_model(str(base)), str(folder))


@pytest.mark.parametrize("with_embeddings", [False, True])
def test_an_adapter_on_the_layer_that_makes_logits(
    base: Path, inputs: dict[str, torch.Tensor], tmp_path: Path, with_embeddings: bool
) -> None:
    """Beside which PEFT saves the base's own embeddings, unless told."""
    settings = LoraConfig(r=2, target_modules=r".*\.o_proj|lm_head", init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(FAMILY.load_model(str(base)), settings)
    if with_embeddings:
        model.save_pretrained(tmp_path / "adapter")
    else:
        save_weights(model, tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert any("lm_head.base_layer" in name for name in saved) == with_embeddings
    found = merged(FAMILY.load_model(str(base)), str(tmp_path / "adapter"))
    assert isinstance(found, PeftModel)  # merged, it would change the embeddings that are the same weight
    assert torch.equal(logits(found, inputs), logits(model, inputs))


def test_an_adapter_in_a_pickle_is_not_read(
    trained: tuple[Any, Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pickled"
    torch.save(copied(trained[1], folder), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    monkeypatch.setattr("peft.utils.save_and_load.torch_load", lambda *_, **__: pytest.fail("a pickle was read"))
    with pytest.raises(EscoitaError, match="pickled: holds no adapter_model.safetensors$"):
        merged(FAMILY.load_model(str(base)), str(folder))
