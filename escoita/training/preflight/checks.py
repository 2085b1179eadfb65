"""Check a recipe against the machine, the libraries, the disk and the license of the base."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from packaging.requirements import Requirement

from escoita.errors import EscoitaError, RecipeError
from escoita.models.families import EXPERIMENTAL, FamilyInfo
from escoita.recipe.schema import Recipe
from escoita.training.checkpointing import MIN_CHECKPOINTS
from escoita.training.preflight.memory import GIGABYTE, Estimate


Mark = Literal["ok", "warning", "refusal"]
# The subject of refusals that affect only publishing.
PUBLISHING = "publishing"


@dataclass(frozen=True)
class Finding:
    """
    Hold one result of the preflight check.

    Args:
        mark (`str`): The severity: `ok`; `warning`, if training would succeed; or `refusal`, if it would fail.
        about (`str`): The subject, in a word or two.
        found (`str`): The result.
        advice (`str`): The advice, or an empty string.
        details (`tuple[str, ...]`): Further lines.
        error ([`~escoita.errors.EscoitaError`], *optional*): The error that a check raised.
    """

    mark: Mark
    about: str
    found: str
    advice: str = ""
    details: tuple[str, ...] = ()
    error: EscoitaError | None = None


def findings_of(about: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """
    Return the findings of a check; an error is a finding too, so that the other checks still run.

    Args:
        about (`str`): The subject.
        check (`Callable[[], Iterator[Finding]]`): The check, which yields findings and may raise an [`EscoitaError`].
    """
    found: list[Finding] = []
    try:
        found.extend(check())
    except EscoitaError as error:
        found += [Finding("refusal", about, line, error=error) for line in str(error).splitlines()]
    return found


def training_value(recipe: Recipe, key: str) -> Any:
    """Return a field of the training section, or TRL's default if it is missing or invalid."""
    from escoita.training.arguments import trl_defaults, typed

    if key in recipe.training:
        with suppress(RecipeError):  # the check of the recipe reports it
            return typed(key, recipe.training[key])
    return trl_defaults()[key]


def precision(recipe: Recipe) -> str:
    """Return the precision of matrix products: `bf16`, `fp16` or `float32`."""
    from escoita.training.arguments import bf16_by_default

    half = {key: training_value(recipe, key) for key in ("fp16", "bf16", "use_cpu")}
    if half["fp16"]:
        return "fp16"
    bf16 = bf16_by_default(recipe, half) if half["bf16"] is None else half["bf16"]
    return "bf16" if bf16 else "float32"


# The size of tokenizer, processor and states of a checkpoint, without adapter and optimizer.
_OTHER_BYTES = 50e6


def find_disk(recipe: Recipe, memory: Estimate, download_bytes: int) -> Iterator[Finding]:
    """
    Compare the free disk space with checkpoints, adapters, and the download of the base.

    Args:
        recipe ([`Recipe`]): The recipe, which limits the number of checkpoints.
        memory ([`Estimate`]): The memory estimate; trained weights and optimizer have the same size on disk.
        download_bytes (`int`): The number of bytes of the base that must be downloaded.
    """
    limit = training_value(recipe, "save_total_limit")
    # One additional checkpoint exists for a moment; the best adapter of each checkpoint and the last adapter are kept.
    checkpoints = max(int(limit or 0), MIN_CHECKPOINTS) + 1
    checkpoint_bytes = memory.trained + memory.optimizer + _OTHER_BYTES
    needed = checkpoints * checkpoint_bytes + (checkpoints + 1) * (memory.trained + _OTHER_BYTES)
    yield _compare("disk", "checkpoints and adapters", needed, recipe.run_path)
    if not limit:
        found = f"every checkpoint is kept, each of {checkpoint_bytes / GIGABYTE:.2f} GB"
        yield Finding("warning", "disk", found, "set training.save_total_limit: 2")
    if download_bytes:
        from huggingface_hub.constants import HF_HUB_CACHE

        yield _compare("disk", "the base, in the cache of the Hub", download_bytes, Path(HF_HUB_CACHE))


