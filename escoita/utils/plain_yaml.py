"""YAML that may be a stranger's: plain values alone, and no more of them than somebody could have written."""

from typing import Any

import yaml

from escoita.utils.limits import DIGITS, LEVELS, YAML_CHARACTERS, YAML_VALUES


_INTEGER = "tag:yaml.org,2002:int"


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
    if len(text) > YAML_CHARACTERS:
        raise yaml.YAMLError(f"is longer than {YAML_CHARACTERS:,} characters")
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
        if isinstance(node, yaml.ScalarNode) and node.tag == _INTEGER and len(node.value) > DIGITS:
            raise yaml.YAMLError(f"holds an integer of {len(node.value):,} digits")
        return 1
    if depth > LEVELS:
        raise yaml.YAMLError("is nested too deep to be read")
    if id(node) not in known:
        parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_values(part, known, depth + 1) for part in parts)
    if known[id(node)] > YAML_VALUES:
        raise yaml.YAMLError(f"stands for more than {YAML_VALUES:,} values by its aliases; write them out")
    return known[id(node)]
