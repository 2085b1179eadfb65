"""The words of the page, in each language that it speaks: `texts/<language>.json`, all with the same keys."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import get_args

from escoita.recipe.recipe import PageLanguage


LANGUAGES: tuple[str, ...] = get_args(PageLanguage)
# What refusals are found by, and what a limit within one is.
REFUSALS, TIMES = "refusal.", "time."
_FOLDER = Path(__file__).with_name("texts")


@cache
def texts(language: str) -> Mapping[str, str]:
    """
    All words of the page, by their keys; `{name}` stands for a value.

    Args:
        language (`str`): One of `LANGUAGES`.
    """
    words: dict[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return words


def say(key: str, language: str = "en", **values: object) -> str:
    """
    One text of the page.

    Args:
        key (`str`): As in `texts/en.json`.
        language (`str`, *optional*, defaults to `"en"`): One of `LANGUAGES`.
        values (*optional*): What its placeholders stand for; not escaped, neither here nor in the text.
    """
    return texts(language)[key].format(**values)


def fields(text: str) -> set[str]:
    """Names of the placeholders of a text."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def spoken_time(seconds: float, language: str = "en") -> str:
    """A length of time as one says it: `30 seconds`, `2 minutes`."""
    amount, unit = (seconds, "second") if seconds < 120 else (seconds / 60, "minute")
    return say(f"{TIMES}{unit}{'' if amount == 1 else 's'}", language, amount=f"{amount:g}")


def refusal(message: str, language: str) -> str:
    """
    A refusal in the language of the visitor.

    Errors are English wherever they are raised, as a command prints them too: so a message is found among the English
    refusals of the page by what stands around its values. One that is not among them stays as it is.

    Args:
        message (`str`): Of an error.
        language (`str`): One of `LANGUAGES`.
    """
    return _translated(message, language, REFUSALS)


def _translated(message: str, language: str, group: str) -> str:
    for key, pattern in _patterns(group):
        if found := pattern.fullmatch(message):
            values = found.groupdict()
            # A limit within a message is itself in words.
            values |= {name: _translated(values[name], language, TIMES) for name in values if name == "time"}
            return say(key, language, **values)
    return message


@cache
def _patterns(group: str) -> list[tuple[str, re.Pattern[str]]]:
    return [(key, _pattern(text)) for key, text in texts("en").items() if key.startswith(group)]


def _pattern(text: str) -> re.Pattern[str]:
    pieces = (
        re.escape(literal) + (f"(?P<{name}>.+?)" if name else "") for literal, name, _, _ in Formatter().parse(text)
    )
    return re.compile("".join(pieces), re.DOTALL)
