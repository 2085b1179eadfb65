"""Skip lists of bases in 4 bits, in every spelling, and layers that were loaded otherwise than they were stored."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from hypothesis import given
from hypothesis import strategies as st

from escoita.errors import EscoitaError
from escoita.models import family_of
from escoita.models.loading import (
    any_spelling,
    check_four_bit,
    default_skip_list,
    is_quantized,
    skip_list,
    with_any_prefix,
)
from tests.models.test_loading import BASE, kinds
from tests.models.test_loading import stored as stored  # a fixture


EXPECTED = {("language", "Linear4bit"): 21, ("language", "Linear"): 1, ("audio", "Linear"): 47}
AUDIO = "model.audio_tower.layers.0.feed_forward1.ffw_layer_1.linear"
SPELLINGS = {
    "as saved": None,
    "plain": ["lm_head", "audio_tower", "embed_audio", "vision_tower", "embed_vision"],
    "with model.": ["lm_head", "model.audio_tower", "model.embed_audio"],
    "expression": ["lm_head", r".*audio_tower.*", r"model\.embed_audio"],
}


def respelled(stored: Path, folder: Path, names: list[str] | None) -> str:
    """The base in 4 bits with another skip list in its configuration."""
    shutil.copytree(stored, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if names is not None:
        config["quantization_config"]["llm_int8_skip_modules"] = names
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("names", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_of_a_skip_list_means_the_same(stored: Path, tmp_path: Path, names: list[str] | None) -> None:
    base = respelled(stored, tmp_path / "base", names)
    model = family_of(base).load_model(base, dtype="float32", load_in_4bit=True)
    assert kinds(model) == EXPECTED
    layers = [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    assert all(layer.weight.quant_state is not None for layer in layers)


def test_a_skip_list_that_leaves_out_stored_layers_is_refused_with_the_layer(stored: Path, tmp_path: Path) -> None:
    base = respelled(stored, tmp_path / "base", ["lm_head", "embed_audio"])
    with pytest.raises(EscoitaError, match=rf"^model {base}: the layer model\.audio_tower\.\S+ is stored in 16 bits"):
        family_of(base).load_model(base, dtype="float32", load_in_4bit=True)


def test_a_base_whose_audio_tower_is_in_4_bits_is_refused_with_the_layer(tmp_path: Path) -> None:
    from transformers import AutoModelForMultimodalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["lm_head"])
    whole = AutoModelForMultimodalLM.from_pretrained(BASE, quantization_config=config)
    whole.save_pretrained(tmp_path / "base")
    base = str(tmp_path / "base")
    with pytest.raises(EscoitaError, match=r"the layer model\.(audio_tower|embed_audio)\S+ is in 4 bits; only the"):
        family_of(base).load_model(base, dtype="float32", load_in_4bit=True)


def test_a_model_without_layers_in_4_bits_is_refused() -> None:
    with pytest.raises(EscoitaError, match="no linear layer is in 4 bits"):
        check_four_bit("there", torch.nn.Linear(2, 2), [])


def test_the_estimate_of_doctor_counts_the_layers_that_the_loader_quantizes() -> None:
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


def test_a_name_matches_whole_parts_of_a_path() -> None:
    skipped = with_any_prefix(["mlp.gate", "lm_head"])
    assert not is_quantized("model.layers.0.mlp.gate", skipped) and is_quantized(
        "model.layers.0.mlp.gate_proj", skipped
    )
    assert not is_quantized("lm_head", skipped)
    # Transformers 5.17 compares expressions without the end of a part.
    assert not any(re.match(each, "model.layers.0.mlp.gate_proj") for each in skipped)


@given(st.lists(st.from_regex(r"(model\.)?[a-z_]{1,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True), max_size=4))
def test_spelling_out_twice_changes_nothing(names: list[str]) -> None:
    once = with_any_prefix(names)
    assert with_any_prefix(once) == once and set(names) <= set(once)


def test_the_list_of_a_base_in_16_bits_is_our_own() -> None:
    whole = family_of(BASE).whole_in_4bit
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
