"""Read the layout in which Phi-4-multimodal was published, and its speech LoRA."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Phi4MultimodalAudioConfig,
    Phi4MultimodalConfig,
    Phi4MultimodalForCausalLM,
    Phi4MultimodalVisionConfig,
)
from transformers.utils import logging

from escoita.errors import EscoitaError
from escoita.hub.files import SPEECH_LORA, file_if_any, local_file, weight_files
from escoita.models.adapter_files import read_settings
from escoita.models.adapters import refuse_not_finite
from escoita.models.weight_files import opened_weights


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


# In a configuration: the weights have their speech LoRA in them.
MERGED = "speech_lora_merged"
# `base_model.model.` stands there or not, as PEFT or Transformers wrote it; `.speech` among the weights themselves.
LOW_RANK = re.compile(r"^(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<half>[AB])(?:\.speech)?\.weight$")
# Fields of an adapter's configuration that would make it more than one product of two matrices for each layer.
MORE = ("use_dora", "alpha_pattern", "rank_pattern", "modules_to_save", "lora_bias", "fan_in_fan_out")


def speech_lora(base: str, revision: str | None, old: dict[str, Any]) -> tuple[list[Path], float] | None:
    """
    Finds the speech LoRA of a base that was loaded.

    Args:
        base (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): Of the repository.
        old (`dict`): The base's configuration, where it is of the old layout; else empty.

    Returns:
        `tuple[list[Path], float]`, *optional*: The files that hold it, and its scale; none if there is none. Among the
        weights it counts before a folder beside them, as with the old code: who trained it further saved it there.

    Raises:
        EscoitaError: Its configuration is missing, or is of something else than LoRA.
    """
    if "speech_lora" in old:
        files = [path for path in weight_files(base, revision) if path.parent.name != SPEECH_LORA]
        files = [path for path in files if any(True for _ in _halves(path, among_weights=True))]
        if files:
            alpha, rank = (_positive(old["speech_lora"], name, base) for name in ("lora_alpha", "r"))
            _check_ranks(files, rank, f"model {base}: its {SPEECH_LORA}", among_weights=True)
            return files, alpha / rank
    weights = file_if_any(base, f"{SPEECH_LORA}/adapter_model.safetensors", revision)
    if weights is None:
        return None
    what = f"model {base}: its {SPEECH_LORA}"
    settings = read_settings(local_file(base, f"{SPEECH_LORA}/adapter_config.json", revision), what)
    more = [name for name in MORE if getattr(settings, name)]
    if more or settings.bias not in (None, "none"):
        raise EscoitaError(f"{what} is not plain LoRA ({', '.join(more) or 'bias'})")
    _check_ranks([weights], settings.r, what, among_weights=False)
    return [weights], settings.lora_alpha / (settings.r**0.5 if settings.use_rslora else settings.r)


@torch.no_grad()
def merge_speech_lora(model: torch.nn.Module, base: str, files: list[Path], scale: float) -> None:
    """
    Adds the speech LoRA to the weights that it was trained on, in float32, layer by layer.

    Args:
        model (`torch.nn.Module`): The base; changed in place.
        base (`str`): Its name, for errors.
        files (`list[Path]`): See [`speech_lora`].
        scale (`float`): Of the product of the two matrices.

    Raises:
        EscoitaError: A matrix has no place or no other half, or a layer's second matrix is all zeros, as where an
            adapter was saved after its names did not fit: a LoRA that does nothing.
    """
    with ExitStack() as opened:
        found: dict[str, dict[str, Any]] = {}
        for path in files:
            weights = opened.enter_context(opened_weights(path, f"model {base}"))
            for layer, half, name in _halves(path, among_weights=path.parent.name != SPEECH_LORA):
                found.setdefault(layer, {})[half] = (weights, name)
        if not found:
            raise EscoitaError(f"model {base}: its {SPEECH_LORA} holds no lora_A and lora_B")
        for layer, halves in found.items():
            if halves.keys() != {"A", "B"}:
                raise EscoitaError(f"model {base}: its {SPEECH_LORA} holds only one matrix of {layer}")
            try:
                weight = model.get_parameter(f"{layer}.weight")
            except AttributeError as error:
                raise EscoitaError(
                    f"model {base}: its {SPEECH_LORA} is of a layer {layer}, which it has not"
                ) from error
            low, high = (halves[half][0].get_tensor(halves[half][1]).to(weight.device).float() for half in "AB")
            refuse_not_finite(
                {f"lora_A of {layer}": low, f"lora_B of {layer}": high}, f"model {base}: its {SPEECH_LORA}"
            )
            if not high.any():
                raise EscoitaError(f"model {base}: its {SPEECH_LORA} does nothing: lora_B of {layer} is all zeros")
            if (high.shape[0], low.shape[1]) != weight.shape or high.shape[1] != low.shape[0]:
                raise EscoitaError(f"model {base}: its {SPEECH_LORA} does not fit {layer}: {low.shape}, {high.shape}")
            weight.copy_(weight.float() + scale * (high @ low))


def _positive(settings: Any, name: str, base: str) -> float:
    value = settings.get(name) if isinstance(settings, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise EscoitaError(f"model {base}: config.json: speech_lora.{name} must be a positive number")
    return value


def _check_ranks(files: list[Path], rank: float, what: str, among_weights: bool) -> None:
    """Compares the configured rank, by which the scale is computed, with the first dimension of every lora_A."""
    for path in files:
        with opened_weights(path, what) as weights:
            for layer, half, name in _halves(path, among_weights):
                shape = weights.get_slice(name).get_shape()
                if half == "A" and (not shape or shape[0] != rank):
                    raise EscoitaError(f"{what} has shape {shape} for {layer}, not rank {rank}")


def _halves(path: Path, among_weights: bool) -> Iterator[tuple[str, str, str]]:
    """Layer, A or B, and the name, of each low-rank matrix in a file."""
    with opened_weights(path, path.name) as weights:
        for name in weights.keys():  # noqa: SIM118  not a dict
            if among_weights and ".speech." not in name:
                continue
            match = LOW_RANK.match(name)
            if match:
                yield match["layer"], match["half"], name
            elif not among_weights:
                raise EscoitaError(f"{path}: {name} is not of LoRA")
