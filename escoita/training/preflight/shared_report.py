"""
Describe a machine, a recipe and its training for others, without tokens, paths, names or transcripts.

Only numbers and words from known lists are included, because any other text may contain what must not be shared.
"""

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from escoita import __version__
from escoita.errors import EscoitaError, RecordError
from escoita.models.families import BY_MODEL_TYPE, FamilyInfo
from escoita.recipe.schema import Modules, Recipe
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.training.preflight.checks import Finding, installed
from escoita.training.preflight.model import PARTS


LIBRARIES = (
    *("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "unsloth", "torchvision"),
    *("huggingface-hub", "soundfile", "soxr", "jiwer", "rapidfuzz", "pydantic", "numpy"),
)
# The subjects of findings; those of corpora are followed by a name, which is left out.
SUBJECTS = {
    *("libraries", "machine", "GPU", "precision", "recipe", "base", "family", "license", "prompt", "trained", "trial"),
    *("length", "memory", "disk", "publishing", "Hub", "train", "validation", "test", "model", "unsloth", "4 bits"),
    "torchvision",
}
# Fields of `training` whose values are numbers or truth values.
NUMBERS = (
    *("num_train_epochs", "max_steps", "per_device_train_batch_size", "per_device_eval_batch_size", "eval_steps"),
    *("gradient_accumulation_steps", "learning_rate", "warmup_steps", "weight_decay", "max_length", "save_steps"),
    *("dataloader_num_workers", "gradient_checkpointing", "bf16", "fp16", "use_cpu", "torch_compile", "ddp_timeout"),
)
VERSION = re.compile(r"\d{1,5}(\.\d{1,5}){1,3}((\.dev|\.post|a|b|rc)\d{1,8})?(\+(cpu|cu\d{1,4}|rocm[\d.]{1,8}))?")
# The names that drivers of NVIDIA and AMD give: a list of words, the first of which is a brand.
GPU_NAME = re.compile(r"(NVIDIA|AMD|Tesla|Quadro|GeForce|Intel)( [A-Za-z0-9()-]{1,16}){0,7}|cpu")
KEY = re.compile(
    r"(training|method|validation|eval|corpora|card|hub|space|prompt)(\.[a-z_0-9]{1,40})?|[a-z_0-9]{1,20}"
)
CLASS = re.compile(r"[A-Z][A-Za-z]{1,40}Error")
GIGABYTE = 1e9


def shared_report(recipe: Recipe, info: FamilyInfo | None, findings: Iterable[Finding]) -> dict[str, Any]:
    """
    Return the report for JSON.

    Args:
        recipe ([`Recipe`]): The recipe.
        info ([`~escoita.models.families.FamilyInfo`], *optional*): The family of the base, if it is known.
        findings (`Iterable[Finding]`): The findings of the preflight check.
    """
    return {
        "escoita": _version(__version__),
        "machine": _machine(),
        "recipe": _recipe(recipe, info),
        "findings": [_finding(each) for each in findings],
        "training": _training(recipe),
    }


def family_info(recipe: Recipe) -> FamilyInfo | None:
    """Return the family of the base, or `None` if it cannot be read; a finding names the reason."""
    from escoita.models import family_of

    try:
        return family_of(recipe.base, recipe.base_revision).info
    except EscoitaError:
        return None


def _machine() -> dict[str, Any]:
    import psutil
    import torch

    gpus = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        memory = {"memory_gb": round(total / GIGABYTE, 1), "free_gb": round(free / GIGABYTE, 1)}
        gpus.append({"name": _gpu(torch.cuda.get_device_name(index))} | memory)
    return {
        "python": _version(platform.python_version()),
        "system": sys.platform if sys.platform in ("linux", "darwin", "win32") else None,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / GIGABYTE, 1),
        "cuda": _version(str(torch.version.cuda)),
        "gpus": gpus,
        "versions": _versions({name: installed(name) for name in LIBRARIES}),
    }


