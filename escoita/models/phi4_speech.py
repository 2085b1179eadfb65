"""
The speech LoRA of Phi-4-multimodal, without which its language model knows nothing of speech.

It is published beside the weights, or among them, and is merged into them when they are loaded: the adapter of a
recipe stands on top of it, and of two adapters of PEFT on one model each switches the other off.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from escoita.models.adapter import refuse_not_finite
from escoita.models.adapter_files import read_settings
from escoita.errors import EscoitaError
from escoita.hub.files import SPEECH_LORA, file_if_any, local_file, weight_files
from escoita.models.weight_files import opened_weights


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
