"""Print the statistics of corpora as tables in a terminal or as plain text."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from escoita.records.data import DataRecord, Leak, OutlierKind, Pair
from escoita.utils.formatting import duration, is_hidden, visible


# The description of each kind of outlier.
KINDS: dict[OutlierKind, str] = {
    "long": "longer than the {limit:g} s that the model accepts",
    "short": "too short for a word",
    "dense": "too much text for the audio",
    "sparse": "very little text for the audio",
    "script": "another script than the other clips",
    "digits": "digits in the text",
    "silent": "silent",
    "channel": "mixing the channels to mono cancels them; one channel is used",
    "claim": "another duration than the corpus states",
    "unicode": "decomposed characters (not NFC), unlike others",
    "invisible": "zero-width or no-break characters",
    "entity": "HTML entities",
    "placeholder": "a missing value as text",
    "note": "text in brackets",
}
TRANSCRIPTS = (
    "Equal transcripts are not an error if speakers read the same prompts; the number is the share of the test whose"
    " text the model may have memorized."
)
_LETTERS, _SIGNS, _BAR = 120, 40, 14
# The examples of each reason why rows cannot be used; `data.json` holds more.
_REJECTED = 3


def print_data(record: DataRecord, console: Console | None = None) -> None:
    """
    Print a data record: statistics, durations, characters, outliers, duplicates and train/test overlap.

    Args:
        record ([`~escoita.records.data.DataRecord`]): The record from [`~escoita.data.report.survey`].
        console (`Console`, *optional*): The console; defaults to standard output.
    """
    console = console or Console()
    plain = not console.is_terminal
    sections: dict[str, RenderableType] = {
        "Corpora": _corpora(record, plain),
        "Durations, share of clips": _durations(record, plain),
        "Characters": Group(_letters(record), _signs(record, plain)),
        f"Effect of the normalizer {record.normalizer} on words": _lines(_normalization(record)),
        "Unusable rows": _lines(_rejected(record)),
        "Outliers": _lines(_outliers(record)),
        "Duplicates in a split": _lines(_duplicates(record)),
        "Train/test overlap": _lines(_leaks(record)),
    }
    for title, content in sections.items():
        console.print(Text(title, "bold"))
        console.print(content)
        console.print()


def _percent(share: float) -> str:
    return f"{100 * share:.{1 if share >= 0.001 else 3}f} %"


def _clips(count: int, share: float) -> str:
    return f"{count:,} clip{'s' * (count != 1)} ({_percent(share)})"


def _table(plain: bool, left: Sequence[str], right: Sequence[str]) -> Table:
    """Return an empty table with left-aligned columns, then right-aligned columns."""
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate([*left, *right]):
        table.add_column(column, justify="left" if index < len(left) else "right", no_wrap=index > 0, overflow="fold")
    return table


def _lines(lines: Iterable[tuple[int, str]]) -> RenderableType:
    """Return lines, indented by their depth; deep lines are truncated, because `data.json` holds the full text."""
    texts = [
        Text("  " * depth + visible(line), no_wrap=depth > 1, overflow="ellipsis" if depth > 1 else "fold")
        for depth, line in lines
    ]
    return Group(*texts) if texts else Text("  none")


def _corpora(record: DataRecord, plain: bool) -> RenderableType:
    table = _table(plain, ["corpus", "split"], ["clips", "audio", "longest", "char/s", "speakers", "unused"])
    for data in record.corpora:
        table.add_row(
            data.name,
            data.split,
            f"{data.clips:,}",
            duration(data.audio_seconds),
            f"{data.seconds.max:.1f} s",
            f"{data.characters_per_second.median:.1f}",
            f"{data.speakers:,}" if data.speakers else "unknown",
            f"{data.rejected:,}",
        )
    for missing in record.missing:
        table.add_row(missing.name, missing.split, "not found", *[""] * 5)
    return table


def _durations(record: DataRecord, plain: bool) -> RenderableType:
    shares = {split: [clips / sum(bins) for clips in bins] for split, bins in record.histograms.items()}
    largest = max((share for bins in shares.values() for share in bins), default=1.0)
    table = _table(plain, ["from", *(f"{split:<{_BAR + 5}}" for split in shares)], [])
    filled = [index for index in range(len(record.duration_edges)) if any(bins[index] for bins in shares.values())]
    for index in range(filled[0], filled[-1] + 1) if filled else ():
        over = "+" if index == len(record.duration_edges) - 1 else ""
        bars = [_bar(bins[index], largest) for bins in shares.values()]
        table.add_row(f"{record.duration_edges[index]:g}{over} s", *bars)
    return table


def _bar(share: float, largest: float) -> str:
    return f"{'█' * round(_BAR * share / largest) or '▏'} {_percent(share)}" if share else ""


def _characters(record: DataRecord) -> dict[str, Counter[str]]:
    """Return the count of each character, by split, the most frequent first."""
    counts: dict[str, Counter[str]] = {}
    for data in record.corpora:
        for each in data.inventory:
            counts.setdefault(each.character, Counter())[data.split] += each.count
    return dict(sorted(counts.items(), key=lambda item: -item[1].total()))


def _odd(record: DataRecord) -> dict[str, str]:
    """Return unusual characters, each with a note: symbols, and letters that are rare or not in the training data."""
    trained = any(data.split == "train" for data in record.corpora)
    common = {each.character for data in record.corpora for each in data.inventory if not each.rare}
    odd = {}
    for character, counts in _characters(record).items():
        if trained and not counts["train"]:
            odd[character] = "not in train"
        elif character not in common:
            odd[character] = "rare"
        elif not _spells(character):
            odd[character] = ""
    return dict(sorted(odd.items(), key=lambda item: _spells(item[0])))  # symbols first


def _spells(character: str) -> bool:
    return character == " " or unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo", "Mn", "Mc")


def _letters(record: DataRecord) -> Text:
    odd = _odd(record)
    letters = [character for character in _characters(record) if character not in odd and character != " "]
    more = f" … and {len(letters) - _LETTERS} more" if len(letters) > _LETTERS else ""
    return Text("Letters, the most frequent first: " + " ".join(map(visible, letters[:_LETTERS])) + more)


def _signs(record: DataRecord, plain: bool) -> RenderableType:
    counts, odd = _characters(record), _odd(record)
    names = {each.character: each.name for data in record.corpora for each in data.inventory}
    table = _table(plain, ["", "code", "name", "note"], ["count"])
    for character in list(odd)[:_SIGNS]:
        mark = unicodedata.category(character)[0] == "M"
        shown = "" if is_hidden(character) or character.isspace() else "◌" * mark + character
        name = names[character].lower() or "no name in Unicode"
        count = f"{counts[character].total():,}"
        table.add_row(Text(shown), f"U+{ord(character):04X}", name, odd[character], count)
    if len(odd) > _SIGNS:
        return Group(table, Text(f"and {len(odd) - _SIGNS} more, in data.json"))
    return table if odd else Text("No symbols.")


def _normalization(record: DataRecord) -> Iterator[tuple[int, str]]:
    for data in record.corpora:
        effect = data.normalization
        counts = {"words joined or dropped": effect.merged, "words split": effect.split, "empty text": effect.emptied}
        if effects := [f"{what} in {_clips(count, count / data.clips)}" for what, count in counts.items() if count]:
            yield 1, f"{data.name}, {data.split}: {', '.join(effects)}"
            yield from ((2, f"{before} → {after or '(empty)'}") for before, after in effect.examples)
        if effect.at_marks:
            words = f"{effect.words_at_marks:,} words split or shortened at combining marks"
            clips = _clips(effect.at_marks, effect.at_marks / data.clips)
            yield 1, f"{data.name}, {data.split}: {words} in {clips}; use the normalizer unicode"


def _rejected(record: DataRecord) -> Iterator[tuple[int, str]]:
    reasons = [(data, reason) for data in record.corpora for reason in data.reasons]
    for data, reason in sorted(reasons, key=lambda each: -each[1].rows):
        yield 1, f"{data.name}, {data.split}: {reason.rows:,} of {data.clips + data.rejected:,}: {reason.reason}"
        yield from ((2, example) for example in reason.examples[:_REJECTED])


def _outliers(record: DataRecord) -> Iterator[tuple[int, str]]:
    for data in record.corpora:
        for found in data.outliers:
            what = KINDS[found.kind].format(limit=record.max_audio_seconds)
            yield 1, f"{data.name}, {data.split}: {_clips(found.clips, found.share)}: {what}"
            yield from ((2, f"{odd.clip.id}: {odd.detail}: {odd.clip.text}") for odd in found.examples)


def _duplicates(record: DataRecord) -> Iterator[tuple[int, str]]:
    for found in record.duplicates:
        if found.clips:
            what = {"transcript": "the transcript", "audio": "the recording"}[found.by]
            clips = _clips(found.clips, found.share)
            yield 1, f"{found.split}: {clips} with {what} of an earlier clip; {_distinct(found.by, found.distinct)}"
            yield from _pairs(found.examples)


def _leaks(record: DataRecord) -> Iterator[tuple[int, str]]:
    heading = ""
    for leak in record.leaks:
        before, heading = heading, f"{leak.corpus}, {leak.split}, compared with {' and '.join(leak.seen)}"
        if heading != before:
            yield 1, heading
        yield 2, f"by {leak.by}: {_shared(leak)}"
        yield from _pairs(leak.examples, texts=leak.by != "speaker")
    if any(leak.by == "transcript" and leak.clips for leak in record.leaks):
        yield 1, TRANSCRIPTS
    if missing := [f"{corpus.name} ({corpus.split})" for corpus in record.missing]:
        yield 1, f"Not compared because not found: {', '.join(missing)}"


def _shared(leak: Leak) -> str:
    if not leak.compared:
        return "cannot be compared, because the corpora do not name speakers in the same way"
    rest = f"; {leak.compared:,} could be compared" if leak.by == "speaker" else ""
    return (f"{_clips(leak.clips, leak.share)}; {_distinct(leak.by, leak.distinct)}" if leak.clips else "none") + rest


def _distinct(by: str, count: int) -> str:
    return f"{count:,} {'recording' if by == 'audio' else by}{'s' * (count != 1)}"


def _pairs(pairs: list[Pair], texts: bool = True) -> Iterator[tuple[int, str]]:
    for pair in pairs:
        clip, like = pair.clip, pair.like
        other = [like.split] * (like.split != clip.split) + [like.corpus] * (like.corpus != clip.corpus) + [like.id]
        yield 3, f"{clip.id}, like {' '.join(other)}: {clip.text}"
        if texts and like.text != clip.text:
            yield 4, f"other text: {like.text}"
