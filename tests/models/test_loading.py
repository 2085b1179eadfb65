"""Test loading of bases in full precision, and in 4 bits on a CPU."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_of
from escoita.models.gemma4 import Gemma4Family
from escoita.models.loading import (
    any_spelling,
    check_four_bit,
    check_precision,
    default_skip_list,
    in_4bit,
    is_quantized,
    skip_list,
    stored_quantization,
    with_any_prefix,
)
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.run_directory import RunDirectory
from tests.conftest import CORPUS


BASE = "quickstart/gemma4"


def kinds(model: torch.nn.Module) -> Counter[tuple[str, str]]:
    """Count the linear layers by tower and class."""
    family = Gemma4Family()
    return Counter(
        (family.tower_of(name), type(module).__name__)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the base stored in 4 bits."""
    folder = tmp_path_factory.mktemp("stored")
    family = family_of(BASE)
    family.load_model(BASE, dtype="float32", load_in_4bit=True).save_pretrained(folder)
    family.save_processor(family.load_processor(BASE), folder)
    return folder


def test_only_the_language_tower_is_in_4_bits(stored: Path) -> None:
    expected = {("language", "Linear4bit"): 21, ("language", "Linear"): 1, ("audio", "Linear"): 47}
    for base in (BASE, str(stored)):
        model = family_of(base).load_model(base, dtype="float32", load_in_4bit=True)
        assert kinds(model) == expected, base
        assert model.is_loaded_in_4bit and model.device.type == "cpu"
        layer = model.get_submodule("model.language_model.layers.0.mlp.up_proj")
        assert layer.quant_state.quant_type == "nf4" and layer.quant_state.nested
        assert layer.compute_dtype == torch.float32
    assert kinds(family_of(BASE).load_model(BASE))[("language", "Linear")] == 22


@pytest.mark.parametrize(
    "dtype, computed", [("auto", torch.bfloat16), ("float32", torch.float32), ("float16", torch.float16)]
)
def test_computation_uses_the_given_type(dtype: str, computed: torch.dtype) -> None:
    assert in_4bit(dtype, []).bnb_4bit_compute_dtype == computed


