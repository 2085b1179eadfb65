"""Add interval tiers to TextGrid files: the number of tiers changes, and text is added at the end; all else stays."""

import codecs
from collections.abc import Sequence
from pathlib import Path

from escoita.data.annotations.base import seconds
from escoita.data.annotations.new_tiers import NewTier, NewTierError, milliseconds
from escoita.data.annotations.textgrid import TOKEN, read
from escoita.data.encodings import TEXT_BYTES, encoding_of
from escoita.utils.limits import RECORDING_SECONDS, read_bounded


def with_tiers(path: Path, tiers: Sequence[NewTier], language: str | None = None) -> bytes:
    """
    Return the content of a TextGrid with new interval tiers, in the form of the file (long or short) and its encoding.

    A file whose encoding lacks a character of a new tier becomes UTF-8. Segments after the end of the TextGrid are
    left out, and one across it ends there: all tiers of a TextGrid have one length.

    Args:
        path (`Path`): The file.
        tiers (`Sequence[NewTier]`): The tiers.
        language (`str`, *optional*): The language of the text, which decides between old encodings.

    Raises:
        NewTierError: The file has no tiers, or one of this name, or its times are not possible.
        AnnotationError: The file is damaged.
    """
    read(path, language)  # checks the file
    content = read_bounded(path, TEXT_BYTES)
    encoding = encoding_of(content, language)
    mark, codec = _mark(content, encoding)
    text = content[len(mark) :].decode(codec)
    tokens = [each for each in TOKEN.finditer(text) if each.lastindex]
    if tokens[4][0] != "<exists>":
        raise NewTierError("has no tiers", path=path, hint="add a tier in Praat")
    names = {
        after[1].replace('""', '"')
        for each, after in zip(tokens, tokens[1:], strict=False)
        if each[1] in ("IntervalTier", "TextTier") and after[1] is not None
    }
    for tier in tiers:
        if tier.name in names:
            raise NewTierError("exists in the file", path=path, key=tier.name)
    start, end = seconds(path, tokens[2][2]), seconds(path, tokens[3][2])
    if not 0 <= start <= end < RECORDING_SECONDS:
        raise NewTierError("not the times of a TextGrid", path=path, value=f"{start:g} to {end:g}")
    count = tokens[5]
    known = int(seconds(path, count[2]))
    long = "xmin" in text[: count.start()]
    break_ = "\r\n" if "\r\n" in text else "\n"
    added = [
        line
        for number, tier in enumerate(tiers, start=known + 1)
        for line in _lines(number, tier, (tokens[2][2], tokens[3][2]), _intervals(tier, start, end), long)
    ]
    head = text[: count.start()] + str(known + len(tiers)) + text[count.end() :]
    whole = head + break_ * (not head.endswith("\n")) + "".join(f"{line}{break_}" for line in added)
    try:
        return mark + whole.encode(codec)
    except UnicodeEncodeError:
        return whole.encode()


def _mark(content: bytes, encoding: str) -> tuple[bytes, str]:
    """Return the byte order mark, and the encoding of the text after it."""
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if content.startswith(mark):
            return mark, codec
    return b"", encoding


def _intervals(tier: NewTier, start: float, end: float) -> list[tuple[str, str, str]]:
    """Return the intervals of a tier from its start to its end, with empty ones between segments."""
    first, last = round(1000 * start), int(1000 * end)
    found: list[tuple[int, int, str]] = []
    before = first
    for begin, stop, text in milliseconds(tier):
        stop = min(stop, last)
        begin = max(begin, before)
        if stop <= begin:
            continue
        if begin > before:
            found.append((before, begin, ""))
        found.append((begin, stop, text))
        before = stop
    if before < last or not found:
        found.append((before, max(last, before + 1), ""))
    return [(_time(one), _time(two), text) for one, two, text in found]


def _time(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".")


def _lines(
    number: int, tier: NewTier, bounds: tuple[str, str], intervals: list[tuple[str, str, str]], long: bool
) -> list[str]:
    """Return the lines of a tier; its first and last time are those of the file, as written there."""
    intervals[0] = bounds[0], *intervals[0][1:]
    intervals[-1] = intervals[-1][0], bounds[1], intervals[-1][2]
    if not long:
        lines = ['"IntervalTier"', _quoted(tier.name), *bounds, str(len(intervals))]
        return [*lines, *(part for one, two, text in intervals for part in (one, two, _quoted(text)))]
    lines = [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(tier.name)}"]
    lines += [f"        xmin = {bounds[0]}", f"        xmax = {bounds[1]}"]
    lines += [f"        intervals: size = {len(intervals)}"]
    for place, (one, two, text) in enumerate(intervals, start=1):
        lines += [f"        intervals [{place}]:", f"            xmin = {one}", f"            xmax = {two}"]
        lines += [f"            text = {_quoted(text)}"]
    return lines


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
