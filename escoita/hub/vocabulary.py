"""Check the metadata of a card against the Hub's lists of tasks, libraries, licenses and languages."""

import difflib
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from huggingface_hub import CardData, ModelCard

from escoita.errors import PublishError


# Fields of the front matter, and the list of the values of each.
LISTS = {
    "pipeline_tag": "pipeline_tags",
    "library_name": "libraries",
    "license": "licenses",
    "language": "languages",
}


_LICENSE_NAME = re.compile(r"[a-z0-9.-]+")
_LICENSE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt")


class MetadataError(PublishError):
    """
    Report metadata of a card that the Hub does not recognize.

    Args:
        faults (`list[tuple[str, str]]`): Field and problem of each fault.
    """

    faults: list[tuple[str, str]]


def check(front: CardData) -> None:
    """
    Check a front matter against the lists of the Hub. The Hub accepts other values, but its search ignores them.

    Args:
        front ([`CardData`]): The front matter. Missing fields are not checked.

    Raises:
        MetadataError: A value is on no list.
    """
    if faults := [*_unknown(front), *_license_faults(front)]:
        problem = "; ".join(f"{field}: {fault}" for field, fault in faults)
        raise MetadataError(problem, path="card", faults=faults)


def check_card(content: str) -> None:
    """
    Check the front matter of a card without a request to the Hub.

    Args:
        content (`str`): The card, or its front matter alone.

    Raises:
        PublishError: The front matter cannot be read.
        MetadataError: A value is on no list.
    """
    try:
        card = ModelCard(content)
    except (ValueError, yaml.YAMLError) as error:
        raise PublishError(f"the metadata is invalid ({' '.join(str(error).split())})", path="card") from error
    check(card.data)


@cache
def vocabulary() -> dict[str, frozenset[str]]:
    """Return the lists of known values by name, from a file that `tests/cards/make_vocabulary.mjs` writes."""
    document = json.loads(files("escoita.hub").joinpath("vocabulary.json").read_text("utf-8"))
    return {name: frozenset(document[name].split()) for name in LISTS.values()}


def _unknown(front: CardData) -> Iterator[tuple[str, str]]:
    for field, name in LISTS.items():
        known = vocabulary()[name]
        for value in _listed(front.get(field)):
            if str(value) not in known:
                near = difflib.get_close_matches(str(value).lower(), sorted(known), n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                other = "; for another license, use other with license_name and license_link"
                yield field, f"not known to the Hub: {value!r}{hint}{other if field == 'license' else ''}"


def _license_faults(front: CardData) -> Iterator[tuple[str, str]]:
    if "other" in _listed(front.get("license")):
        for field in ("license_name", "license_link"):
            if not front.get(field):
                yield field, f"required with the license other; set card.{field} in the recipe"
    name, link = (str(front.get(field) or "") for field in ("license_name", "license_link"))
    if name and not _LICENSE_NAME.fullmatch(name):
        yield "license_name", f"expected lower-case letters, digits, - and . only, not {name!r}"
    if link and link not in _LICENSE_FILES and not link.startswith(("https://", "http://")):
        yield "license_link", f"expected a URL or one of {', '.join(_LICENSE_FILES)}, not {link!r}"


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
