"""Test the stored tiny Phi-4-multimodal, and its recipe."""

import math
import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from escoita.models.phi4 import Phi4AudioProcessor, Phi4Family
from escoita.recipe.schema import Modules, Recipe, load_recipe
from tests.quickstart.test_corpus import QUICKSTART, rows, weight


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


def sizes(path: Path) -> dict[str, int]:
    """Return the number of parameters of each tensor of a file."""
    with safe_open(path, "pt") as file:
        return {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def test_the_base_is_small() -> None:
    assert 1_000_000 < weight(BASE) <= 5_000_000


def test_the_card_of_the_base() -> None:
    card = (BASE / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "no product" in card


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


def test_galician_is_tokenized_by_letters(processor: Phi4AudioProcessor) -> None:
    tokenizer = processor.tokenizer
    texts = [row["text"] for split in ("train", "validation", "test") for row in rows("gl", split)]
    for text, ids in zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
        assert len(ids) == len(text)  # no letter is split into bytes
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", ["日本語", "¿Que é isto?", "naïve €", "a  b"])
def test_unknown_letters_are_tokenized_by_bytes(processor: Phi4AudioProcessor, text: str) -> None:
    assert processor.tokenizer.decode(processor.tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_prompt_has_few_tokens(processor: Phi4AudioProcessor, recipe: Recipe) -> None:
    prompt = Phi4Family().render(processor, recipe.prompt)
    assert len(processor.tokenizer(prompt, add_special_tokens=False)["input_ids"]) <= 8


def test_the_recipe_has_the_number_of_trained_parameters(recipe: Recipe) -> None:
    assert isinstance(recipe.method, Modules)
    trained = sum(
        size
        for name, size in sizes(BASE / "model.safetensors").items()
        if any(f".{module}." in name for module in recipe.method.modules)
        and not name.endswith(("global_mean", "global_invstd"))  # measured, not trained
    )
    assert recipe.method.trainable["audio"] == trained