def _recipe(recipe: Recipe, info: FamilyInfo | None) -> dict[str, Any]:
    from transformers import SchedulerType
    from transformers.training_args import OptimizerNames

    training: dict[str, Any] = {name: _number(recipe.training[name]) for name in NUMBERS if name in recipe.training}
    for key, words in (("optim", OptimizerNames), ("lr_scheduler_type", SchedulerType)):
        if (value := recipe.training.get(key)) in {str(each.value) for each in words}:
            training[key] = value
    method = recipe.method
    return {
        "family": info.name if info else None,
        "experimental": info.experimental if info else None,
        "published_base": info is not None and recipe.base in info.bases,
        "engine": recipe.engine,
        "dtype": recipe.dtype,
        "load_in_4bit": recipe.load_in_4bit,
        "method": method.kind,
        "rank": None if isinstance(method, Modules) else _number(method.r),
        "training": {name: value for name, value in training.items() if value is not None},
        "validation_clips": recipe.validation.clips,
        "batch_seconds": _number(recipe.eval.batch_seconds),
        "max_new_tokens": recipe.eval.max_new_tokens,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    """Return subject and mark; of an error its class and key; of the memory estimate its parts."""
    about = finding.about if finding.about in SUBJECTS else finding.about.partition(" ")[0]
    found: dict[str, Any] = {"about": about if about in SUBJECTS else None, "mark": finding.mark}
    if finding.error is not None:
        name, key = type(finding.error).__name__, str(finding.error.key or "")
        found["error"] = name if CLASS.fullmatch(name) else None
        found["key"] = key if _known_key(key) else None
    if about == "memory":
        parts = (re.fullmatch(r"(.{1,60}?) +(\d+\.\d{3}) GB", line) for line in finding.details)
        found["parts_gb"] = {part[1]: float(part[2]) for part in parts if part and part[1] in PARTS.values()}
    return found


def _known_key(key: str) -> bool:
    """Return whether a key is one of the schema or of SFTConfig; a key that a user invented may be anything."""
    from dataclasses import fields

    from trl import SFTConfig

    section, _, field = key.partition(".")
    if section == "training":
        return not field or field in {each.name for each in fields(SFTConfig)}
    if section not in Recipe.model_fields:
        return False
    return not field or field in {"clips", "patience", "kind", "r", "trainable", "target_modules", "modules", "repo"}


def _training(recipe: Recipe) -> dict[str, Any] | None:
    """Return the figures of the training record, if the run is trained."""
    try:
        record = TrainingRecord.read(RunDirectory(recipe.run_path).training)
    except RecordError:
        return None
    pace = record.pace
    return {
        "family": record.family if record.family in BY_MODEL_TYPE else None,
        "device": _gpu(record.device),
        "processes": record.processes,
        "engine": record.engine if record.engine in ("transformers", "unsloth") else None,
        "mixed_precision": record.mixed_precision if record.mixed_precision in ("bf16", "fp16", "no") else None,
        "load_in_4bit": record.load_in_4bit,
        "steps": record.steps,
        "train_seconds": record.train_seconds,
        "sessions": record.sessions,
        "peak_memory_gb": round(record.peak_memory_bytes / GIGABYTE, 2),
        "step_seconds": pace and pace.step_seconds,
        "waiting_share": pace and pace.waiting_share,
        "audio_hours_per_hour": pace and pace.audio_hours_per_hour,
        "padding_share": pace and pace.padding_share,
        "split_batches": pace and pace.halved_batches,
        "clips": sum(corpus.utterances for corpus in record.corpora),
        "audio_seconds": sum(corpus.audio_seconds for corpus in record.corpora),
        "loss": [each.loss for each in record.loss],
        "validation_wer": [each.wer for each in record.validation],
        "versions": _versions(record.versions),
    }


def _versions(found: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: _version(found[name]) for name in LIBRARIES if name in found}


def _version(value: str | None) -> str | None:
    return value if value and VERSION.fullmatch(value) else None


def _gpu(value: str) -> str | None:
    return value if GPU_NAME.fullmatch(value) else None


def _number(value: Any) -> Any:
    """Return a number or a truth value; a number that YAML reads as a string, such as 1e-4, as a number."""
    if isinstance(value, bool | int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
