"""Model families: what differs between audio language models, behind one small class each."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import EscoitaError
from escoita.models.families import BY_MODEL_TYPE


if TYPE_CHECKING:
    from escoita.models.base import Family
    from escoita.models.chat import ChatFamily


def family_of(base: str, revision: str | None = None) -> ChatFamily:
    """
    Finds the family of a base model, which can be trained, by the `model_type` of its configuration.

    Args:
        base (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): Of the repository.

    Returns:
        [`ChatFamily`]: The family.

    Raises:
        EscoitaError: There is no such model, or no family serves it.
    """
    family, model_type = _families(base, revision)
    if family is None:
        raise EscoitaError(f"model {base}: its type {model_type!r} is not one of {', '.join(BY_MODEL_TYPE)}")
    return family


def listener_of(model: str, revision: str | None = None) -> Family:
    """
    Finds the family of any model that can be evaluated: a base, or a baseline that stands beside it.

    Args:
        model (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): Of the repository.

    Returns:
        [`Family`]: The family; of encoders with a CTC head, those of the kind of wav2vec 2.0 are served.

    Raises:
        EscoitaError: There is no such model, or no family serves it.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES

    from escoita.models.whisper_ctc import CtcFamily, WhisperFamily

    family, model_type = _families(model, revision)
    if family is not None:
        return family
    if model_type == "whisper":
        return WhisperFamily(_config(model, revision))
    encoder = getattr(transformers, MODEL_FOR_CTC_MAPPING_NAMES.get(model_type, ""), None)
    # Others, such as Parakeet, write pieces of words, and count their frames in another way.
    if hasattr(encoder, "_get_feat_extract_output_lengths"):
        return CtcFamily()
    raise EscoitaError(f"model {model}: its type {model_type!r} is none that can listen here")


def trained_family(model_type: str, config: dict[str, Any] | None = None) -> ChatFamily | None:
    """
    Return the family of a model type that can be trained, or `None`.

    Args:
        model_type (`str`): As a configuration names it.
        config (`dict`, *optional*): The configuration of the base.

    Raises:
        ImportError: A class of Transformers, or a package that it needs, is missing.
    """
    if model_type not in BY_MODEL_TYPE:
        return None
    # A module is imported only for a base of its family: each of them costs its classes.
    module, family = BY_MODEL_TYPE[model_type].implementation.split(":")
    return getattr(import_module(f"escoita.models.{module}"), family)(config)


def _config(model: str, revision: str | None) -> dict[str, Any]:
    """The written configuration of a model whose type is known."""
    from transformers import PreTrainedConfig

    return PreTrainedConfig.get_config_dict(model, revision=revision)[0]


def _families(model: str, revision: str | None) -> tuple[ChatFamily | None, str]:
    """The trained family of a model, if any, and its model type."""
    from transformers import PreTrainedConfig
    from transformers.utils import logging

    from escoita.utils.untrusted import MOST_JSON_BYTES, refuse_large

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    # transformers 5.23 deprecates under a new name what TRL and PEFT still set
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*deprecated", category=FutureWarning)
    try:
        if (written := Path(model) / "config.json").is_file():
            refuse_large(written, f"model {model}", MOST_JSON_BYTES)
        # Not AutoConfig, which refuses the older layout of Phi-4.
        config, _ = PreTrainedConfig.get_config_dict(model, revision=revision)
        model_type = config["model_type"]
        if not isinstance(model_type, str):
            raise TypeError("model_type must be a string")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        found = (
            "the folder holds no model configuration"
            if Path(model).is_dir()
            else "neither a folder here nor a model of the Hub that can be reached"
        )
        raise EscoitaError(f"model {model}: {found}") from error
    try:
        return trained_family(model_type, config), model_type
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise EscoitaError(
            f"model {model}: for its type {model_type!r} something is not installed: {reason}"
        ) from error