def _compare(about: str, what: str, needed: float, folder: Path) -> Finding:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    found = f"{what} take {needed / GIGABYTE:.2f} GB; {free / GIGABYTE:.1f} GB are free"
    if needed > free:
        return Finding("refusal", about, found, "free disk space, or use another folder (run_dir, HF_HOME)")
    return Finding("ok", about, found)


class Terms(NamedTuple):
    """Hold the obligations of a license, and their source."""

    obligations: str
    source: str


# Obligations by the Hub's identifier of a license.
LICENSES = {
    "apache-2.0": Terms(
        "keep the license and its notices with derived works, and state the changes",
        "https://www.apache.org/licenses/LICENSE-2.0, section 4",
    ),
    "mit": Terms("keep the copyright line and the permission notice", "https://opensource.org/license/mit"),
    "gemma": Terms(
        "pass on the restrictions of use, a copy of the terms and the notice, and state that files were changed",
        "https://ai.google.dev/gemma/terms, section 3.1",
    ),
    "cc-by-4.0": Terms(
        "name the authors and the license, and state the changes",
        "https://creativecommons.org/licenses/by/4.0/legalcode.en, section 3",
    ),
    "cc-by-nc-4.0": Terms(
        "no commercial use; name the authors and the license, and state the changes",
        "https://creativecommons.org/licenses/by-nc/4.0/legalcode.en, sections 2 and 3",
    ),
}


def find_machine(recipe: Recipe) -> Iterator[Finding]:
    """
    Check the GPU, its free memory, and whether it supports the precision of the recipe.

    Args:
        recipe ([`Recipe`]): The recipe, whose training section sets the precision.
    """
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            memory = f"{free / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB free"
            yield Finding("ok", "GPU", f"{torch.cuda.get_device_name(index)}, {memory}")
    elif torch.version.cuda is None and has_nvidia_gpu():
        advice = "install torch with CUDA: https://pytorch.org/get-started/locally"
        yield Finding("warning", "GPU", f"present, but torch {torch.__version__} was built without CUDA", advice)
    elif torch.version.cuda is not None and has_nvidia_gpu():
        yield find_driver()
    else:
        memory = f"{free_memory() / GIGABYTE:.1f} GB of memory free"
        yield Finding("warning", "GPU", f"none; {os.cpu_count()} CPU cores, {memory}", "train on a machine with a GPU")
    yield find_precision(recipe)


def find_driver() -> Finding:
    """Return why torch, which was built for CUDA, cannot use the GPU of this machine."""
    try:
        torch.cuda.init()
        reason = "no reason is given"
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:300]
    built = f"torch {torch.__version__}, which was built for CUDA {torch.version.cuda}"
    if old := re.search(r"driver .*too old(?:.*found version (\d+))?", reason):
        supported = f", which supports CUDA {int(old[1]) // 1000}.{int(old[1]) % 1000 // 10}," if old[1] else ""
        advice = (
            "update the NVIDIA driver, or install torch for an older CUDA: https://pytorch.org/get-started/locally"
        )
        return Finding("warning", "GPU", f"present, but its driver{supported} is too old for {built}", advice)
    advice = "run nvidia-smi, and see whether the driver works and CUDA_VISIBLE_DEVICES hides the GPU"
    return Finding("warning", "GPU", f"present, but it cannot be used by {built} ({reason})", advice)


def find_precision(recipe: Recipe) -> Finding:
    """Return whether the hardware supports the precision of the recipe."""
    about, required, gpu = "precision", precision(recipe), torch.cuda.is_available()
    if training_value(recipe, "fp16") and training_value(recipe, "bf16"):
        return Finding("refusal", about, "fp16 and bf16 together", "leave one of training.fp16 and training.bf16 out")
    if required == "fp16" and not gpu:
        return Finding("refusal", about, "fp16 on a CPU", "set training.fp16: false and training.bf16: false")
    if required == "bf16" and gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Finding("refusal", about, "this GPU does not support bf16", "set training.bf16: false")
    if required == "bf16" and not gpu and not training_value(recipe, "use_cpu"):
        return Finding("refusal", about, "bf16 without a GPU", "set training.bf16: false, or training.use_cpu: true")
    return Finding("ok", about, required)


