"""Select the class of a model family; each family of audio language models has one class."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import EscoitaError
from escoita.models.families import BASELINE_NAMES, BASELINES, BY_MODEL_TYPE
from escoita.utils.library_output import quiet_libraries


if TYPE_CHECKING:
    from escoita.models.base import Family
    from escoita.models.trainable import TrainableFamily


def family_of(base: str, revision: str | None = None) -> TrainableFamily:
    """
    Return the family of a base model that can be trained, selected by the `model_type` of its configuration.

    Args:
        base (`str`): A folder, or a repository on the Hub.
        revision (`str`, *optional*): The revision of the repository.

    Raises:
        EscoitaError: The model is not found, or its type cannot be trained.
    """
    family, model_type = _families(base, revision)
    if family is None:
        hint = f"use one of {', '.join(BY_MODEL_TYPE)}"
        raise EscoitaError("cannot be trained", path=base, key="model_type", value=model_type, hint=hint)
    return family


def family_for_evaluation(model: str, revision: str | None = None) -> Family:
    """
    Return the family of any model that can be evaluated: a base, or a baseline that it is compared with.

    Args:
        model (`str`): A folder, or a repository on the Hub.
        revision (`str`, *optional*): The revision of the repository.

    Raises:
        EscoitaError: The model is not found, or its type is not supported.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES

    from escoita.models.ctc import CtcFamily

    family, model_type = _families(model, revision)
    if family is not None:
        return family
    if model_type in BASELINES:
        module, name = BASELINES[model_type].split(":")
        baseline: Family = getattr(import_module(f"escoita.models.{module}"), name)(_config(model, revision))
        return baseline
    encoder = getattr(transformers, MODEL_FOR_CTC_MAPPING_NAMES.get(model_type, ""), None)
    # Other encoders with a CTC head write subwords and count their frames differently.
    if hasattr(encoder, "_get_feat_extract_output_lengths"):
        return CtcFamily()
    hint = f"use {BASELINE_NAMES}, or a model behind --endpoint"
    raise EscoitaError("not supported", path=model, key="model_type", value=model_type, hint=hint)


def trained_family(model_type: str, config: dict[str, Any] | None = None) -> TrainableFamily | None:
    """
    Return the family of a model type that can be trained, or `None`.

    Args:
        model_type (`str`): The `model_type` of a configuration.
        config (`dict`, *optional*): The configuration of the base.

    Raises:
        ImportError: A class of Transformers, or a package that it needs, is missing.
    """
    if model_type == "wav2vec2" and (config or {}).get("adapter_attn_dim"):
        model_type = "mms"
    if model_type not in BY_MODEL_TYPE:
        return None
    # A module is imported only for a base of its family, because the imports of its classes take time.
    module, family = BY_MODEL_TYPE[model_type].implementation.split(":")
    return getattr(import_module(f"escoita.models.{module}"), family)(config)


def _config(model: str, revision: str | None) -> dict[str, Any]:
    """Return the stored configuration of a model."""
    from transformers import PreTrainedConfig

    return PreTrainedConfig.get_config_dict(model, revision=revision)[0]


# The largest accepted sizes of a model, by the end of their name: building a model of a million layers takes all
# memory before its weights are read.
_SIZES = {
    "layers": 1_000,
    "heads": 10_000,
    "experts": 10_000,
    "mel_bins": 4_096,
    "hidden_size": 1_000_000,
    "d_model": 1_000_000,
    "_dim": 10_000_000,
    "intermediate_size": 10_000_000,
    "vocab_size": 100_000_000,
    "positions": 100_000_000,
    "position_embeddings": 100_000_000,
}


def check_sizes(config: dict[str, Any], path: str) -> None:
    """
    Check the sizes in the configuration of a model, in those of its towers, and in lists.

    Args:
        config (`dict[str, Any]`): The stored configuration.
        path (`str`): The file, for errors.

    Raises:
        EscoitaError: A size is not possible; `key` is its name.
    """
    for key, value in config.items():
        values = value if isinstance(value, list) else [value]
        for part in values:
            if isinstance(part, dict):
                check_sizes(part, path)
        limit = next((limit for end, limit in _SIZES.items() if str(key).endswith(end)), None)
        if limit is None:
            continue
        if len(values) > _SIZES["layers"]:
            problem = f"at most {_SIZES['layers']:,} values are accepted"
            raise EscoitaError(problem, path=path, key=str(key), value=len(values))
        # A list may contain the numbers of layers, counted from the last one as negative.
        least = -limit if isinstance(value, list) else 0
        for number in values:
            if type(number) in (int, float) and not least <= number <= limit:
                problem = f"not possible; {least:,} to {limit:,} is accepted"
                raise EscoitaError(problem, path=path, key=str(key), value=number)


def _families(model: str, revision: str | None) -> tuple[TrainableFamily | None, str]:
    """Return the family of a model, or `None` if it cannot be trained, and its model type."""
    from transformers import PreTrainedConfig
    from transformers.utils import logging

    from escoita.hub.files import local_file
    from escoita.utils.untrusted import MOST_JSON_BYTES, refuse_large

    local, path = Path(model).is_dir(), Path(model) / "config.json"
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    quiet_libraries()
    try:
        if path.is_file():
            refuse_large(path, model, MOST_JSON_BYTES)
        # Not AutoConfig, which refuses the older layout of Phi-4.
        if not local:  # Transformers takes a missing file for an empty configuration
            local_file(model, "config.json", revision)
        config, _ = PreTrainedConfig.get_config_dict(model, revision=revision)
        model_type = config["model_type"]
        if not isinstance(model_type, str):
            raise TypeError("model_type must be a string")
        check_sizes(config, str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = "not found, or not the configuration of a model" if local else "not the configuration of a model"
        raise EscoitaError(problem, path=path) from error
    try:
        return trained_family(model_type, config), model_type
    except ImportError as error:
        problem = f"requires a package that is not installed: {str(error).splitlines()[0]}"
        raise EscoitaError(problem, path=model, key="model_type", value=model_type) from error
