"""Test the published layout of Phi-4-multimodal, and its speech LoRA."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.utils import set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import Phi4MultimodalForCausalLM

from escoita.errors import EscoitaError
from escoita.hub.files import weights_digest
from escoita.models import family_of
from escoita.models import phi4_checkpoint as phi4_layout
from escoita.models.errors import SpeechLoraError
from escoita.models.phi4 import Phi4Family
from escoita.models.phi4_checkpoint import native_config
from escoita.recipe.schema import load_recipe
from escoita.records.training import Prompt
from tests.conftest import ROOT
from tests.models.phi4_samples import (
    LORA_LAYERS,
    OLD_CONFIG,
    VISION,
    noise,
    speech_lora_tensors,
    write_phi4,
    write_published_layout,
    write_speech_lora,
)


FAMILY = Phi4Family()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base without a speech LoRA."""
    return Path(write_phi4(tmp_path / "base", lora=False))


@pytest.fixture(autouse=True)
def tiny_vision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phi4_layout, "VISION", VISION)


def weights_of(base: Path, **options: Any) -> dict[str, torch.Tensor]:
    return FAMILY.load_model(str(base), **options).state_dict()


def merged_by_peft(base: Path) -> dict[str, torch.Tensor]:
    """Return the model that PEFT merges from tensors with its names."""
    model = Phi4MultimodalForCausalLM.from_pretrained(base)
    target = r".*model\.layers\.\d+\.((self_attn\.(qkv|o)_proj)|(mlp\.(gate_up|down)_proj))"
    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, target_modules=target))
    tensors = {f"base_model.model.{name}": tensor for name, tensor in speech_lora_tensors().items()}
    loaded = set_peft_model_state_dict(adapted, tensors)
    assert not loaded.unexpected_keys
    return adapted.merge_and_unload().state_dict()


@pytest.mark.parametrize("prefix", ["", "base_model.model."])
def test_merged_weights_equal_those_of_peft(base: Path, prefix: str) -> None:
    write_speech_lora(base, prefix)
    expected, found = merged_by_peft(base), weights_of(base)
    before = load_file(base / "model.safetensors")
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-6)
    changed = {name for name in before if not torch.equal(found[name], before[name])}
    assert changed == {f"{layer}.weight" for layer in LORA_LAYERS}


def test_merged_model_has_no_lora(phi4_base: Path) -> None:
    model = FAMILY.load_model(str(phi4_base))
    assert type(model) is Phi4MultimodalForCausalLM and not any("lora" in name for name, _ in model.named_modules())


def test_half_precision_is_rounded_once(base: Path) -> None:
    write_speech_lora(base)
    plain = Phi4MultimodalForCausalLM.from_pretrained(base, dtype=torch.float16).state_dict()
    found, tensors = weights_of(base, dtype="float16"), speech_lora_tensors()
    for layer in LORA_LAYERS:
        change = 3.0 * (tensors[f"{layer}.lora_B.weight"] @ tensors[f"{layer}.lora_A.weight"])
        assert torch.equal(found[f"{layer}.weight"], (plain[f"{layer}.weight"].float() + change).half())


def test_saved_model_is_not_merged_again(phi4_base: Path, tmp_path: Path) -> None:
    model = FAMILY.load_model(str(phi4_base))
    model.save_pretrained(tmp_path)
    FAMILY.save_processor(FAMILY.load_processor(str(phi4_base)), tmp_path)
    write_speech_lora(tmp_path)
    again = weights_of(tmp_path)
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())


def test_missing_speech_lora_is_refused(base: Path) -> None:
    with pytest.raises(SpeechLoraError) as error:
        FAMILY.load_model(str(base))
    assert error.value.path == f"{base}/speech-lora" and "speech_lora_merged" in str(error.value.hint)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"speech_lora_merged": True}))
    before, found = load_file(base / "model.safetensors"), weights_of(base)
    assert all(torch.equal(found[name], before[name]) for name in before)


def test_merging_in_4_bits_is_refused(phi4_base: Path) -> None:
    with pytest.raises(SpeechLoraError) as error:
        FAMILY.load_model(str(phi4_base), load_in_4bit=True)
    assert (error.value.path, error.value.key) == (str(phi4_base), "load_in_4bit")


@pytest.mark.parametrize("zero", [LORA_LAYERS[0], LORA_LAYERS[-1]])
def test_speech_lora_without_effect_is_refused(base: Path, zero: str) -> None:
    write_speech_lora(base, zero=zero)
    with pytest.raises(SpeechLoraError) as error:
        FAMILY.load_model(str(base))
    assert (error.value.path, error.value.key) == (f"{base}/speech-lora", zero)


