"""What a card names: repositories in its code and commands, the base, and framework versions."""

import re
from collections.abc import Mapping

from escoita.cards.verify.check import Check, compared, skipped
from escoita.cards.verify.text import every_block


_NAMED = re.compile(
    r"""(?P<quote>["'])(?P<string>[\w.-]+/[\w.-]+)(?P=quote)"""  # of code
    r"|escoita verify (?P<command>[\w./-]+)|https://huggingface\.co/(?P<link>[\w.-]+/[\w.-]+)"
)


def named(card: str) -> list[str]:
    """Repositories that the blocks of a card name in code, commands and links, in their order."""
    text = "\n".join(block.text for block in every_block(card))
    return [found["string"] or found["command"] or found["link"] for found in _NAMED.finditer(text)]


def check_names(card: str, made: str, adapter: str, base: str) -> Check:
    """
    Looks at the repositories that the code, the commands and the links of a card name.

    Args:
        card (`str`): As it was published.
        made (`str`): The card as it is made for this repository.
        adapter (`str`): The repository.
        base (`str`): That of the base.
    """
    right = set(named(made)) | {adapter, base}
    wrong = [name for name in dict.fromkeys(named(card)) if name not in right]
    return compared(
        "repositories in the code",
        [f"{name}, instead of {adapter} or {base}" for name in wrong],
        f"adapter {adapter}, base {base}",
    )


def check_versions(card: str, versions: Mapping[str, str]) -> Check:
    """
    Compares the framework versions on a card with those of training.

    Args:
        card (`str`): As it was published.
        versions (`Mapping[str, str]`): Of `training.json`.
    """
    text = "\n".join(block.text for block in every_block(card)).replace("\\", "")
    told = {
        name: found[1]
        for name in versions
        if (found := re.search(rf"(?<![\w-]){re.escape(name)} v?(\d[\w.+!-]*[\w+])", text))
    }
    if not told:
        return skipped("framework versions", "the card names none")
    wrong = [
        f"{name}: {version} on the card, {versions[name]} in training.json"
        for name, version in told.items()
        if version != versions[name]
    ]
    return compared("framework versions", wrong, f"{len(told)} are those of training.json")
