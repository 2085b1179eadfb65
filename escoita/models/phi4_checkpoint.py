"""Read the published layout of Phi-4-multimodal, and its speech LoRA."""

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
from escoita.models.errors import SpeechLoraError
from escoita.models.weight_files import opened_weights


OLD_TYPE = "phi4mm"
# The audio placeholder of the published tokenizer.
AUDIO_TOKEN = "<|endoftext11|>"  # noqa: S105

# The old names of the audio encoder's fields, with a dot before a nested key, and the native names.
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
# The only values that the native encoder supports.
FIXED = {"batch_norm": False, "bias_in_glu": True, "causal": True, "ext_pw_kernel_size": 1, "input_layer": "nemo_conv"}
# The sizes of the vision tower, which are constants in the old code. Speech does not use it, but the weights contain
# it.
VISION = {
    "hidden_size": 1152,
    "image_size": 448,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
}
# Fields that refer to the old code or to its adapters.
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

# Regular expressions for parts of the old weight names, and the native names.
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
    Convert an old configuration into a native one.

    Args:
        old (`dict`): The old `config.json`.
        base (`str`): The folder or repository of the base, for errors.

    Raises:
        EscoitaError: A field is missing, or the native encoder does not support its value.
    """
    encoder = _nested(old, "audio_processor.config", base)
    for name, supported in FIXED.items():
        if encoder.get(name, supported) != supported:
            key = f"audio_processor.config.{name}"
            raise EscoitaError("not supported", path=f"{base}/config.json", key=key, value=repr(encoder[name]))
    audio = {native: _nested(encoder, name, base) for name, native in AUDIO_FIELDS.items()}
    audio["downsample_rate"] = _nested(old, "embd_layer.audio_embd_layer.downsample_rate", base)
    vision = VISION | {"crop_size": _nested(old, "embd_layer.image_embd_layer.crop_size", base)}
    # The published configuration omits both, because the old code defines them; they equal the native defaults.
    for section, tokens in ((audio, "audio_token_id"), (vision, "image_token_id")):
        if tokens in old:
            section[tokens] = old[tokens]
    return Phi4MultimodalConfig(
        **{name: value for name, value in old.items() if name not in LEFT_OUT | {"audio_token_id", "image_token_id"}},
        audio_config=Phi4MultimodalAudioConfig(**audio),
        vision_config=Phi4MultimodalVisionConfig(**vision),
    )


def _nested(section: dict[str, Any], path: str, base: str) -> Any:
    value: Any = section
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            problem = f"missing, but required for model_type {OLD_TYPE}"
            raise EscoitaError(problem, path=f"{base}/config.json", key=path)
        value = value[name]
    return value


class OldLayout:
    """Load weights in the old layout with the loader of transformers: tensor by tensor, from the shards."""

    @staticmethod
    def from_pretrained(base: str, **options: Any) -> tuple[Phi4MultimodalForCausalLM, dict[str, Any]]:
        """
        Load the model without the LoRA matrices that may be stored among the weights.

        Args:
            base (`str`): A folder, or a repository on the Hub.
            options (`Any`): The arguments of `from_pretrained`, including the native configuration and
                `output_loading_info`.

        Returns:
            `tuple`: The model, and the loading information of transformers.

        Raises:
            EscoitaError: A weight is unexpected; `key` is its name.
        """
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # transformers would list every LoRA matrix
        try:
            model, found = Phi4MultimodalForCausalLM.from_pretrained(base, key_mapping=RENAMED, **options)
        finally:
            logging.set_verbosity(verbosity)
        unexpected = [name for name in found["unexpected_keys"] if ".lora_" not in name]
        if unexpected:
            problem = f"unexpected weight (and {len(unexpected) - 1} others)"
            raise EscoitaError(problem, path=base, key=min(unexpected))
        model.__dict__.pop("_weight_conversions", None)  # otherwise saving would write the old names again
        return model, found


# The configuration key of weights with a merged speech LoRA.
MERGED = "speech_lora_merged"
# PEFT writes the prefix `base_model.model.`, and Transformers does not; `.speech` occurs among the weights of a base.
LOW_RANK = re.compile(r"^(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<matrix>[AB])(?:\.speech)?\.weight$")
# Fields of an adapter configuration that are not supported, because they add to the product of two matrices per layer.
UNSUPPORTED = ("use_dora", "alpha_pattern", "rank_pattern", "modules_to_save", "lora_bias", "fan_in_fan_out")


def speech_lora(base: str, revision: str | None, old: dict[str, Any]) -> tuple[list[Path], float] | None:
    """
    Find the speech LoRA of a downloaded base.

    Args:
        base (`str`): A folder, or a repository on the Hub.
        revision (`str`, *optional*): The revision of the repository.
        old (`dict`): The configuration of a base in the old layout, else empty.

    Returns:
        `tuple[list[Path], float]`, *optional*: The files that contain the LoRA, and its scale; `None` if it is
        missing. As in the old code, a LoRA among the weights precedes a separate folder, because further training
        saves it there.

    Raises:
        EscoitaError: The configuration of the LoRA is missing or invalid.
        SpeechLoraError: The configuration is not plain LoRA, or contradicts the tensors.
    """
    if "speech_lora" in old:
        files = [path for path in weight_files(base, revision) if path.parent.name != SPEECH_LORA]
        files = [path for path in files if any(True for _ in _low_rank_matrices(path, base, among_weights=True))]
        if files:
            alpha, rank = (_positive(old["speech_lora"], name, base) for name in ("lora_alpha", "r"))
            _check_ranks(files, rank, base, among_weights=True)
            return files, alpha / rank
    weights = file_if_any(base, f"{SPEECH_LORA}/adapter_model.safetensors", revision)
    if weights is None:
        return None
    owner = f"{base}/{SPEECH_LORA}"
    settings = read_settings(local_file(base, f"{SPEECH_LORA}/adapter_config.json", revision), owner)
    unsupported = [name for name in UNSUPPORTED if getattr(settings, name)]
    if unsupported or settings.bias not in (None, "none"):
        key = unsupported[0] if unsupported else "bias"
        raise SpeechLoraError("not supported for this LoRA", path=f"{owner}/adapter_config.json", key=key)
    _check_ranks([weights], settings.r, owner, among_weights=False)
    return [weights], settings.lora_alpha / (settings.r**0.5 if settings.use_rslora else settings.r)


@torch.no_grad()
def merge_speech_lora(model: torch.nn.Module, base: str, files: list[Path], scale: float) -> None:
    """
    Add the speech LoRA to the weights of its base in float32, layer by layer.

    Args:
        model (`torch.nn.Module`): The base, which is changed in place.
        base (`str`): The folder or repository of the base, for errors.
        files (`list[Path]`): The files of [`speech_lora`].
        scale (`float`): The scale of the product of the two matrices.

    Raises:
        SpeechLoraError: A matrix is missing or does not fit, or the second matrix of a layer is zero, as after saving
            an adapter whose names did not match; `key` is the layer.
    """
    owner = f"{base}/{SPEECH_LORA}"
    with ExitStack() as opened:
        found: dict[str, dict[str, Any]] = {}
        for path in files:
            weights = opened.enter_context(opened_weights(path, base))
            for layer, matrix, name in _low_rank_matrices(path, base, among_weights=path.parent.name != SPEECH_LORA):
                found.setdefault(layer, {})[matrix] = (weights, name)
        if not found:
            raise SpeechLoraError("contains neither lora_A nor lora_B", path=owner)
        for layer, matrices in found.items():
            if matrices.keys() != {"A", "B"}:
                raise SpeechLoraError("contains only one matrix of this layer", path=owner, key=layer)
            try:
                weight = model.get_parameter(f"{layer}.weight")
            except AttributeError as error:
                raise SpeechLoraError("the base has no such layer", path=owner, key=layer) from error
            low, high = (matrices[one][0].get_tensor(matrices[one][1]).to(weight.device).float() for one in "AB")
            refuse_not_finite({f"{layer}.lora_A": low, f"{layer}.lora_B": high}, owner)
            if not high.any():
                raise SpeechLoraError("has no effect, because lora_B is zero", path=owner, key=layer)
            if (high.shape[0], low.shape[1]) != weight.shape or high.shape[1] != low.shape[0]:
                problem = f"does not fit the layer: lora_A has shape {tuple(low.shape)}, lora_B {tuple(high.shape)}"
                raise SpeechLoraError(problem, path=owner, key=layer)
            weight.copy_(weight.float() + scale * (high @ low))


def _positive(settings: Any, name: str, base: str) -> float:
    value = settings.get(name) if isinstance(settings, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise EscoitaError("expected a positive number", path=f"{base}/config.json", key=f"speech_lora.{name}")
    return value


def _check_ranks(files: list[Path], rank: float, owner: str, among_weights: bool) -> None:
    """Compare the configured rank, which determines the scale, with the first dimension of every lora_A."""
    for path in files:
        with opened_weights(path, owner) as weights:
            for layer, matrix, name in _low_rank_matrices(path, owner, among_weights):
                shape = weights.get_slice(name).get_shape()
                if matrix == "A" and (not shape or shape[0] != rank):
                    problem = f"lora_A has shape {tuple(shape)}; expected rank {rank}"
                    raise SpeechLoraError(problem, path=f"{owner}/{path.name}", key=layer)


def _low_rank_matrices(path: Path, owner: str, among_weights: bool) -> Iterator[tuple[str, str, str]]:
    """Yield the layer, `A` or `B`, and the name of each LoRA matrix in a file."""
    with opened_weights(path, owner) as weights:
        for name in weights.keys():  # noqa: SIM118  not a dict
            if among_weights and ".speech." not in name:
                continue
            match = LOW_RANK.match(name)
            if match:
                yield match["layer"], match["matrix"], name
            elif not among_weights:
                raise SpeechLoraError("not a LoRA tensor", path=f"{owner}/{path.name}", key=name)