@pytest.mark.parametrize(
    "changes, key",
    [
        ({f"{LORA_LAYERS[0]}.lora_B.weight": None}, LORA_LAYERS[0]),
        ({"model.odd.lora_A.weight": (2, 32), "model.odd.lora_B.weight": (32, 2)}, "model.odd"),
        ({f"{LORA_LAYERS[0]}.lora_B.weight": (63, 2)}, LORA_LAYERS[0]),
        ({"model.norm.weight": (32,)}, "model.norm.weight"),
        (dict.fromkeys(speech_lora_tensors()), None),
    ],
)
def test_incompatible_speech_lora_is_refused(
    base: Path, changes: dict[str, tuple[int, ...] | None], key: str | None
) -> None:
    write_speech_lora(base, prefix="")
    tensors = speech_lora_tensors() | {name: shape and torch.ones(shape) for name, shape in changes.items()}
    held = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(held, base / "speech-lora/adapter_model.safetensors")
    with pytest.raises(SpeechLoraError) as error:
        FAMILY.load_model(str(base))
    assert error.value.key == key


@pytest.mark.parametrize(
    "settings", [{"use_dora": True}, {"bias": "all"}, {"peft_type": "LOHA"}, {"rank_pattern": {"a": 1}}]
)
def test_other_adapters_than_plain_lora_are_refused(base: Path, settings: dict[str, Any]) -> None:
    write_speech_lora(base, **settings)
    with pytest.raises(EscoitaError) as error:
        FAMILY.load_model(str(base))
    (key,) = settings
    assert (error.value.path, error.value.key) == (f"{base}/speech-lora/adapter_config.json", key)


@pytest.mark.parametrize(
    "settings, key",
    [
        ({"r": 7}, "rank"),
        ({"r": "x"}, "r"),
        ({"lora_alpha": float("nan")}, None),
        ({"lora_alpha": None}, "lora_alpha"),
    ],
)
def test_rank_and_scale_must_match_the_tensors(base: Path, settings: dict[str, Any], key: str | None) -> None:
    write_speech_lora(base)
    path = base / "speech-lora/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")
    with pytest.raises(EscoitaError) as error:
        FAMILY.load_model(str(base))
    if key == "rank":
        assert isinstance(error.value, SpeechLoraError) and error.value.key in LORA_LAYERS
    else:
        assert (error.value.path, error.value.key) == (f"{base}/speech-lora/adapter_config.json", key)


def test_infinity_is_refused(base: Path) -> None:
    write_speech_lora(base, prefix="")
    tensors = speech_lora_tensors() | {f"{LORA_LAYERS[0]}.lora_B.weight": torch.full((64, 2), torch.inf)}
    save_file(tensors, base / "speech-lora/adapter_model.safetensors")
    with pytest.raises(EscoitaError) as error:
        FAMILY.load_model(str(base))
    assert error.value.key == f"{LORA_LAYERS[0]}.lora_B"


def test_rank_stabilized_scale(base: Path) -> None:
    write_speech_lora(base, use_rslora=True)
    plain = load_file(base / "model.safetensors")[f"{LORA_LAYERS[0]}.weight"]
    tensors = speech_lora_tensors()
    change = tensors[f"{LORA_LAYERS[0]}.lora_B.weight"] @ tensors[f"{LORA_LAYERS[0]}.lora_A.weight"]
    found = weights_of(base)[f"{LORA_LAYERS[0]}.weight"]
    torch.testing.assert_close(found, plain + 6 / 2**0.5 * change)


@pytest.mark.parametrize("inside, beside", [(True, False), (False, True), (True, True)])
def test_speech_lora_in_the_published_layout(phi4_base: Path, tmp_path: Path, inside: bool, beside: bool) -> None:
    old = Path(write_published_layout(tmp_path / "old", phi4_base, inside, beside))
    if inside and beside:  # the one in the weights was trained further
        weights = old / "speech-lora/adapter_model.safetensors"
        save_file({name: tensor * 2 for name, tensor in load_file(weights).items()}, weights)
    expected, found = weights_of(phi4_base), weights_of(old)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_published_layout_without_a_speech_lora_is_refused(phi4_base: Path, tmp_path: Path) -> None:
    old = write_published_layout(tmp_path / "old", phi4_base, inside=False)
    with pytest.raises(SpeechLoraError) as error:
        FAMILY.load_model(old)
    assert error.value.path == f"{old}/speech-lora"


def test_speech_lora_is_part_of_the_digest(base: Path) -> None:
    without = weights_digest(str(base))
    write_speech_lora(base)
    with_it = weights_digest(str(base))
    write_speech_lora(base, prefix="")
    assert len({without, with_it, weights_digest(str(base))}) == 3


PROMPT = Prompt(user="<|audio_1|> Transcribe the clip.")


@pytest.fixture
def old(phi4_base: Path, tmp_path: Path) -> Path:
    return Path(write_published_layout(tmp_path / "old", phi4_base))


def logits(base: Path) -> torch.Tensor:
    processor, model = FAMILY.load_processor(str(base)), FAMILY.load_model(str(base)).eval()
    return model(**FAMILY.encode(processor, [noise(1.0), noise(0.5, 1)], PROMPT)).logits


