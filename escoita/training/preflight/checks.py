"""Check a recipe against the machine, the libraries, the disk and the license of the base."""

import os
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
from escoita.models.families import FamilyInfo
from escoita.recipe.schema import Recipe
from escoita.training.checkpointing import FEWEST
from escoita.training.preflight.memory import GIGABYTE, Estimate


Mark = Literal["ok", "warning", "refusal"]
# The subject of refusals that concern publishing and not training.
PUBLISHING = "publishing"


@dataclass(frozen=True)
class Finding:
    """
    One line of the report.

    Args:
        mark (`str`): `ok`; `warning`, which training survives; or `refusal`, which it does not.
        about (`str`): What was looked at, in a word or two.
        found (`str`): What was found.
        advice (`str`): What to do about it; empty where nothing is to be done.
        details (`tuple[str, ...]`): Lines that stand below it.
    """

    mark: Mark
    about: str
    found: str
    advice: str = ""
    details: tuple[str, ...] = ()


def findings_of(about: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """
    Collects what a look finds; what it refuses is a finding too, so that all the others are still reported.

    Args:
        about (`str`): What is looked at.
        look (`Callable[[], Iterator[Finding]]`): Yields findings; may raise an [`EscoitaError`].
    """
    found: list[Finding] = []
    try:
        found.extend(look())
    except EscoitaError as error:
        found += [Finding("refusal", about, line) for line in str(error).splitlines()]
    return found


def asked(recipe: Recipe, key: str) -> Any:
    """A field of the training section, or what TRL takes unless it is given, or given as what it cannot be."""
    from escoita.training.arguments import trl_defaults, typed

    if key in recipe.training:
        with suppress(RecipeError):  # told once, where SFTConfig is looked at
            return typed(key, recipe.training[key])
    return trl_defaults()[key]


def precision(recipe: Recipe) -> str:
    """`bf16`, `fp16` or `float32`: of the products."""
    from escoita.training.arguments import bf16_by_default

    half = {key: asked(recipe, key) for key in ("fp16", "bf16", "use_cpu")}
    if half["fp16"]:
        return "fp16"
    wanted = bf16_by_default(recipe, half) if half["bf16"] is None else half["bf16"]
    return "bf16" if wanted else "float32"


# Beside adapter and optimizer a checkpoint holds tokenizer, processor and states.
_BESIDE = 50e6


def find_disk(recipe: Recipe, taken: Estimate, download_bytes: int) -> Iterator[Finding]:
    """
    Compares what is free with checkpoints, adapters, and the base where it is still to be downloaded.

    Args:
        recipe ([`Recipe`]): How many checkpoints are kept.
        taken ([`Estimate`]): Of memory; what trains is written as it stands there.
        download_bytes (`int`): Of the base.
    """
    limit = asked(recipe, "save_total_limit")
    # One more than are kept is there for a moment; the best adapter of each and the last stand beside them.
    checkpoints = max(int(limit or 0), FEWEST) + 1
    needed = checkpoints * (taken.trained + taken.optimizer + _BESIDE) + (checkpoints + 1) * (taken.trained + _BESIDE)
    yield _compare("disk", "checkpoints and adapters", needed, recipe.run_path)
    if not limit:
        each = (taken.trained + taken.optimizer + _BESIDE) / GIGABYTE
        found = f"every checkpoint is kept, each of {each:.2f} GB"
        yield Finding("warning", "disk", found, "set training.save_total_limit: 2")
    if download_bytes:
        from huggingface_hub.constants import HF_HUB_CACHE

        yield _compare("disk", "the base, in the cache of the Hub", download_bytes, Path(HF_HUB_CACHE))


def _compare(about: str, what: str, needed: float, folder: Path) -> Finding:
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    found = f"{what} take {needed / GIGABYTE:.2f} GB; {free / GIGABYTE:.1f} GB are free"
    if needed > free:
        return Finding("refusal", about, found, "free some, or put it elsewhere (run_dir, HF_HOME)")
    return Finding("ok", about, found)


class Terms(NamedTuple):
    """What is to be done, and where it is said."""

    obliges: str
    source: str


# By what the Hub calls a licence.
LICENCES = {
    "apache-2.0": Terms(
        "keep the licence and its notices beside what is derived, and say what was changed",
        "https://www.apache.org/licenses/LICENSE-2.0, section 4",
    ),
    "mit": Terms("keep the copyright line and the permission notice", "https://opensource.org/license/mit"),
    "gemma": Terms(
        "pass on the restrictions of use, a copy of the terms and the notice, and say that files were changed",
        "https://ai.google.dev/gemma/terms, section 3.1",
    ),
    "cc-by-4.0": Terms(
        "name the authors and the licence, and say what was changed",
        "https://creativecommons.org/licenses/by/4.0/legalcode.en, section 3",
    ),
    "cc-by-nc-4.0": Terms(
        "no commercial use; name the authors and the licence, and say what was changed",
        "https://creativecommons.org/licenses/by-nc/4.0/legalcode.en, sections 2 and 3",
    ),
}


def find_machine(recipe: Recipe) -> Iterator[Finding]:
    """
    Looks for a GPU and its free memory, and whether it computes in the precision that is asked for.

    Args:
        recipe ([`Recipe`]): Its training section names the precision.
    """
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            memory = f"{free / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB free"
            yield Finding("ok", "GPU", f"{torch.cuda.get_device_name(index)}, {memory}")
    elif torch.version.cuda is None and nvidia_gpu_there():
        advice = "install torch for CUDA: https://pytorch.org/get-started/locally"
        yield Finding("warning", "GPU", f"there is one, but torch {torch.__version__} is built without CUDA", advice)
    else:
        memory = f"{free_memory() / GIGABYTE:.1f} GB of memory free"
        yield Finding("warning", "GPU", f"none; {os.cpu_count()} CPU cores, {memory}", "train where there is one")
    yield find_precision(recipe)


def find_precision(recipe: Recipe) -> Finding:
    """Whether the products can be computed as the recipe says."""
    about, wanted, gpu = "precision", precision(recipe), torch.cuda.is_available()
    if asked(recipe, "fp16") and asked(recipe, "bf16"):
        return Finding("refusal", about, "fp16 and bf16 together", "leave one of training.fp16 and training.bf16 out")
    if wanted == "fp16" and not gpu:
        return Finding("refusal", about, "fp16 on a CPU", "set training.fp16: false and training.bf16: false")
    if wanted == "bf16" and gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Finding("refusal", about, "this GPU does not compute in bf16", "set training.bf16: false")
    if wanted == "bf16" and not gpu and not asked(recipe, "use_cpu"):
        return Finding("refusal", about, "bf16 without a GPU", "set training.bf16: false, or training.use_cpu: true")
    return Finding("ok", about, wanted)


def nvidia_gpu_there() -> bool:
    """Whether the machine has a GPU of NVIDIA, whatever torch can use."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def free_memory() -> int:
    """Bytes that a training can take: of the GPU, where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    import psutil

    return psutil.virtual_memory().available


SHOWN = ("torch", "transformers", "trl", "peft", "datasets", "huggingface-hub")


def find_versions(recipe: Recipe, info: FamilyInfo | None) -> Iterator[Finding]:
    """
    Looks at the versions of the libraries, and at what the recipe needs beside the core.

    Args:
        recipe ([`Recipe`]): Names engine and precision of the base.
        info ([`~escoita.models.families.FamilyInfo`], *optional*): The family of the base, if it is known.
    """
    shown = ", ".join(f"{name} {version}" for name in SHOWN if (version := installed(name)))
    unmet = list(unmet_requirements("escoita"))
    if unmet:
        yield Finding("refusal", "libraries", f"{shown}; {'; '.join(unmet)}", "install it into a fresh venv")
    else:
        yield Finding("ok", "libraries", shown)
    if recipe.engine == "unsloth":
        yield find_unsloth()
    if recipe.load_in_4bit:
        yield find_bitsandbytes()
    if info and not find_spec("torchvision"):
        yield from find_torchvision(info)


def find_unsloth() -> Finding:
    """Unsloth, and the libraries that it is known to work with, as its own package lists them."""
    about, version = "unsloth", installed("unsloth")
    if version is None:
        return Finding("refusal", about, "not installed", 'pip install "escoita[unsloth]", or engine: transformers')
    if unmet := list(unmet_requirements("unsloth")):
        advice = "install escoita[unsloth] into a venv of its own, or set engine: transformers"
        return Finding("refusal", about, f"{version}; {'; '.join(unmet)}", advice)
    return Finding("ok", about, version)


def find_bitsandbytes() -> Finding:
    """What loads linear layers in 4 bits."""
    version = installed("bitsandbytes")
    if version is None:
        return Finding("refusal", "4 bits", "bitsandbytes is not installed", "pip install bitsandbytes")
    if version in ("0.46.0", "0.48.0"):
        return Finding("refusal", "4 bits", f"bitsandbytes {version}, which Unsloth excludes", "take a newer one")
    return Finding("ok", "4 bits", f"bitsandbytes {version}")


def unmet_requirements(package: str) -> Iterator[str]:
    """What a package that is installed asks for and does not find, without its extras."""
    for line in metadata.requires(package) or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed(requirement.name)
        if version is None:
            yield f"{package} wants {requirement.name}, which is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{package} wants {requirement.name} {requirement.specifier}, not {version}"


def installed(package: str) -> str | None:
    """Version of a package; `None` where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def find_torchvision(info: FamilyInfo) -> Iterator[Finding]:
    """Refuse a version of transformers that needs torchvision for the family's processor; it is not installed."""
    from packaging.version import Version

    if info.torchvision_until is None:
        return
    version, (last, first) = installed("transformers") or "0", info.torchvision_until
    if Version(version) <= Version(last):
        found = f"transformers {version} imports {info.title}'s processor only beside torchvision"
        yield Finding("refusal", "torchvision", found, f"pip install torchvision, or transformers {first} or newer")


@dataclass(frozen=True)
class Base:
    """
    What is known of a base.

    Args:
        licence (`str`, *optional*): As the Hub calls it.
        gated (`bool`): Its terms are to be accepted on the Hub before it can be downloaded.
        download_bytes (`int`): Of its weights that are not in the cache; 0 for a folder.
        unknown (`str`): Why the Hub told nothing; empty where it did.
        at_hand (`bool`): Its configuration can be read, from a folder, the Hub or the cache.
    """

    licence: str | None = None
    gated: bool = False
    download_bytes: int = 0
    unknown: str = ""
    at_hand: bool = True


def look_up(recipe: Recipe) -> Base:
    """Reads the card in a folder, or asks the Hub; no weights are fetched."""
    if (folder := Path(recipe.base)).is_dir():
        return Base(licence=_licence_in(folder / "README.md"))
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx

    try:
        # Asked first, and once: loading from the Hub tries again for half a minute where there is no network.
        about = HfApi().model_info(recipe.base, revision=recipe.base_revision, files_metadata=True, timeout=10)
    except HFValidationError:
        return Base(unknown="this is no name of a repository", at_hand=False)
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        cached = try_to_load_from_cache(recipe.base, "config.json", revision=recipe.base_revision)
        return Base(unknown=f"the Hub cannot be asked ({type(error).__name__})", at_hand=isinstance(cached, str))
    licence = about.card_data.get("license") if about.card_data else None
    return Base(
        licence=licence if isinstance(licence, str) else None,
        gated=bool(about.gated),
        download_bytes=_not_cached(recipe, about),
    )


def find_base(recipe: Recipe, base: Base, model_type: str) -> Iterator[Finding]:
    """
    Says what the base is, and whether it can be downloaded.

    Args:
        recipe ([`Recipe`]): Names it.
        base ([`Base`]): What was looked up.
        model_type (`str`): Of its configuration.
    """
    still = f", {base.download_bytes / GIGABYTE:.1f} GB to download" if base.download_bytes else ""
    yield Finding("ok", "base", f"{recipe.base}: {model_type}{still}{base.unknown and ', ' + base.unknown}")
    if base.gated and base.download_bytes:
        from huggingface_hub import get_token

        advice = f"accept its terms at https://huggingface.co/{recipe.base} with the account of the token"
        found = "gated: its terms are to be accepted" + ("" if get_token() else ", and there is no token")
        yield Finding("warning" if get_token() else "refusal", "base", found, advice)


def find_licence(recipe: Recipe, base: Base) -> Iterator[Finding]:
    """
    Says what the licence of the base obliges, and whether the card says it.

    Args:
        recipe ([`Recipe`]): Its `card.base_terms` is what the card says.
        base ([`Base`]): What was looked up.
    """
    said = recipe.card.base_terms
    terms = LICENCES.get(base.licence or "")
    name = f"the base is under {base.licence}" if base.licence else "the licence of the base is not known"
    if terms:
        details = (f"obliges: {terms.obliges}", f"source: {terms.source}")
        if said:
            yield Finding("ok", "licence", name, details=(*details, f"card: {said}"))
        else:
            yield Finding("warning", "licence", name, "say it to readers of the card, in card.base_terms", details)
    elif said:
        yield Finding("ok" if base.licence is None else "warning", "licence", name, details=(f"card: {said}",))
    else:
        yield Finding("warning", "licence", name, "read it, and say in card.base_terms what it obliges")


def _licence_in(card: Path) -> str | None:
    """What the front matter of a card says; nothing where there is none."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        licence = ModelCard(card.read_text("utf-8"), ignore_metadata_errors=True).data.get("license")
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return licence if isinstance(licence, str) else None


def _not_cached(recipe: Recipe, about: Any) -> int:
    from huggingface_hub import try_to_load_from_cache

    weights = [file for file in about.siblings or [] if file.rfilename.endswith(".safetensors")]
    return sum(
        file.size or 0
        for file in weights
        if not isinstance(try_to_load_from_cache(recipe.base, file.rfilename, revision=about.sha), str)
    )
