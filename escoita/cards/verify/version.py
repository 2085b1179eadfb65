"""Which version of escoita wrote a card, and with which templates."""

import importlib.metadata

from escoita.cards.verify.check import Check, compared, skipped
from escoita.cards.template import released_templates, template_digest
from escoita import __version__
from escoita.records.training import TrainingRecord


def is_same_template(training: TrainingRecord) -> bool:
    """Return whether the templates that are installed here wrote the card, so that every word must be equal."""
    return training.card_template_sha256 == template_digest() and training.card_version == __version__


def is_same_matplotlib(training: TrainingRecord | None) -> bool:
    """Return whether the plots were drawn by the version of Matplotlib that is installed here."""
    known = training.matplotlib_version if training else None
    return known is not None and known == importlib.metadata.version("matplotlib")


def check_template(training: TrainingRecord) -> Check:
    """
    Compare the version that a card claims with the digests of the templates of all released versions.

    Args:
        training ([`TrainingRecord`]): Its version and digest are written when the card is published.
    """
    what, version = "version of the card", training.card_version
    if version is None:
        version = training.versions.get("escoita", "unknown")
        return skipped(what, f"it is of version {version}, which recorded no digest of its templates")
    released = released_templates().get(version)
    if released is not None and training.card_template_sha256 != released:
        return compared(what, [f"training.json names version {version}, but not the templates of that version"])
    if is_same_template(training):
        return compared(what, [], f"{version}, as installed here")
    return skipped(what, f"it is of version {version} or of other templates; installed here is {__version__}")