def has_nvidia_gpu() -> bool:
    """Return whether the machine has an NVIDIA GPU, also one that torch cannot use."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def free_memory() -> int:
    """Return the number of free bytes of the GPU, or of the machine if there is none."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    import psutil

    return psutil.virtual_memory().available


SHOWN = ("torch", "transformers", "trl", "peft", "datasets", "huggingface-hub")


def find_versions(recipe: Recipe, info: FamilyInfo | None) -> Iterator[Finding]:
    """
    Check the versions of the libraries, and the optional packages that the recipe needs.

    Args:
        recipe ([`Recipe`]): The recipe, which names engine and precision.
        info ([`~escoita.models.families.FamilyInfo`], *optional*): The family of the base, if it is known.
    """
    shown = ", ".join(f"{name} {version}" for name in SHOWN if (version := installed(name)))
    unmet = list(unmet_requirements("escoita"))
    if unmet:
        advice = "install escoita into a new virtual environment"
        yield Finding("refusal", "libraries", f"{shown}; {'; '.join(unmet)}", advice)
    else:
        yield Finding("ok", "libraries", shown)
    if recipe.engine == "unsloth":
        yield find_unsloth()
    if recipe.load_in_4bit:
        yield find_bitsandbytes()
    if info and not find_spec("torchvision"):
        yield from find_torchvision(info)


def find_unsloth() -> Finding:
    """Check that Unsloth is installed, and that the versions of the libraries meet its requirements."""
    about, version = "unsloth", installed("unsloth")
    if version is None:
        advice = 'run pip install "escoita[unsloth]", or set engine: transformers'
        return Finding("refusal", about, "not installed", advice)
    if unmet := list(unmet_requirements("unsloth")):
        advice = "install escoita[unsloth] into a separate virtual environment, or set engine: transformers"
        return Finding("refusal", about, f"{version}; {'; '.join(unmet)}", advice)
    return Finding("ok", about, version)


def find_bitsandbytes() -> Finding:
    """Check that bitsandbytes is installed, which loads linear layers in 4 bits."""
    version = installed("bitsandbytes")
    if version is None:
        return Finding("refusal", "4 bits", "bitsandbytes is not installed", "run pip install bitsandbytes")
    if version in ("0.46.0", "0.48.0"):
        found = f"bitsandbytes {version}, which Unsloth excludes"
        return Finding("refusal", "4 bits", found, "install a newer version")
    return Finding("ok", "4 bits", f"bitsandbytes {version}")


def unmet_requirements(package: str) -> Iterator[str]:
    """Yield the unmet requirements of an installed package, without its extras."""
    for line in metadata.requires(package) or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed(requirement.name)
        if version is None:
            yield f"{package} requires {requirement.name}, which is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{package} requires {requirement.name} {requirement.specifier}, not {version}"


def installed(package: str) -> str | None:
    """Return the version of a package, or `None` if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def find_torchvision(info: FamilyInfo) -> Iterator[Finding]:
    """Refuse a version of transformers that needs torchvision for the family's processor if it is not installed."""
    from packaging.version import Version

    if info.torchvision_until is None:
        return
    version, (last, first) = installed("transformers") or "0", info.torchvision_until
    if Version(version) <= Version(last):
        found = f"transformers {version} needs torchvision for the processor of {info.title}"
        yield Finding("refusal", "torchvision", found, f"install torchvision, or transformers {first} or newer")


@dataclass(frozen=True)
class Base:
    """
    Hold information about a base.

    Args:
        license (`str`, *optional*): The Hub's identifier of the license.
        gated (`bool`): Whether its terms must be accepted on the Hub before the download.
        download_bytes (`int`): The size of its weights that are not in the cache; 0 for a folder.
        unknown (`str`): The reason why the Hub gave no information, or an empty string.
        available (`bool`): Whether its configuration can be read, from a folder, the Hub or the cache.
    """

    license: str | None = None
    gated: bool = False
    download_bytes: int = 0
    unknown: str = ""
    available: bool = True


