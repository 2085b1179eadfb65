"""What was looked at, what was found, and what to do about it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from escoita.errors import EscoitaError


Mark = Literal["ok", "warning", "refusal"]
# The subject of refusals that concern publishing and not training.
PUBLISHING = "publishing"


@dataclass(frozen=True)
class Finding:
    """
    One line of the report.

    Args:
        mark (`str`): `ok`; `warning`, which training survives; or `refusal`, which it does not.
        about (`str`): What was looked at, in a word or two.
        found (`str`): What was found.
        advice (`str`): What to do about it; empty where nothing is to be done.
        details (`tuple[str, ...]`): Lines that stand below it.
    """

    mark: Mark
    about: str
    found: str
    advice: str = ""
    details: tuple[str, ...] = ()


def findings_of(about: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """
    Collects what a look finds; what it refuses is a finding too, so that all the others are still reported.

    Args:
        about (`str`): What is looked at.
        look (`Callable[[], Iterator[Finding]]`): Yields findings; may raise an [`EscoitaError`].
    """
    found: list[Finding] = []
    try:
        found.extend(look())
    except EscoitaError as error:
        found += [Finding("refusal", about, line) for line in str(error).splitlines()]
    return found
