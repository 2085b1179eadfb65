"""Suggest the right key or value for a mistake in a recipe."""

import difflib
import re
import unicodedata
from collections.abc import Collection
from typing import Any

from escoita.utils.languages import suggested_tag


# What users write for a key, by section, from PEFT, Transformers, TRL, Unsloth, Axolotl and openai-whisper.
KEYS: dict[str, dict[str, str]] = {
    "": {
        "model": "base",
        "base_model": "base",
        "model_id": "base",
        "model_name": "base",
        "model_name_or_path": "base",
        "revision": "base_revision",
        "lang": "language",
        "lora": "method",
        "language_token": "method.language_token",
        "peft": "method",
        "adapter": "method",
        "data": "corpora",
        "datasets": "corpora",
        "corpus": "corpora",
        "evaluation": "eval",
        "train": "training",
        "output_dir": "run_dir",
        "load_in_8bit": "load_in_4bit",
        "torch_dtype": "dtype",
        "backend": "engine",
        "title": "card.title",
        "licence": "card.license",
        "early_stopping": "validation.patience",
        "license": "card.license",
        "repo": "hub.repo",
        "normalizer": "eval.normalizer",
        "epochs": "training.num_train_epochs",
        "learning_rate": "training.learning_rate",
    },
    "method": {
        "lora_r": "r",
        "lora_rank": "r",
        "rank": "r",
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "targets": "target_modules",
        "lora_target_modules": "target_modules",
        "modules_to_save": "kind: modules",
        "type": "kind",
        "peft_type": "kind",
    },
    "prompt": {"prompt": "user", "instruction": "user", "text": "user", "system_prompt": "system"},
    "corpora": {
        "training": "train",
        "dev": "validation",
        "valid": "validation",
        "eval": "validation",
        "evaluation": "validation",
        "max_rejected": "max_rejected_share",
    },
    "corpora.*": {
        "file": "path",
        "folder": "path",
        "manifest": "path",
        "dataset": "path",
        "data": "path",
        "format": "reader",
        "type": "reader",
        "kind": "reader",
        "subset": "config",
        "audio_column": "columns.audio",
        "text_column": "columns.text",
        "column_mapping": "columns",
        "lang": "language",
        "licence": "license",
        "max_samples": "limit",
    },
    "corpora.*.columns": {
        "path": "audio",
        "file": "audio",
        "wav": "audio",
        "transcript": "text",
        "transcription": "text",
        "sentence": "text",
        "start": "offset",
        "length": "duration",
        "client_id": "speaker",
    },
    "training": {
        "lr": "learning_rate",
        "epochs": "num_train_epochs",
        "num_epochs": "num_train_epochs",
        "steps": "max_steps",
        "batch_size": "per_device_train_batch_size",
        "train_batch_size": "per_device_train_batch_size",
        "grad_accum": "gradient_accumulation_steps",
        "accumulation_steps": "gradient_accumulation_steps",
        "warmup": "warmup_steps",
        "scheduler": "lr_scheduler_type",
        "optimizer": "optim",
        "evaluation_strategy": "eval_strategy",
        "group_by_length": "train_sampling_strategy: group_by_length",
    },
    "validation": {"early_stopping": "patience", "early_stopping_patience": "patience", "samples": "clips"},
    "eval": {
        "batch_size": "batch_seconds",
        "models": "baselines",
        "metric": "normalizer",
        "normaliser": "normalizer",
        "bootstrap": "resamples",
    },
    "card": {"licence": "license", "author": "developers", "authors": "developers", "name": "title"},
    "hub": {"repo_id": "repo", "hub_model_id": "repo", "model_id": "repo", "name": "repo"},
    "space": {
        "max_duration": "max_minutes",
        "max_size": "max_megabytes",
        "language": "languages",
        "queue": "max_queue",
    },
}

# What users write for a value, by the last part of its key.
VALUES: dict[str, dict[str, str]] = {
    "reader": {
        "csv": "manifest",
        "tsv": "manifest",
        "json": "manifest",
        "jsonl": "manifest",
        "nemo": "manifest",
        "commonvoice": "common_voice",
        "cv": "common_voice",
        "dataset": "hub",
        "datasets": "hub",
        "huggingface": "hub",
        "hf": "hub",
        "folder": "audiofolder",
        "imagefolder": "audiofolder",
    },
    "dtype": {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"},
    "kind": {"qlora": "lora", "full": "modules", "finetune": "modules"},
    "engine": {"hf": "transformers", "peft": "transformers", "trl": "transformers"},
    "metric": {"WER": "wer", "CER": "cer"},
    "normalizer": {
        "none": "raw",
        "whisper": "basic",
        "uz": "uzbek",
        "gl": "galician",
        "nfc": "raw",
        "multilingual": "unicode",
        "turkish": "unicode-turkic",
    },
}


def nearest(name: str, known: Collection[str]) -> str | None:
    """
    Return the known name that is most similar to a misspelled one; accents and case do not count.

    Args:
        name (`str`): The misspelled name.
        known (`Collection[str]`): The known names.
    """
    plain = {_plain(each): each for each in known}
    matches = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.75)
    return plain[matches[0]] if matches else None


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name.casefold())
    return re.sub(r"[\W_]+", "_", "".join(each for each in decomposed if not unicodedata.combining(each)))


def suggested_key(section: str, key: str, known: Collection[str]) -> str | None:
    """
    Return the key that a user probably meant.

    Args:
        section (`str`): The keys above it with dots, a number of a list as `*`: `corpora.*`.
        key (`str`): The unknown key.
        known (`Collection[str]`): The keys of the section.
    """
    if meant := KEYS.get(section, {}).get(key.lower().replace("-", "_")):
        return meant
    matches = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
    return matches[0] if matches else None


def suggested_value(key: str, value: Any, allowed: Collection[str] = ()) -> str | None:
    """
    Return the value that a user probably meant.

    Args:
        key (`str`): The last part of the key.
        value (`Any`): The value that was refused.
        allowed (`Collection[str]`, *optional*): The values that are accepted, if they can be listed.
    """
    if not isinstance(value, str):
        return None
    if key in ("language", "languages"):
        return suggested_tag(value)
    if meant := VALUES.get(key, {}).get(value) or VALUES.get(key, {}).get(value.lower()):
        return meant
    matches = difflib.get_close_matches(value.lower().replace("-", "_"), allowed, n=1)
    return matches[0] if matches else None
