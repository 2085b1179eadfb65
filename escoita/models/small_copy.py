"""A base with two layers and small widths and otherwise the same configuration, for a trial without its weights."""

from typing import Any

from transformers import PreTrainedConfig

from escoita.errors import EscoitaError


LAYERS = 2
WIDTH = 32
_TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
_WHISPER: dict[str, Any] = {
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": WIDTH,
}
# By the type of a section of a configuration. What is not named here stays, the vocabulary among it. A field that the
# section does not have is left out.
SIZES: dict[str, dict[str, Any]] = {
    "gemma4_text": _TEXT
    | {
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 4,
        "num_kv_shared_layers": 0,
        "num_experts": 2,
        "top_k_experts": 1,
        "moe_intermediate_size": 16,
    },
    "gemma4_audio": {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "output_proj_dims": WIDTH,
    },
    "gemma4_vision": _TEXT | {"num_key_value_heads": 2},
    "gemma3n_text": _TEXT | {"hidden_size_per_layer_input": 4, "num_kv_shared_layers": 0, "laurel_rank": 4},
    "gemma3n_audio": {"hidden_size": WIDTH, "conf_num_hidden_layers": LAYERS, "conf_num_attention_heads": 2},
    "gemma3n_vision": {"hidden_size": WIDTH},
    "phi4_multimodal": _TEXT | {"hidden_size": 2 * WIDTH},
    "phi4_multimodal_audio": {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_blocks": LAYERS,
        "num_attention_heads": 2,
        "ext_pw_out_channel": WIDTH,
        "depthwise_separable_out_channel": WIDTH,
        "nemo_conv_channels": 8,
    },
    "phi4_multimodal_vision": {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
    },
    "qwen2_audio_encoder": _WHISPER,
    "qwen2": _TEXT | {"max_window_layers": LAYERS},
    "qwen3_asr_encoder": _WHISPER | {"downsample_hidden_size": 4, "output_dim": WIDTH},
    "qwen3": _TEXT | {"max_window_layers": LAYERS},
    "granite_speech_encoder": {
        "num_layers": LAYERS,
        "hidden_dim": WIDTH,
        "feedforward_mult": 2,
        "num_heads": 2,
        "dim_head": 16,
    },
    "blip_2_qformer": {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "encoder_hidden_size": WIDTH,
    },
    "granite": _TEXT,
    "voxtral": {"hidden_size": WIDTH},
    "voxtral_encoder": {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
    },
    "llama": _TEXT,
}
# Written from the sizes of single layers of the whole model.
_DERIVED = ("per_layer_config",)


def small_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """
    Return a configuration of the same model with two layers and small widths.

    Args:
        config (`PreTrainedConfig`): Of a base of any family that is trained.

    Raises:
        EscoitaError: The configuration cannot be made small.
    """
    try:
        return type(config).from_dict(_small(config.to_dict()))
    except Exception as error:  # anything can be in a configuration of somebody else
        reason = " ".join(str(error).split())[:300]
        raise EscoitaError(
            f"model {config.name_or_path}: its configuration cannot be made small for a trial ({reason})"
        ) from error


def _small(section: dict[str, Any]) -> dict[str, Any]:
    sizes = SIZES.get(section.get("model_type", ""), {})
    layers = next((section[key] for key in sizes if key.endswith(("layers", "num_blocks")) and section.get(key)), None)
    small: dict[str, Any] = {}
    for key, value in section.items():
        if key in _DERIVED:
            continue
        if isinstance(value, dict):
            small[key] = _small(value) if "model_type" in value else value
        elif isinstance(value, list) and len(value) == layers:
            # One value for each layer. The last layer has another type of attention than the first in some families.
            small[key] = [sizes.get(key, each) for each in (value[0], value[-1])]
        else:
            small[key] = sizes[key] if key in sizes and value is not None else value
    if "per_layer_config" in section:
        small["global_head_dim"] = sizes["global_head_dim"]
    return small | {"rope_parameters": _rope(section, small)} if "rope_parameters" in section else small


def _rope(section: dict[str, Any], small: dict[str, Any]) -> Any:
    """The rotary embedding, whose factors are one for each pair of the rotated part of a head."""
    rope = section["rope_parameters"]
    if not isinstance(rope, dict) or "long_factor" not in rope:
        return rope
    head = small.get("head_dim") or small["hidden_size"] // small["num_attention_heads"]
    pairs = int(head * rope.get("partial_rotary_factor", 1.0)) // 2
    return rope | {key: (rope[key] * pairs)[:pairs] for key in ("long_factor", "short_factor")}