def test_other_precision_than_the_stored_one_is_refused(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stored_quantization(BASE) == {}
    with pytest.raises(EscoitaError) as error:
        family_of(str(stored)).load_model(str(stored))
    assert (error.value.key, error.value.value) == ("load_in_4bit", False)
    with pytest.raises(EscoitaError) as error:
        check_precision("user/name", {"quant_method": "gptq"}, True)
    assert (error.value.path, error.value.key, error.value.value) == ("user/name", "load_in_4bit", True)
    check_precision("user/name", {"quant_method": "mxfp4"}, False)
    monkeypatch.setattr("escoita.models.loading.find_spec", lambda name: None)
    with pytest.raises(EscoitaError) as error:
        family_of(BASE).load_model(BASE, load_in_4bit=True)
    assert error.value.key == "load_in_4bit" and "escoita[4bit]" in str(error.value.hint)


@pytest.mark.slow
def test_adapter_trained_in_4_bits_loads_in_4_and_32_bits(short_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    from escoita.training.sft import train

    recipe = short_recipe("load_in_4bit=true")
    record = train(recipe)
    assert isinstance(record, TrainingRecord) and record.load_in_4bit and record.steps == 4
    assert sum(record.trainable_parameters.values()) == 159_104
    adapter = RunDirectory(recipe.run_path).adapter
    settings = json.loads((adapter / "escoita.json").read_text("utf-8"))
    assert settings["load_in_4bit"] is True

    in_4: Any = Transcriber.load(BASE, str(adapter), dtype="float32")
    # Rounded to 4 bits again, the sum of base and adapter would be another model.
    assert kinds(in_4.model)[("language", "Linear4bit")] == 21 and type(in_4.model).__name__.startswith("PeftModel")
    elsewhere = shutil.copytree(adapter, tmp_path / "adapter")
    AdapterRecord.model_validate(settings | {"load_in_4bit": False}).write(elsewhere / "escoita.json")
    in_32 = Transcriber.load(BASE, str(elsewhere), dtype="float32")
    clip = CORPUS / "test/0001.ogg"
    assert in_4.transcribe_file(clip).text and in_32.transcribe_file(clip).text


def without(folder: Path, dropped: str) -> str:
    """Copy the base without a tensor."""
    shutil.copytree(BASE, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: each for name, each in weights.items() if name != dropped},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    assert len(load_file(folder / "model.safetensors")) == len(weights) - 1
    return str(folder)


@pytest.mark.parametrize("load_in_4bit", [False, True])
def test_missing_weight_is_refused(tmp_path: Path, load_in_4bit: bool) -> None:
    lost = "model.language_model.layers.0.mlp.up_proj.weight"
    base = without(tmp_path / "base", lost)
    with pytest.raises(EscoitaError) as error:
        family_of(base).load_model(base, load_in_4bit=load_in_4bit)
    assert (error.value.path, error.value.key) == (base, lost)


def test_tied_weights_and_buffers_may_be_missing(tmp_path: Path) -> None:
    names = load_file(Path(BASE) / "model.safetensors").keys()
    model = family_of(BASE).load_model(BASE)
    assert (
        "lm_head.weight" not in names
        and dict(model.named_parameters(remove_duplicate=False))["lm_head.weight"] is not None
    )
    buffer = next(name for name, _ in model.named_buffers() if name in names)
    base = without(tmp_path / "base", buffer)
    family_of(base).load_model(base)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize("content", [POINTER.encode(), b"\xff" * 100, b""], ids=["pointer", "invalid", "empty"])
def test_invalid_weight_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    base = shutil.copytree(BASE, tmp_path / "base")
    (base / "model.safetensors").write_bytes(content)
    with pytest.raises(EscoitaError) as error:
        family_of(str(base)).load_model(str(base))
    assert error.value.path == f"{base}/model.safetensors" and "\n" not in str(error.value)


def test_adapter_next_to_the_weights_of_a_base_is_refused(tmp_path: Path) -> None:
    """Transformers would load it, and use the base that it names."""
    base = shutil.copytree(BASE, tmp_path / "base")
    (base / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "acme/evil"})
    )
    with pytest.raises(EscoitaError) as error:
        family_of(str(base)).load_model(str(base))
    assert error.value.path == base / "adapter_config.json"


EXPECTED = {("language", "Linear4bit"): 21, ("language", "Linear"): 1, ("audio", "Linear"): 47}
AUDIO = "model.audio_tower.layers.0.feed_forward1.ffw_layer_1.linear"
SPELLINGS = {
    "as saved": None,
    "plain": ["lm_head", "audio_tower", "embed_audio", "vision_tower", "embed_vision"],
    "with model.": ["lm_head", "model.audio_tower", "model.embed_audio"],
    "expression": ["lm_head", r".*audio_tower.*", r"model\.embed_audio"],
}


