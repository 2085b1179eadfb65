"""Model families: what differs between audio language models, behind one small class each."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError


if TYPE_CHECKING:
    from escoita.families.chat import ChatFamily


def family_of(base: str, revision: str | None = None) -> ChatFamily:
    """
    Finds the family of a base model by the `model_type` of its configuration.

    Args:
        base (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): Of the repository.

    Returns:
        [`ChatFamily`]: The family.

    Raises:
        EscoitaError: There is no such model, or no family serves it.
    """
    from transformers import AutoConfig
    from transformers.utils import logging

    from escoita.families.gemma4 import Gemma4Family

    families = {family.model_type: family for family in (Gemma4Family,)}
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    # transformers 5.23 deprecates under a new name what TRL and PEFT still set
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*deprecated", category=FutureWarning)
    try:
        config = AutoConfig.from_pretrained(base, revision=revision)
    except (OSError, ValueError) as error:
        found = (
            "the folder holds no model configuration"
            if Path(base).is_dir()
            else "neither a folder here nor a model of the Hub that can be reached"
        )
        raise EscoitaError(f"base {base}: {found}") from error
    if config.model_type not in families:
        raise EscoitaError(f"base {base}: model type {config.model_type!r} is not one of {', '.join(families)}")
    return families[config.model_type]()
