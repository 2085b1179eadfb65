"""The published layout against the native one, which is written out in the samples the other way round."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import Phi4MultimodalForCausalLM

from escoita.errors import EscoitaError
from escoita.models import family_of
from escoita.models import phi4_checkpoint as phi4_layout
from escoita.models.phi4 import Phi4Family
from escoita.models.phi4_checkpoint import native_config
from escoita.recipe.schema import load_recipe
from escoita.records.training import Prompt
from tests.conftest import ROOT
from tests.models.phi4_samples import OLD_CONFIG, VISION, noise, write_old


FAMILY = Phi4Family()
PROMPT = Prompt(user="<|audio_1|> Transcribe the clip.")


@pytest.fixture(autouse=True)
def tiny_vision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phi4_layout, "VISION", VISION)


@pytest.fixture
def old(phi4_base: Path, tmp_path: Path) -> Path:
    return Path(write_old(tmp_path / "old", phi4_base))


def logits(base: Path) -> torch.Tensor:
    processor, model = FAMILY.load_processor(str(base)), FAMILY.load_model(str(base)).eval()
    return model(**FAMILY.encode(processor, [noise(1.0), noise(0.5, 1)], PROMPT)).logits


def test_both_layouts_are_one_model(phi4_base: Path, old: Path) -> None:
    assert isinstance(family_of(str(old)), Phi4Family)
    native, converted = FAMILY.load_model(str(phi4_base)), FAMILY.load_model(str(old))
    expected, found = native.state_dict(), converted.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert type(converted) is type(native)
    assert converted.generation_config.eos_token_id == native.generation_config.eos_token_id
    assert torch.equal(logits(old), logits(phi4_base))


def test_both_processors_say_the_same(phi4_base: Path, old: Path) -> None:
    clips = [noise(1.0), noise(0.5, 1)]
    expected, found = (FAMILY.encode(FAMILY.load_processor(str(base)), clips, PROMPT) for base in (phi4_base, old))
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


def test_the_configuration_is_the_native_one(phi4_base: Path, old: Path) -> None:
    native, found = FAMILY.load_model(str(phi4_base)).config, FAMILY.load_model(str(old)).config
    for section in ("audio_config", "vision_config"):
        assert getattr(found, section).to_dict() == getattr(native, section).to_dict() | {"dtype": "float32"}
    assert found.rope_parameters == native.rope_parameters | {"type": "longrope"}
    for name in ("hidden_size", "vocab_size", "sliding_window", "tie_word_embeddings", "dtype"):
        assert getattr(found, name) == getattr(native, name)


def test_it_is_saved_in_the_native_layout(phi4_base: Path, old: Path, tmp_path: Path) -> None:
    FAMILY.load_model(str(old)).save_pretrained(tmp_path / "saved")
    with safe_open(tmp_path / "saved/model.safetensors", "pt") as saved:
        assert set(saved.keys()) == set(load_file(phi4_base / "model.safetensors"))
    FAMILY.save_processor(FAMILY.load_processor(str(old)), tmp_path / "saved")
    assert json.loads((tmp_path / "saved/config.json").read_text())["model_type"] == "phi4_multimodal"
    assert torch.equal(logits(tmp_path / "saved"), logits(old))


def test_no_code_beside_the_weights_is_run(old: Path) -> None:
    for name in ("modeling_phi4mm", "configuration_phi4mm", "processing_phi4mm"):
        (old / f"{name}.py").write_text("raise SystemExit('run')\n")
    assert logits(old).isfinite().all()


def test_pickles_are_not_read(old: Path) -> None:
    for shard in old.glob("*.safetensors*"):
        shard.rename(shard.with_name(shard.name.replace("safetensors", "bin")))
    with pytest.raises(OSError, match="safetensors"):
        FAMILY.load_model(str(old))


@pytest.mark.parametrize("spoilt, message", [("rename", "has no place"), ("drop", "is missing")])
def test_a_weight_that_fits_nowhere_is_named(old: Path, spoilt: str, message: str) -> None:
    name = "model.embed_tokens_extend.audio_embed.encoder.encoders.0.self_attn.linear_out.bias"
    index = json.loads((old / "model.safetensors.index.json").read_text())
    shard = old / index["weight_map"].pop(name)
    weights = load_file(shard)
    tensor = weights.pop(name)
    if spoilt == "rename":
        other = "model.embed_tokens_extend.audio_embed.encoder.odd"
        weights[other], index["weight_map"][other] = tensor, shard.name
        weights[name], index["weight_map"][name] = tensor.clone(), shard.name
    save_file(weights, shard, metadata={"format": "pt"})
    (old / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(EscoitaError, match=rf"the weight model\.embed_tokens_extend\S+ {message}"):
        FAMILY.load_model(str(old))


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("audio_processor.config.attention_dim", None, "holds no attention_dim"),
        ("audio_processor", None, "holds no audio_processor.config"),
        ("embd_layer.audio_embd_layer", None, "holds no embd_layer.audio_embd_layer.downsample_rate"),
        ("audio_processor.config.causal", False, "audio_processor.config.causal is False, which is not served"),
    ],
)
def test_a_configuration_that_cannot_be_served(path: str, value: Any, message: str) -> None:
    config = copy.deepcopy(OLD_CONFIG)
    *sections, last = path.split(".")
    section = config
    for name in sections:
        section = section[name]
    section[last] = value
    if value is None:
        del section[last]
    with pytest.raises(EscoitaError, match=f"^model user/base: .*{message}$"):
        native_config(config, "user/base")


def test_the_recipe_trains_as_many_parameters_as_the_published_sizes_give() -> None:
    encoder = OLD_CONFIG["audio_processor"]["config"] | {
        "attention_dim": 1024,
        "attention_heads": 16,
        "depthwise_seperable_out_channel": 1024,
        "ext_pw_out_channel": 1024,
        "linear_units": 1536,
        "nemo_conv_settings": {"conv_channels": 1024},
        "num_blocks": 24,
        "relative_attention_bias_args": {"t5_bias_max_distance": 500, "type": "t5"},
    }
    sizes = {"hidden_size": 3072, "num_attention_heads": 24, "num_hidden_layers": 1, "vocab_size": 200_064}
    config = OLD_CONFIG | sizes | {"audio_processor": {"config": encoder}, "rope_scaling": None}
    with torch.device("meta"):
        model = Phi4MultimodalForCausalLM(native_config(config, "user/base"))
    audio = model.model.embed_tokens_extend.audio_embed
    heard = (audio.encoder, audio.up_proj_for_speech, audio.down_proj_for_speech)
    count = sum(parameter.numel() for module in heard for parameter in module.parameters())
    assert count == load_recipe(ROOT / "recipes/phi4-galician.yaml").method.trainable["audio"]
