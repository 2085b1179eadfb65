"""A base with two layers and small widths and otherwise the same configuration, for a trial without its weights."""

from typing import Any

from transformers import PreTrainedConfig

from escoita.errors import EscoitaError


# Sizes by the type of a section of a configuration. What is not named stays, the vocabulary among it; a field that the
# section does not have is left out.
Sizes = dict[str, dict[str, Any]]
LAYERS = 2
WIDTH = 32
# What the sections of several families have in common.
TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
WHISPER: dict[str, Any] = {
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": WIDTH,
}
# Written from the sizes of single layers of the whole model.
_DERIVED = ("per_layer_config",)


def small_config(config: PreTrainedConfig, sizes: Sizes) -> PreTrainedConfig:
    """
    Return a configuration of the same model with two layers and small widths.

    Args:
        config (`PreTrainedConfig`): Of a base of any family that is trained.
        sizes (`dict[str, dict[str, Any]]`): The `small_sizes` of the family.

    Raises:
        EscoitaError: The configuration cannot be made small.
    """
    try:
        return type(config).from_dict(_small(config.to_dict(), sizes))
    except Exception as error:  # anything can be in a configuration of somebody else
        reason = " ".join(str(error).split())[:300]
        raise EscoitaError(
            f"model {config.name_or_path}: its configuration cannot be made small for a trial ({reason})"
        ) from error


def _small(section: dict[str, Any], of_types: Sizes) -> dict[str, Any]:
    sizes = of_types.get(section.get("model_type", ""), {})
    layers = next((section[key] for key in sizes if key.endswith(("layers", "num_blocks")) and section.get(key)), None)
    small: dict[str, Any] = {}
    for key, value in section.items():
        if key in _DERIVED:
            continue
        if isinstance(value, dict):
            small[key] = _small(value, of_types) if "model_type" in value else value
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
