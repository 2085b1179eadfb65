"""Compare the front matter of a card with the front matter of the recomputed records."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from escoita.cards.front_matter import key_digest, keys, split
from escoita.cards.verify.check import Check, compared, unprovable
from escoita.cards.verify.recompute import same
from escoita.errors import PublishError
from escoita.utils.untrusted import repeated_keys


INDEX = "model-index"


def front_matter(card: str) -> dict[str, Any]:
    """
    Read the front matter of a card.

    Raises:
        PublishError: The front matter is not valid YAML.
    """
    return {key.name: key.value for key in keys(split(card)[1])}


def check_front(card: str, recomputed: str) -> Iterator[Check]:
    """
    Compare every key that escoita writes; other keys and tags of the author are listed.

    Args:
        card (`str`): Published card.
        recomputed (`str`): Card from the recomputed records.
    """
    try:
        published, expected = front_matter(card), front_matter(recomputed)
    except PublishError as error:
        yield Check("front matter", "differs", [str(error)])
        return
    found, more = [], []
    for name, value in expected.items():
        if name == INDEX:
            continue
        if name not in published:
            found.append(f"{name}: missing, expected {value}")
        elif name == "tags":
            tags = published[name] if isinstance(published[name], list) else [published[name]]
            found += [f"tags: {tag} missing" for tag in value if tag not in tags]
            more += [f"tag {tag}" for tag in tags if tag not in value]
        elif key_digest(published[name]) != key_digest(value):
            found.append(f"{name}: {str(published[name])[:80]} on the card, expected {value}")
    repeated = dict.fromkeys(keys[-1] for keys, _, _ in repeated_keys(split(card)[1]))
    found += [f"{name}: repeated in one mapping, so that a reader sees both values" for name in repeated]
    yield compared("front matter", found, f"{', '.join(name for name in expected if name != INDEX)}")
    more += [str(name) for name in published if name not in expected and name != INDEX]
    if more:
        yield unprovable("front matter: the author's own", ", ".join(more[:20]))
    yield _index(published, expected)


def _index(published: Mapping[str, Any], expected: Mapping[str, Any]) -> Check:
    """Compare each value of model-index with its task, dataset, metric, source and other fields."""
    try:
        ours, theirs = index_entries(published), index_entries(expected)
    except (TypeError, AttributeError) as error:
        return Check(INDEX, "differs", [f"cannot be read ({' '.join(str(error).split())})"])
    found = []
    for name, value in theirs.items():
        if name not in ours:
            found.append(f"{_label(name)}: missing, {value} recomputed")
        elif not same(ours[name], value):
            found.append(f"{_label(name)}: {ours[name]} on the card, {value} recomputed")
    more = {name: value for name, value in ours.items() if name not in theirs}
    found += [f"{_label(name)}: {value} on the card, not in the records" for name, value in more.items()]
    names = [{str(model.get("name")) for model in front.get(INDEX) or []} for front in (published, expected)]
    if names[0] != names[1]:
        found.append(f"name: {', '.join(sorted(names[0]))} on the card, {', '.join(sorted(names[1]))} recomputed")
    return compared(INDEX, found, f"{len(theirs)} values, with their datasets, metrics and sources")


def index_entries(front: Mapping[str, Any]) -> dict[Hashable, Any]:
    """
    Return the values of a model-index by all other fields of their entries; equal entries are numbered.

    Raises:
        TypeError: The index does not have the format of the Hub.
        AttributeError: The index does not have the format of the Hub.
    """
    values: dict[Hashable, Any] = {}
    seen: Counter[Hashable] = Counter()
    for model in front.get(INDEX) or []:
        if more_of_model := _hashable({key: each for key, each in model.items() if key not in ("name", "results")}):
            values["model", (), (), more_of_model] = "other keys than name and results"
        for result in model.get("results") or []:
            if not result.get("metrics"):
                values["result", _hashable(result.get("dataset") or {}), ()] = "a result without metrics"
            dataset, source = result.get("dataset") or {}, _hashable(result.get("source") or {})
            more = _hashable({key: each for key, each in result.items() if key not in _KNOWN})
            for metric in result.get("metrics") or []:
                about = _hashable({key: each for key, each in metric.items() if key != "value"})
                name = (_hashable(result.get("task")), _hashable(dict(dataset.items())), about, source, more)
                values[*name, seen[name]] = metric.get("value")
                seen[name] += 1
    return values


_KNOWN = {"task", "dataset", "metrics", "source"}


def _hashable(value: Any) -> Hashable:
    """Return a hashable copy of a value."""
    if isinstance(value, dict):
        return tuple(sorted((str(key), _hashable(each)) for key, each in value.items()))
    return tuple(map(_hashable, value)) if isinstance(value, list) else str(value)


def _label(name: Any) -> str:
    """Return corpus and metric of an entry."""
    dataset, metric = name[1:3]
    corpus, what = dict(dataset), dict(metric)
    return f"{corpus.get('name') or corpus.get('type')}, {what.get('name') or what.get('type')}"
