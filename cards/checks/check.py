"""A line of what `escoita verify` answers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from escoita.errors import EscoitaError


Verdict = Literal["holds", "differs", "not checked", "cannot be proven"]
# Of what differs in one place, so many lines are said, and how many more there are.
MOST_LINES = 8


@dataclass(frozen=True)
class Check:
    """
    What was looked at, and what came of it.

    Args:
        what (`str`): In a few words.
        verdict (`str`): `holds`, `differs`, or `not checked`, which counts as neither.
        lines (`Sequence[str]`): How, or why not; each difference on a line of its own.
    """

    what: str
    verdict: Verdict
    lines: Sequence[str] = ()


def compared(what: str, differences: Sequence[str], holds: str = "") -> Check:
    """A check that holds where nothing differs; `holds` says how."""
    if not differences:
        return Check(what, "holds", [holds] if holds else [])
    more = len(differences) - MOST_LINES
    return Check(what, "differs", [*differences[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])])


def skipped(what: str, why: str) -> Check:
    """What could not be looked at."""
    return Check(what, "not checked", [why])


def unprovable(what: str, why: str) -> Check:
    """Return a check of what no published file could prove."""
    return Check(what, "cannot be proven", [why])


@contextmanager
def refusals(what: str, found: list[Check]) -> Iterator[None]:
    """Makes a check that differs of what cannot be read or made: what was published does not fit together."""
    try:
        yield
    except EscoitaError as error:
        found.append(Check(what, "differs", str(error).splitlines()[:1]))
    except RecursionError:
        found.append(Check(what, "differs", ["a file is nested too deep to be read"]))
