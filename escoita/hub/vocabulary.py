"""The Hub's own lists of tasks, libraries, licences and languages, and what of a card is not on them."""

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


# The field of the front matter, and the list that knows its values.
LISTS = {
    "pipeline_tag": "pipeline_tags",
    "library_name": "libraries",
    "license": "licenses",
    "language": "languages",
}


_LICENSE_NAME = re.compile(r"[a-z0-9.-]+")
_LICENSE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt")


def check(front: CardData) -> None:
    """
    Checks a front matter against the lists of the Hub, which takes other values and then finds nobody's model by them.

    Args:
        front ([`CardData`]): Fields that it lacks are not asked for.

    Raises:
        PublishError: Names each value that is on no list, and the nearest that is.
    """
    if faults := [*_unknown(front), *_unnamed(front)]:
        raise PublishError(f"card: {'; '.join(faults)}")


def check_card(content: str) -> None:
    """
    Check the front matter of a card without asking the Hub.

    Args:
        content (`str`): The card, or its front matter alone.

    Raises:
        PublishError: It is no front matter, or see [`check`].
    """
    try:
        card = ModelCard(content)
    except (ValueError, yaml.YAMLError) as error:
        raise PublishError(f"card: the Hub refuses its metadata ({' '.join(str(error).split())})") from error
    check(card.data)


@cache
def vocabulary() -> dict[str, frozenset[str]]:
    """The lists by their names; `tests/cards/make_vocabulary.mjs` makes the file that they are in."""
    document = json.loads(files("escoita.hub").joinpath("vocabulary.json").read_text("utf-8"))
    return {name: frozenset(document[name].split()) for name in LISTS.values()}


def _unknown(front: CardData) -> Iterator[str]:
    for field, name in LISTS.items():
        known = vocabulary()[name]
        for value in _listed(front.get(field)):
            if str(value) not in known:
                near = difflib.get_close_matches(str(value).lower(), sorted(known), n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                other = ", and takes it as other with license_name and license_link" if field == "license" else ""
                yield f"{field}: the Hub does not know {value!r}{hint}{other}"


def _unnamed(front: CardData) -> Iterator[str]:
    if "other" in _listed(front.get("license")):
        for field in ("license_name", "license_link"):
            if not front.get(field):
                yield f"license: other needs {field}; set card.{field} in the recipe"
    name, link = (str(front.get(field) or "") for field in ("license_name", "license_link"))
    if name and not _LICENSE_NAME.fullmatch(name):
        yield f"license_name: the Hub takes small letters, digits, - and . alone, not {name!r}"
    if link and link not in _LICENSE_FILES and not link.startswith(("https://", "http://")):
        yield f"license_link: write an address, or one of {', '.join(_LICENSE_FILES)}, not {link!r}"


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
