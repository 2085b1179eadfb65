"""Represent one check of `escoita verify`, and find the version that wrote a card."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from escoita import __version__
from escoita.cards.template import released_templates, template_digest
from escoita.errors import EscoitaError
from escoita.records.training import TrainingRecord


Verdict = Literal["holds", "differs", "not checked", "cannot be proven"]
# The most lines that are printed of one check, before "and N more".
MOST_LINES = 8


@dataclass(frozen=True)
class Check:
    """
    Represent the result of one comparison.

    Args:
        what (`str`): Subject of the comparison.
        verdict (`str`): `holds`; `differs`; `not checked`, if it could be checked under other conditions; or
            `cannot be proven`, if no published file could prove it.
        lines (`Sequence[str]`): Details, differences, or the reason.
        custom (`bool`, *optional*, defaults to `False`): Whether it is not checked because a custom template of the
            publisher wrote it.
    """

    what: str
    verdict: Verdict
    lines: Sequence[str] = ()
    custom: bool = False


def compared(what: str, differences: Sequence[str], holds: str = "") -> Check:
    """Return a check that holds if there are no differences; `holds` is the detail line in this case."""
    if not differences:
        return Check(what, "holds", [holds] if holds else [])
    more = len(differences) - MOST_LINES
    return Check(what, "differs", [*differences[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])])


def skipped(what: str, why: str, custom: bool = False) -> Check:
    """Return a check that could be made under other conditions."""
    return Check(what, "not checked", [why], custom)


def unprovable(what: str, why: str) -> Check:
    """Return a check of a claim that no file of the repository could prove."""
    return Check(what, "cannot be proven", [why])


@contextmanager
def refusals(what: str, found: list[Check]) -> Iterator[None]:
    """Add a check that differs if a published file cannot be read."""
    try:
        yield
    except EscoitaError as error:
        found.append(Check(what, "differs", str(error).splitlines()[:1]))
    except ArithmeticError as error:  # such as a number of hundreds of digits
        found.append(Check(what, "differs", [f"a number in a record is out of range ({error})"]))
    except RecursionError:
        found.append(Check(what, "differs", ["a file is nested too deeply"]))


def is_same_template(training: TrainingRecord) -> bool:
    """Return whether the installed templates wrote the card, so that every word must be equal."""
    return training.card_template_sha256 == template_digest() and training.card_version == __version__


def is_same_matplotlib(training: TrainingRecord | None) -> bool:
    """Return whether the plots were drawn by the installed version of Matplotlib."""
    known = training.matplotlib_version if training else None
    return known is not None and known == importlib.metadata.version("matplotlib")


def check_template(training: TrainingRecord) -> Check:
    """
    Compare the recorded version of a card with the digests of the templates of all released versions.

    Args:
        training ([`TrainingRecord`]): Training record with version and digest, which publishing writes.
    """
    what, version = "version of the card", training.card_version
    if version is None:
        version = training.versions.get("escoita", "unknown")
        return skipped(what, f"written by version {version}, which recorded no digest of its templates")
    released = released_templates().get(version)
    if released is not None and training.card_template_sha256 != released:
        return compared(what, [f"training.json records version {version}, but not the templates of that version"])
    if is_same_template(training):
        return compared(what, [], f"{version}, the installed version")
    return skipped(what, f"written by version {version} or by other templates; the installed version is {__version__}")
