"""A line of the answer of `escoita verify`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from escoita.errors import EscoitaError


Verdict = Literal["holds", "differs", "not checked", "cannot be proven"]
# The most lines that are printed of one check, before "and N more".
MOST_LINES = 8


@dataclass(frozen=True)
class Check:
    """
    The result of one comparison.

    Args:
        what (`str`): The subject, in a few words.
        verdict (`str`): `holds`; `differs`; `not checked`, if it could be checked, but not now or not here; or
            `cannot be proven`, if nothing that is published could prove it.
        lines (`Sequence[str]`): How it holds, each difference, or the reason.
        custom (`bool`, *optional*, defaults to `False`): It is not checked because a template of the publisher's own
            wrote it.
    """

    what: str
    verdict: Verdict
    lines: Sequence[str] = ()
    custom: bool = False


def compared(what: str, differences: Sequence[str], holds: str = "") -> Check:
    """Return a check that holds if there are no differences; `holds` says how."""
    if not differences:
        return Check(what, "holds", [holds] if holds else [])
    more = len(differences) - MOST_LINES
    return Check(what, "differs", [*differences[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])])


def skipped(what: str, why: str, custom: bool = False) -> Check:
    """Return a check that could be made, but not now or not here."""
    return Check(what, "not checked", [why], custom)


def unprovable(what: str, why: str) -> Check:
    """Return a check of something that nothing in the repository could prove."""
    return Check(what, "cannot be proven", [why])


@contextmanager
def refusals(what: str, found: list[Check]) -> Iterator[None]:
    """Add a check that differs if a published file cannot be read, or does not fit the others."""
    try:
        yield
    except EscoitaError as error:
        found.append(Check(what, "differs", str(error).splitlines()[:1]))
    except ArithmeticError as error:  # such as a number of hundreds of digits
        found.append(Check(what, "differs", [f"a number of a record cannot be computed with ({error})"]))
    except RecursionError:
        found.append(Check(what, "differs", ["a file is nested too deeply to be read"]))