def test_both_layouts_give_the_same_model(phi4_base: Path, old: Path) -> None:
    assert isinstance(family_of(str(old)), Phi4Family)
    native, converted = FAMILY.load_model(str(phi4_base)), FAMILY.load_model(str(old))
    expected, found = native.state_dict(), converted.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert type(converted) is type(native)
    assert converted.generation_config.eos_token_id == native.generation_config.eos_token_id
    assert torch.equal(logits(old), logits(phi4_base))


def test_both_layouts_give_the_same_processor(phi4_base: Path, old: Path) -> None:
    clips = [noise(1.0), noise(0.5, 1)]
    expected, found = (FAMILY.encode(FAMILY.load_processor(str(base)), clips, PROMPT) for base in (phi4_base, old))
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


def test_converted_configuration_is_native(phi4_base: Path, old: Path) -> None:
    native, found = FAMILY.load_model(str(phi4_base)).config, FAMILY.load_model(str(old)).config
    for section in ("audio_config", "vision_config"):
        assert getattr(found, section).to_dict() == getattr(native, section).to_dict() | {"dtype": "float32"}
    assert found.rope_parameters == native.rope_parameters | {"type": "longrope"}
    for name in ("hidden_size", "vocab_size", "sliding_window", "tie_word_embeddings", "dtype"):
        assert getattr(found, name) == getattr(native, name)


def test_model_is_saved_in_the_native_layout(phi4_base: Path, old: Path, tmp_path: Path) -> None:
    FAMILY.load_model(str(old)).save_pretrained(tmp_path / "saved")
    with safe_open(tmp_path / "saved/model.safetensors", "pt") as saved:
        assert set(saved.keys()) == set(load_file(phi4_base / "model.safetensors"))
    FAMILY.save_processor(FAMILY.load_processor(str(old)), tmp_path / "saved")
    assert json.loads((tmp_path / "saved/config.json").read_text())["model_type"] == "phi4_multimodal"
    assert torch.equal(logits(tmp_path / "saved"), logits(old))


def test_code_of_the_repository_is_not_run(old: Path) -> None:
    for name in ("modeling_phi4mm", "configuration_phi4mm", "processing_phi4mm"):
        (old / f"{name}.py").write_text("raise SystemExit('run')\n")
    assert logits(old).isfinite().all()


def test_pickles_are_not_read(old: Path) -> None:
    for shard in old.glob("*.safetensors*"):
        shard.rename(shard.with_name(shard.name.replace("safetensors", "bin")))
    with pytest.raises(OSError):
        FAMILY.load_model(str(old))


@pytest.mark.parametrize("spoilt", ["rename", "drop"])
def test_unexpected_or_missing_weight_is_refused(old: Path, spoilt: str) -> None:
    name = "model.embed_tokens_extend.audio_embed.encoder.encoders.0.self_attn.linear_out.bias"
    index = json.loads((old / "model.safetensors.index.json").read_text())
    shard = old / index["weight_map"].pop(name)
    weights = load_file(shard)
    tensor = weights.pop(name)
    other = "model.embed_tokens_extend.audio_embed.encoder.odd"
    if spoilt == "rename":
        weights[other], index["weight_map"][other] = tensor, shard.name
        weights[name], index["weight_map"][name] = tensor.clone(), shard.name
    save_file(weights, shard, metadata={"format": "pt"})
    (old / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(EscoitaError) as error:
        FAMILY.load_model(str(old))
    assert error.value.path == str(old) and error.value.key == (
        other if spoilt == "rename" else name.replace("linear_out", "o_proj")
    )


@pytest.mark.parametrize(
    "path, value, key",
    [
        ("audio_processor.config.attention_dim", None, "attention_dim"),
        ("audio_processor", None, "audio_processor.config"),
        ("embd_layer.audio_embd_layer", None, "embd_layer.audio_embd_layer.downsample_rate"),
        ("audio_processor.config.causal", False, "audio_processor.config.causal"),
    ],
)
def test_unsupported_configuration_is_refused(path: str, value: Any, key: str) -> None:
    config = copy.deepcopy(OLD_CONFIG)
    *sections, last = path.split(".")
    section = config
    for name in sections:
        section = section[name]
    section[last] = value
    if value is None:
        del section[last]
    with pytest.raises(EscoitaError) as error:
        native_config(config, "user/base")
    assert (error.value.path, error.value.key) == ("user/base/config.json", key)


def test_number_of_trained_parameters_of_the_published_sizes() -> None:
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
    modules = (audio.encoder, audio.up_proj_for_speech, audio.down_proj_for_speech)
    count = sum(parameter.numel() for module in modules for parameter in module.parameters())
    assert count == load_recipe(ROOT / "recipes/phi4-galician.yaml").method.trainable["audio"]
