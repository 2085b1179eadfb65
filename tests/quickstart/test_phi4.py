"""Test the stored tiny Phi-4-multimodal, and its recipe."""

import re

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from escoita.models.phi4 import Phi4AudioProcessor, Phi4Family
from escoita.recipe.schema import Recipe, load_recipe
from tests.quickstart.test_corpus import QUICKSTART


BASE = QUICKSTART / "phi4"
LANGUAGE_LAYER = re.compile(
    r"base_model\.model\.model\.layers\.(\d+)\.(self_attn\.(?:qkv|o)_proj|mlp\.(?:gate_up|down)_proj)\.lora_[AB]\.weight"
)


@pytest.fixture(scope="module")
def processor() -> Phi4AudioProcessor:
    return Phi4Family().load_processor(str(BASE))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(QUICKSTART.parent / "recipes/quickstart-galician.yaml")


@pytest.fixture(scope="module")
def speech_lora() -> dict[str, torch.Tensor]:
    return load_file(BASE / "speech-lora/adapter_model.safetensors")


def test_the_speech_lora_is_only_on_all_language_layers(speech_lora: dict[str, torch.Tensor]) -> None:
    found = [LANGUAGE_LAYER.fullmatch(name) for name in speech_lora]
    assert all(found)
    assert {match.groups() for match in found if match} == {
        (layer, part)
        for layer in "012"
        for part in ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
    }


def test_the_speech_lora_was_trained(speech_lora: dict[str, torch.Tensor]) -> None:
    assert all(tensor.abs().max() > 1e-3 for name, tensor in speech_lora.items() if "lora_B" in name)


def test_plain_peft_loads_the_speech_lora(speech_lora: dict[str, torch.Tensor]) -> None:
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(model, BASE, subfolder="speech-lora")
    loaded = {name.replace(".default", ""): tensor for name, tensor in adapted.named_parameters() if "lora_" in name}
    assert loaded.keys() == speech_lora.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in speech_lora.items())


def test_the_prompt_has_few_tokens(processor: Phi4AudioProcessor, recipe: Recipe) -> None:
    prompt = Phi4Family().render(processor, recipe.prompt)
    assert len(processor.tokenizer(prompt, add_special_tokens=False)["input_ids"]) <= 8
