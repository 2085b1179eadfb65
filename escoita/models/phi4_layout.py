"""
The layout in which Phi-4-multimodal was published (`model_type` phi4mm), read into the native classes of Transformers.

It came with code of its own, which is not run here and does not fit Transformers 5. Configuration, weights and
processor hold what the native ones do under other names; which ones was read in Transformers' conversion script and in
copies of the published configuration.
"""

from typing import Any

from transformers import (
    Phi4MultimodalAudioConfig,
    Phi4MultimodalConfig,
    Phi4MultimodalForCausalLM,
    Phi4MultimodalVisionConfig,
)
from transformers.utils import logging

from escoita.errors import EscoitaError


OLD_TYPE = "phi4mm"
# What the published tokenizer calls the place of audio.
AUDIO_TOKEN = "<|endoftext11|>"  # noqa: S105

# Old names of the audio encoder's fields, a dot leading into a section, and native ones.
AUDIO_FIELDS = {
    "activation": "activation",
    "attention_dim": "hidden_size",
    "attention_heads": "num_attention_heads",
    "chunk_size": "chunk_size",
    "conv_activation": "conv_activation",
    "conv_glu_type": "conv_glu_type",
    "depthwise_multiplier": "depthwise_multiplier",
    "depthwise_seperable_out_channel": "depthwise_separable_out_channel",
    "dropout_rate": "dropout_rate",
    "ext_pw_out_channel": "ext_pw_out_channel",
    "input_size": "input_size",
    "kernel_size": "kernel_size",
    "left_chunk": "left_chunk",
    "linear_units": "intermediate_size",
    "nemo_conv_settings.conv_channels": "nemo_conv_channels",
    "num_blocks": "num_blocks",
    "relative_attention_bias_args.t5_bias_max_distance": "bias_max_distance",
    "time_reduction": "time_reduction",
}
# What the native encoder does whatever a configuration says.
FIXED = {"batch_norm": False, "bias_in_glu": True, "causal": True, "ext_pw_kernel_size": 1, "input_layer": "nemo_conv"}
# Sizes of the vision tower, which only the old code said; speech passes it by, but the weights hold it.
VISION = {
    "hidden_size": 1152,
    "image_size": 448,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
}
# Fields that speak of the old code or of its adapters.
LEFT_OUT = {
    "_attn_implementation",
    "_name_or_path",
    "architectures",
    "audio_processor",
    "auto_map",
    "embd_layer",
    "img_processor",
    "model_type",
    "speech_lora",
    "transformers_version",
    "vision_lora",
}

# Regular expressions of parts of the weights' old names, and native ones.
RENAMED = {
    r"\.net\.0\.linear\.": ".gate_up_proj.",
    r"\.net\.2\.": ".down_proj.",
    r"\.linear_q\.": ".q_proj.",
    r"\.linear_k\.": ".k_proj.",
    r"\.linear_v\.": ".v_proj.",
    r"\.linear_out\.": ".o_proj.",
    r"\.audio_projection\.speech\.0\.": ".up_proj_for_speech.",
    r"\.audio_projection\.speech\.2\.": ".down_proj_for_speech.",
    r"\.audio_projection\.vision\.0\.": ".up_proj_for_vision_speech.",
    r"\.audio_projection\.vision\.2\.": ".down_proj_for_vision_speech.",
    r"\.img_projection\.0\.": ".img_projection_up.",
    r"\.img_projection\.2\.": ".img_projection_down.",
    r"\.glb_GN": ".global_img_feature_extensor",
    r"\.sub_GN": ".sub_img_feature_extensor",
    r"\.base_layer\.": ".",
}


def native_config(old: dict[str, Any], base: str) -> Phi4MultimodalConfig:
    """
    Translates a configuration.

    Args:
        old (`dict`): The old `config.json`.
        base (`str`): Whose it is, for errors.

    Returns:
        [`Phi4MultimodalConfig`]: Of the same model.

    Raises:
        EscoitaError: A field is missing, or asks for what the native encoder does not do.
    """
    encoder = _within(old, "audio_processor.config", base)
    for name, does in FIXED.items():
        if encoder.get(name, does) != does:
            raise EscoitaError(
                f"model {base}: audio_processor.config.{name} is {encoder[name]!r}, which is not served"
            )
    audio = {native: _within(encoder, name, base) for name, native in AUDIO_FIELDS.items()}
    audio["downsample_rate"] = _within(old, "embd_layer.audio_embd_layer.downsample_rate", base)
    vision = VISION | {"crop_size": _within(old, "embd_layer.image_embd_layer.crop_size", base)}
    # Both are on their native defaults in what was published, where only the old code said them.
    for section, tokens in ((audio, "audio_token_id"), (vision, "image_token_id")):
        if tokens in old:
            section[tokens] = old[tokens]
    return Phi4MultimodalConfig(
        **{name: value for name, value in old.items() if name not in LEFT_OUT | {"audio_token_id", "image_token_id"}},
        audio_config=Phi4MultimodalAudioConfig(**audio),
        vision_config=Phi4MultimodalVisionConfig(**vision),
    )


def _within(section: dict[str, Any], path: str, base: str) -> Any:
    value: Any = section
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise EscoitaError(f"model {base}: config.json says {OLD_TYPE}, but holds no {path}")
        value = value[name]
    return value


class OldLayout:
    """Loads weights in the old layout as transformers loads its own: tensor by tensor, out of the shards."""

    @staticmethod
    def from_pretrained(base: str, **options: Any) -> tuple[Phi4MultimodalForCausalLM, dict[str, Any]]:
        """
        Loads the model; low-rank matrices that stand among the weights are left where they are.

        Args:
            base (`str`): A folder, or a repository of the Hub.
            options: For `from_pretrained`, the native configuration and `output_loading_info` among them.

        Returns:
            `tuple`: The model, and what was found of its weights.

        Raises:
            EscoitaError: A weight has no place.
        """
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # it would list every low-rank matrix
        try:
            model, found = Phi4MultimodalForCausalLM.from_pretrained(base, key_mapping=RENAMED, **options)
        finally:
            logging.set_verbosity(verbosity)
        astray = [name for name in found["unexpected_keys"] if ".lora_" not in name]
        if astray:
            raise EscoitaError(f"model {base}: the weight {min(astray)} has no place (and {len(astray) - 1} others)")
        model.__dict__.pop("_weight_conversions", None)  # by which saving would write the old names again
        return model, found
