"""The front matter of a card: model-index value by value, and the base that it names."""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from cards.checks.check import Check, compared
from cards.checks.rates import same
from cards.front import keys, split
from escoita.errors import PublishError


INDEX = "model-index"
# What the Hub adds to an entry or a person may, and no rate depends on.
_ASIDE = {"value", "verified", "verifyToken"}


def front_matter(card: str) -> dict[str, Any]:
    """
    What a card says to the Hub.

    Raises:
        PublishError: It is not YAML.
    """
    return {key.name: key.value for key in keys(split(card)[1])}


def check_index(card: str, made: str) -> Check:
    """
    Compares model-index with that of the recomputed record: each value; and none is missing, and none there besides.

    Args:
        card (`str`): As it was published.
        made (`str`): As it is made from what was published with it.
    """
    try:
        published, anew = (index_entries(front_matter(text)) for text in (card, made))
    except (PublishError, TypeError, AttributeError) as error:
        return Check(INDEX, "differs", [f"cannot be read ({' '.join(str(error).split())})"])
    found = []
    for name, value in anew.items():
        if name not in published:
            found.append(f"{_said(name)}: is missing, {value} recomputed")
        elif not same(published[name], value):
            found.append(f"{_said(name)}: {published[name]} on the card, {value} recomputed")
    found += [
        f"{_said(name)}: {value} on the card, which no record gives"
        for name, value in published.items()
        if name not in anew
    ]
    return compared(INDEX, found, f"{len(anew)} values")


def index_entries(front: Mapping[str, Any]) -> dict[Hashable, Any]:
    """The values of a model-index, each by all else that is said of it; of entries alike, by their number too."""
    values: dict[Hashable, Any] = {}
    seen: Counter[Hashable] = Counter()
    for model in front.get(INDEX) or []:
        for result in model.get("results") or []:
            dataset = dict((result.get("dataset") or {}).items())
            for metric in result.get("metrics") or []:
                about = _fixed({key: value for key, value in metric.items() if key not in _ASIDE})
                name = (_fixed(result.get("task")), _fixed(dataset), about)
                values[*name, seen[name]] = metric.get("value")
                seen[name] += 1
    return values


def _fixed(value: Any) -> Hashable:
    """The same as something that a dictionary can be asked for."""
    if isinstance(value, dict):
        return tuple(sorted((str(key), _fixed(each)) for key, each in value.items()))
    return tuple(map(_fixed, value)) if isinstance(value, list) else str(value)


def _said(name: Any) -> str:
    """Corpus and metric of an entry."""
    _, dataset, metric, _ = name
    corpus, what = dict(dataset), dict(metric)
    return f"{corpus.get('name') or corpus.get('type')}, {what.get('name') or what.get('type')}"
