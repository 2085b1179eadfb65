"""
The rule set of Kingfisher (https://github.com/mongodb/kingfisher): several hundred services whose keys have a form of
their own. It runs offline in this process; its functions that ask a service about a key are never called.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from kingfisher_sdk import Scanner

# Some rules take any such value after the name of a service for its key. Records are full of digests and commits.
_DIGEST = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")


def rule_matches(text: str) -> Iterator[tuple[str, int, int]]:
    """
    Yield what the rules of high confidence find: the name of the rule, and where the secret begins and ends.

    Args:
        text (`str`): Any text, of any length.
    """
    data = text.encode("utf-8", "replace")
    for finding in _scanner().scan(data):
        if finding.visible and not _DIGEST.fullmatch(finding.secret):
            name = finding.rule_id.rsplit("/", 1)[-1].removeprefix("betterleaks.")
            first, last = finding.location["start_offset"], finding.location["end_offset"]
            start = len(data[:first].decode("utf-8", "replace"))
            yield re.sub(r"\.\d+$", "", name), start, start + len(data[first:last].decode("utf-8", "replace"))


@cache
def _scanner() -> "Scanner":
    """Compile the rules, which takes seconds, or load what an earlier command compiled."""
    from kingfisher_sdk import Rules, Scanner

    from escoita.utils.files import cache_folder

    return Scanner(Rules(confidence="high", cache_dir=str(cache_folder() / "secret-rules")))
