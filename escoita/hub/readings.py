"""The readings of a text in which a secret is searched for: as it is written, and without what hides or splits it."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field


# Between texts that do not belong together, such as the rows of a table. No reading removes it.
BETWEEN = "\n\x01\n"
# What is not displayed (Unicode's Default_Ignorable_Code_Point); NUL, which UTF-16 has next to every ASCII letter; and
# surrogates, which escapes of two units leave behind.
_INVISIBLE = re.compile(
    "[\0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]+"
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([/\"'\\nrt]))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
# JSON in JSON in JSON.
_MOST_ESCAPES = 3
_LINE_BREAK = re.compile("[\n\r\v\f\x85\u2028\u2029]")
# What stands next to a line break within one string: indentation, a backslash, quotes around parts of a string, the
# marks of a quotation or comment.
_BEFORE_BREAK = " \t\\\"'+"
_AFTER_BREAK = re.compile("[\\s>#\"'+]*")
_TOKEN_CHARACTER = re.compile(r"[A-Za-z0-9_.-]")


@dataclass(frozen=True)
class Reading:
    """
    A text, with where each character was before some were removed.

    Args:
        text (`str`): What is read.
        starts (`list[int]`, *optional*): Positions in the text from which on characters come from elsewhere.
        origins (`list[int]`, *optional*): Where in the text before the character at each of `starts` was.
        before (`Reading`, *optional*): The text before; none if this is it.
    """

    text: str
    starts: list[int] = field(default_factory=lambda: [0])
    origins: list[int] = field(default_factory=lambda: [0])
    before: "Reading | None" = None

    def origin(self, position: int) -> int:
        """Return the position in the text as it is written."""
        if self.before is None:
            return position
        index = bisect_right(self.starts, position) - 1
        return self.before.origin(self.origins[index] + position - self.starts[index])

    def changes_within(self, start: int, end: int) -> int:
        """Return at how many places between two positions characters of the text before are missing."""
        return bisect_left(self.starts, end) - bisect_right(self.starts, start)

    def replaced(self, changes: Iterator[tuple[int, int, str]]) -> "Reading":
        """Return the text with other characters at some places: start, end, and what is read instead."""
        parts, starts, origins, length, last = [], [0], [0], 0, 0
        for start, end, instead in changes:
            part = self.text[last:start] + instead
            parts.append(part)
            length, last = length + len(part), end
            starts.append(length)
            origins.append(end)
        if not parts:
            return self
        return Reading("".join([*parts, self.text[last:]]), starts, origins, self)


def readings(text: str) -> Iterator[Reading]:
    """Yield a text as it is written, and, if they differ, without escapes and invisible characters."""
    yield (written := Reading(text))
    plain = _without_invisible(written)
    for _ in range(_MOST_ESCAPES):
        unescaped = plain.replaced(_escapes(plain.text))
        if unescaped is plain:
            break
        plain = _without_invisible(unescaped)
    if plain is not written:
        yield plain


def joined(reading: Reading) -> Reading | None:
    """Return a text in which lines go on without a break if a token may, or nothing if no token may."""
    found = reading.replaced(_breaks(reading.text))
    return None if found is reading else found


def _without_invisible(reading: Reading) -> Reading:
    if reading.text.isascii() and "\0" not in reading.text:
        return reading
    return reading.replaced((*found.span(), "") for found in _INVISIBLE.finditer(reading.text))


def _escapes(text: str) -> Iterator[tuple[int, int, str]]:
    if "\\" in text:
        for found in _ESCAPE.finditer(text):
            four, two, one = found.groups()
            yield *found.span(), _ESCAPED.get(one, one) if one else chr(int(four or two, 16))


def _breaks(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the line breaks, with what surrounds them, between two characters that a token may contain."""
    last = 0
    for found in _LINE_BREAK.finditer(text):
        start = found.start()
        if start < last:
            continue
        while start > last and text[start - 1] in _BEFORE_BREAK:
            start -= 1
        around = _AFTER_BREAK.match(text, found.end())
        end = around.end() if around else found.end()
        if start and _TOKEN_CHARACTER.match(text, start - 1) and _TOKEN_CHARACTER.match(text, end):
            yield start, end, ""
        last = end
