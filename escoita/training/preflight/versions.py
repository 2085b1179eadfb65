"""Libraries and what is known to go wrong between them."""

from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from escoita.recipe.recipe import Recipe
from escoita.training.preflight.finding import Finding


SHOWN = ("torch", "transformers", "trl", "peft", "datasets", "huggingface-hub")
# The newest transformers that makes Gemma 4's processor only beside torchvision, and the first known not to.
_NEEDS_TORCHVISION = ("5.17.0", "5.23.0")


def find_versions(recipe: Recipe, model_type: str | None) -> Iterator[Finding]:
    """
    Looks at the versions of the libraries, and at what the recipe needs beside the core.

    Args:
        recipe ([`Recipe`]): Names engine and precision of the base.
        model_type (`str`, *optional*): Of the base, where it is known.
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
    if model_type == "gemma4" and not find_spec("torchvision"):
        yield from _gemma4_without_torchvision()


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


def _gemma4_without_torchvision() -> Iterator[Finding]:
    from packaging.version import Version

    version, (last, first) = installed("transformers") or "0", _NEEDS_TORCHVISION
    if Version(version) <= Version(last):
        found = f"transformers {version} imports Gemma 4's processor only beside torchvision"
        yield Finding("refusal", "torchvision", found, f"pip install torchvision, or transformers {first} or newer")
