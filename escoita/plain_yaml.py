"""YAML that may be a stranger's: plain values alone, and no more of them than somebody could have written."""

from typing import Any

import yaml


# Of a text, in characters; the parser reads about a hundred thousand in a second.
LONGEST_YAML = 2_000_000
# Values once every alias stands for what it names. A few lines of aliases of aliases can stand for billions.
MOST_VALUES = 200_000
DEEPEST = 100


def read_yaml(text: str | bytes) -> tuple[Any, yaml.Node | None]:
    """
    Reads a document.

    Args:
        text (`str` or `bytes`): YAML, or JSON.

    Returns:
        `tuple[Any, yaml.Node | None]`: Its values, and where each of them stands.

    Raises:
        yaml.YAMLError: It is not YAML, names anything but plain values, is too long or nested too deep, or stands for
            too many values by its aliases.
    """
    if len(text) > LONGEST_YAML:
        raise yaml.YAMLError(f"is longer than {LONGEST_YAML:,} characters")
    try:
        loader = yaml.SafeLoader(text)
        try:
            tree = loader.get_single_node()
            _values(tree, {}, 0)
            return (None if tree is None else loader.construct_document(tree)), tree
        finally:
            loader.dispose()
    except RecursionError as error:
        raise yaml.YAMLError("is nested too deep to be read") from error
    except (ValueError, TypeError, LookupError) as error:  # such as a date that is none
        raise yaml.YAMLError(f"holds a value that cannot be read ({error})") from error


def _values(node: yaml.Node | None, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for, itself among them; aliases are the same node again."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if depth > DEEPEST:
        raise yaml.YAMLError("is nested too deep to be read")
    if id(node) not in known:
        parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_values(part, known, depth + 1) for part in parts)
    if known[id(node)] > MOST_VALUES:
        raise yaml.YAMLError(f"stands for more than {MOST_VALUES:,} values by its aliases; write them out")
    return known[id(node)]
