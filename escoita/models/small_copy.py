"""Create a small configuration of a base, with two layers and small widths, for a trial without its weights."""

from typing import Any

from transformers import PreTrainedConfig

from escoita.errors import EscoitaError


# Sizes by the type of a configuration section. Other fields, such as the size of the vocabulary, stay the same; fields
# that a section does not have are ignored.
Sizes = dict[str, dict[str, Any]]
LAYERS = 2
WIDTH = 32
# Sizes that sections of several families share.
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
# Fields that transformers derives from the layers of the full model.
_DERIVED = ("per_layer_config",)


def small_config(config: PreTrainedConfig, sizes: Sizes) -> PreTrainedConfig:
    """
    Return a configuration of the same model with two layers and small widths.

    Args:
        config (`PreTrainedConfig`): The configuration of a base that can be trained.
        sizes (`dict[str, dict[str, Any]]`): The `small_sizes` of the family.

    Raises:
        EscoitaError: The configuration cannot be made small.
    """
    try:
        return type(config).from_dict(_small(config.to_dict(), sizes))
    except Exception as error:  # an untrusted configuration can cause any exception
        reason = " ".join(str(error).split())[:300]
        problem = f"cannot create a small configuration for a trial ({reason})"
        raise EscoitaError(problem, path=config.name_or_path) from error


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
            # One value per layer. In some families, the last layer has another type of attention than the first.
            small[key] = [sizes.get(key, each) for each in (value[0], value[-1])]
        else:
            small[key] = sizes[key] if key in sizes and value is not None else value
    if "per_layer_config" in section:
        small["global_head_dim"] = sizes["global_head_dim"]
    return small | {"rope_parameters": _rope(section, small)} if "rope_parameters" in section else small


def _rope(section: dict[str, Any], small: dict[str, Any]) -> Any:
    """Return the rotary embedding with one factor for each pair of the rotated dimensions of a head."""
    rope = section["rope_parameters"]
    if not isinstance(rope, dict) or "long_factor" not in rope:
        return rope
    head = small.get("head_dim") or small["hidden_size"] // small["num_attention_heads"]
    pairs = int(head * rope.get("partial_rotary_factor", 1.0)) // 2
    return rope | {key: (rope[key] * pairs)[:pairs] for key in ("long_factor", "short_factor")}
