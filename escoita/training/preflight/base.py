"""The base: whether it can be had, how much of it is still to be downloaded, and under which terms."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escoita.recipe.recipe import Recipe
from escoita.training.preflight.finding import Finding
from escoita.training.preflight.licences import LICENCES
from escoita.training.preflight.memory import GIGABYTE


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