def look_up(recipe: Recipe) -> Base:
    """Read the card in a folder, or request the information from the Hub; no weights are downloaded."""
    if (folder := Path(recipe.base)).is_dir():
        return Base(license=_license_in(folder / "README.md"))
    from huggingface_hub import HfApi, try_to_load_from_cache

    from escoita.hub.failures import HubError, explain_hub_errors

    try:
        # One request before anything is loaded: without a network, loading from the Hub retries for half a minute.
        with explain_hub_errors(recipe.base, "base"):
            about = HfApi().model_info(recipe.base, revision=recipe.base_revision, files_metadata=True, timeout=10)
    except HubError as error:
        if error.cause == "invalid name":
            return Base(unknown=error.problem, available=False)
        cached = try_to_load_from_cache(recipe.base, "config.json", revision=recipe.base_revision)
        return Base(unknown=error.problem, available=isinstance(cached, str))
    license = about.card_data.get("license") if about.card_data else None
    return Base(
        license=license if isinstance(license, str) else None,
        gated=bool(about.gated),
        download_bytes=_not_cached(recipe, about),
    )


def find_base(recipe: Recipe, base: Base, model_type: str) -> Iterator[Finding]:
    """
    Report the type of the base, and whether it can be downloaded.

    Args:
        recipe ([`Recipe`]): The recipe, which names the base.
        base ([`Base`]): The information about the base.
        model_type (`str`): The model type in its configuration.
    """
    download = f", {base.download_bytes / GIGABYTE:.1f} GB to download" if base.download_bytes else ""
    yield Finding("ok", "base", f"{recipe.base}: {model_type}{download}{base.unknown and ', ' + base.unknown}")
    if base.gated and base.download_bytes:
        from huggingface_hub import get_token

        advice = f"accept its terms at https://huggingface.co/{recipe.base} with the account of the token"
        found = "gated: its terms must be accepted" + ("" if get_token() else ", and no token is set")
        yield Finding("warning" if get_token() else "refusal", "base", found, advice)


def find_family(info: FamilyInfo) -> Iterator[Finding]:
    """Report whether the family of the base is experimental."""
    if info.experimental:
        advice = "train 20 steps, and compare memory and error rates with your expectation, before a long run"
        yield Finding("ok", "family", EXPERIMENTAL.format(title=info.title), advice)


def find_license(recipe: Recipe, base: Base) -> Iterator[Finding]:
    """
    Report the obligations of the license of the base, and whether the card states them.

    Args:
        recipe ([`Recipe`]): The recipe, whose `card.base_terms` appears on the card.
        base ([`Base`]): The information about the base.
    """
    card_text = recipe.card.base_terms
    terms = LICENSES.get(base.license or "")
    name = f"the license of the base is {base.license}" if base.license else "the license of the base is unknown"
    if terms:
        details = (f"obligations: {terms.obligations}", f"source: {terms.source}")
        if card_text:
            yield Finding("ok", "license", name, details=(*details, f"card: {card_text}"))
        else:
            yield Finding("warning", "license", name, "state the obligations on the card, in card.base_terms", details)
    elif card_text:
        yield Finding("ok" if base.license is None else "warning", "license", name, details=(f"card: {card_text}",))
    else:
        yield Finding("warning", "license", name, "read it, and state its obligations in card.base_terms")


def _license_in(card: Path) -> str | None:
    """Return the license in the front matter of a card, or `None`."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        license = ModelCard(card.read_text("utf-8"), ignore_metadata_errors=True).data.get("license")
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return license if isinstance(license, str) else None


def _not_cached(recipe: Recipe, about: Any) -> int:
    from huggingface_hub import try_to_load_from_cache

    weights = [file for file in about.siblings or [] if file.rfilename.endswith(".safetensors")]
    return sum(
        file.size or 0
        for file in weights
        if not isinstance(try_to_load_from_cache(recipe.base, file.rfilename, revision=about.sha), str)
    )