def respelled(stored: Path, folder: Path, names: list[str] | None) -> str:
    """Copy the base in 4 bits with another skip list in its configuration."""
    shutil.copytree(stored, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if names is not None:
        config["quantization_config"]["llm_int8_skip_modules"] = names
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("names", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_prefixes_in_a_skip_list_are_optional(stored: Path, tmp_path: Path, names: list[str] | None) -> None:
    base = respelled(stored, tmp_path / "base", names)
    model = family_of(base).load_model(base, dtype="float32", load_in_4bit=True)
    assert kinds(model) == EXPECTED
    layers = [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    assert all(layer.weight.quant_state is not None for layer in layers)


def test_incomplete_skip_list_is_refused(stored: Path, tmp_path: Path) -> None:
    base = respelled(stored, tmp_path / "base", ["lm_head", "embed_audio"])
    with pytest.raises(EscoitaError) as error:
        family_of(base).load_model(base, dtype="float32", load_in_4bit=True)
    assert error.value.path == base and str(error.value.key).startswith("model.audio_tower.")


def test_audio_tower_in_4_bits_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModelForMultimodalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["lm_head"])
    whole = AutoModelForMultimodalLM.from_pretrained(BASE, quantization_config=config)
    whole.save_pretrained(tmp_path / "base")
    base = str(tmp_path / "base")
    with pytest.raises(EscoitaError) as error:
        family_of(base).load_model(base, dtype="float32", load_in_4bit=True)
    assert error.value.path == base and str(error.value.key).startswith(("model.audio_tower.", "model.embed_audio."))


def test_model_without_layers_in_4_bits_is_refused() -> None:
    with pytest.raises(EscoitaError) as error:
        check_four_bit("user/name", torch.nn.Linear(2, 2), [])
    assert (error.value.path, error.value.key) == ("user/name", "load_in_4bit")


def test_memory_estimate_counts_the_quantized_layers() -> None:
    from escoita.recipe.schema import load_recipe
    from escoita.training.backends import untrained
    from escoita.training.preflight.memory import _linear
    from escoita.training.preflight.model import _load
    from tests.conftest import ROOT

    recipe = load_recipe(ROOT / "recipes/quickstart-uzbek.yaml", ["load_in_4bit=true"])
    model = untrained(recipe)
    inputs = {"input_ids": torch.zeros(1, 4, dtype=torch.long), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    load, _ = _load(recipe, model, inputs | {"labels": inputs["input_ids"]})
    counted = {id(weight) for weight in _linear(model, load.skipped, model.get_output_embeddings())}
    names = {
        name.removeprefix("base_model.model.").replace(".base_layer", "").removesuffix(".weight")
        for name, weight in model.named_parameters()
        if id(weight) in counted and not weight.requires_grad
    }
    loaded = family_of(BASE).load_model(BASE, dtype="float32", load_in_4bit=True)
    assert names == {name for name, layer in loaded.named_modules() if isinstance(layer, Linear4bit)}


@pytest.mark.parametrize(
    "spelling", ["audio_tower", "model.audio_tower", "model.audio_tower.layers", r".*(?:audio_tower|embed_audio)[^.]*"]
)
def test_an_estimate_and_the_loader_skip_the_same(spelling: str) -> None:
    skipped = with_any_prefix([spelling])
    assert not is_quantized(AUDIO, skipped) and is_quantized("model.language_model.layers.0.mlp.up_proj", skipped)
    assert not is_quantized(f"base_model.model.{AUDIO}.base_layer", skipped)


def test_a_name_matches_complete_parts_of_a_path() -> None:
    skipped = with_any_prefix(["mlp.gate", "lm_head"])
    assert not is_quantized("model.layers.0.mlp.gate", skipped) and is_quantized(
        "model.layers.0.mlp.gate_proj", skipped
    )
    assert not is_quantized("lm_head", skipped)
    # Transformers 5.17 compares expressions without the end of a part.
    assert not any(re.match(each, "model.layers.0.mlp.gate_proj") for each in skipped)


@given(st.lists(st.from_regex(r"(model\.)?[a-z_]{1,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True), max_size=4))
def test_expanding_a_list_twice_equals_expanding_it_once(names: list[str]) -> None:
    once = with_any_prefix(names)
    assert with_any_prefix(once) == once and set(names) <= set(once)


def test_a_base_in_16_bits_gets_the_default_list() -> None:
    whole = family_of(BASE).unquantized_modules
    assert skip_list({}, whole) == with_any_prefix(default_skip_list(whole))
    assert skip_list({"load_in_4bit": True}, whole) == []
    assert not is_quantized(AUDIO, skip_list({}, whole))


def test_the_library_is_as_before_afterwards() -> None:
    from transformers.quantizers.base import HfQuantizer

    before: Any = HfQuantizer.get_modules_to_not_convert
    with pytest.raises(KeyError), any_spelling():
        assert HfQuantizer.get_modules_to_not_convert is not before
        raise KeyError
    assert HfQuantizer.get_modules_to_not_convert is before
