"""Test the families on models with the sizes of published bases, without weights."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from escoita.models.loading import default_skip_list, is_quantized, skip_list
from escoita.recipe.schema import load_recipe
from escoita.training.sanity_checks import count_trainable
from tests.conftest import ROOT
from tests.models.shapes import UNSLOTH_SKIPS, adapted


CONFORMER = (
    *(f"feed_forward{block}.ffw_layer_{layer}" for block in (1, 2) for layer in (1, 2)),
    *("lconv1d.linear_start", "lconv1d.linear_end", "self_attn.post"),
)
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
WHISPER = ("fc1", "fc2", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj")


def layers(prefix: str, count: int, names: tuple[str, ...], suffix: str = "") -> dict[str, int]:
    return {f"model.{prefix}.N.{name}{suffix}": count for name in names}


def text(count: int) -> dict[str, int]:
    return layers("language_model.layers", count, MLP + ATTENTION)


PROJECTION = {"model.embed_audio.embedding_projection": 1}
TWO_LINEAR = {"model.multi_modal_projector.linear_1": 1, "model.multi_modal_projector.linear_2": 1}
QFORMER = [
    *(f"{block}.attention.{name}" for block in ("attention", "crossattention") for name in ("query", "key", "value")),
    *("attention.output.dense", "crossattention.output.dense", "intermediate_query.dense", "output_query.dense"),
]


@dataclass
class Shape:
    """
    Store the expected shape of a base.

    Args:
        parameters (`int`): The number of parameters of the base.
        published (`float`): The number that the Hub shows, in billions, or that follows from the size of its files.
        trainable (`dict[str, int]`): The trained parameters of each tower.
        quantized (`int`): The number of linear layers in 4 bits, all of the language tower.
        adapted (`dict[str, int]`): The number of layers with LoRA, by their names without numbers.
    """

    parameters: int
    published: float
    trainable: dict[str, int]
    quantized: int
    adapted: dict[str, int]


SHAPES = {
    "gemma-4-E4B-it": Shape(
        7_941_100_832,
        8.0,
        {"audio": 2_707_456, "vision": 0, "language": 17_440_768},
        343,
        layers("audio_tower.layers", 12, CONFORMER, ".linear")
        | {"model.audio_tower.output_proj": 1}
        | PROJECTION
        | text(42)
        # The last 18 layers use the keys and values of earlier layers.
        | layers("language_model.layers", 24, ("self_attn.k_proj", "self_attn.v_proj")),
    ),
    "gemma-4-12B-it": Shape(
        11_959_730_176,
        11.95,  # 23.9 GB in bfloat16
        {"audio": 35_840, "vision": 0, "language": 32_784_384},
        328,
        # The 8 layers with full attention use their keys as values.
        PROJECTION | text(48) | layers("language_model.layers", 40, ("self_attn.v_proj",)),
    ),
    "gemma3n": Shape(
        7_524_390_160,
        7.5,  # 7.85 with the vision tower, which is not loaded
        {"audio": 4_009_984, "vision": 0, "language": 18_595_840},
        467,
        layers(
            "audio_tower.conformer",
            12,
            (
                *(f"ffw_layer_{place}.ffw_layer_{number}" for place in ("start", "end") for number in (1, 2)),
                *("lconv1d.linear_start", "lconv1d.linear_end", "attention.post"),
            ),
        )
        | PROJECTION
        | text(35)
        | layers("language_model.layers", 20, ("self_attn.k_proj", "self_attn.v_proj")),
    ),
    "Phi-4-multimodal-instruct": Shape(
        4_743_988_032,
        4.74,  # 5.57 with the two LoRAs, for speech and for images
        {"audio": 453_827_200, "vision": 0, "language": 0},
        128,
        {},
    ),
    "Qwen2-Audio-7B-Instruct": Shape(
        8_397_094_912,
        8.4,
        {"audio": 5_941_248, "language": 19_988_480},
        224,
        layers("audio_tower.layers", 32, WHISPER) | {"model.multi_modal_projector.linear": 1} | text(32),
    ),
    "qwen3_asr": Shape(
        2_039_626_880,
        2.04,
        {"audio": 3_592_192, "language": 8_716_288},
        196,
        layers("audio_tower.layers", 24, WHISPER) | TWO_LINEAR | text(28),
    ),
    "voxtral": Shape(
        4_676_271_104,
        4.68,
        {"audio": 6_012_928, "language": 13_516_800},
        210,
        layers("audio_tower.layers", 32, WHISPER) | TWO_LINEAR | text(30),
    ),
    "granite-speech-4.1-2b": Shape(
        2_313_141_596,
        2.3,
        {"audio": 3_989_504, "language": 10_158_080},
        280,
        layers(
            "encoder.layers",
            16,
            ("attn.to_q", "attn.to_kv", "attn.to_out", "ff1.up_proj", "ff1.down_proj", "ff2.up_proj", "ff2.down_proj"),
        )
        | {"model.projector.linear": 1}
        | {f"model.projector.qformer.encoder.layer.N.{name}": 2 for name in QFORMER}
        | text(40),
    ),
}


@pytest.fixture(scope="module", params=SHAPES)
def case(request: pytest.FixtureRequest) -> tuple[Shape, Any, Any]:
    family, model = adapted(request.param)
    return SHAPES[request.param], family, model


@pytest.mark.slow
def test_the_base_has_the_published_number_of_parameters(case: tuple[Shape, Any, Any]) -> None:
    shape, _, model = case
    adapters = ("lora_", "modules_to_save.default")
    base = sum(
        weight.numel() for name, weight in model.named_parameters() if not any(each in name for each in adapters)
    )
    assert base == shape.parameters == pytest.approx(shape.published * 1e9, rel=0.01)


def test_the_adapter_trains_exactly_these_layers(case: tuple[Shape, Any, Any]) -> None:
    shape, family, model = case
    assert count_trainable(family, model) == shape.trainable
    names = [] if family.info.modules else model.base_model.targeted_module_names
    assert Counter(re.sub(r"\.\d+\.", ".N.", name) for name in names) == shape.adapted


def test_only_the_language_tower_is_in_4_bits(case: tuple[Shape, Any, Any]) -> None:
    shape, family, model = case
    skipped = default_skip_list(family.unquantized_modules)
    head = model.get_output_embeddings()
    linear = {
        name: is_quantized(name, skipped)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not re.search("lora_|modules_to_save", name) and module is not head
    }
    assert Counter(family.tower_of(name) for name, quantized in linear.items() if quantized) == {
        "language": shape.quantized
    }
    # No linear layer of the language tower stays in 16 bits.
    assert Counter(family.tower_of(name) for name in linear)["language"] == shape.quantized


def test_the_recipes_state_these_numbers() -> None:
    uzbek, galician = (load_recipe(ROOT / f"recipes/{name}.yaml") for name in ("gemma4-uzbek", "phi4-galician"))
    trainable = SHAPES["gemma-4-E4B-it"].trainable
    assert uzbek.method.trainable == {**trainable, "vision": "none"}
    audio = SHAPES["Phi-4-multimodal-instruct"].trainable["audio"]
    assert galician.method.trainable == {"audio": audio, "language": "none", "vision": "none"}


@pytest.mark.parametrize(
    "names",
    [
        UNSLOTH_SKIPS,
        ["lm_head", "model.audio_tower", "model.vision_tower", "model.embed_vision", "model.embed_audio"],
        ["lm_head", "audio_tower", "vision_tower", "embed_vision", "embed_audio"],
    ],
    ids=["as Unsloth writes it", "with a prefix", "without a prefix"],
)
def test_skip_lists_of_stored_bases_keep_the_same_layers(names: list[str]) -> None:
    family, model = adapted("gemma-4-E4B-it")
    skipped = skip_list({"load_in_4bit": True, "llm_int8_skip_modules": names}, ())
    head = model.get_output_embeddings()
    quantized = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lora_" not in name and module is not head
        if is_quantized(name, skipped)
    ]
    assert Counter(family.tower_of(name) for name in quantized) == {"language": 343}
