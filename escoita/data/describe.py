"""One corpus of one split in figures."""

import hashlib
import re
from collections import Counter
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from escoita.metrics.characters import compared_form, count_characters, inventory
from escoita.data.statistics import Measured, shortened
from escoita.data.outliers import characters_per_second, find_outliers
from escoita.data.rows import Rejected, Utterances
from escoita.records.data import CorpusData, Normalization, Reason, Spread
from escoita.metrics.normalizers import normalizer, word_changes


EXAMPLES = 5
# Bins of the histogram of durations, at most and without the last; each as wide as one of these, in seconds.
_BINS, _WIDTHS = 20, (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
# Clips over the bins: one recording of an hour must not press all others into the first.
_OVER = 0.005
_AT_ONCE = 8192
# Words on each side of one that a normaliser changes.
_NEIGHBOURS = 2


def describe(
    measured: Measured, rejected: list[Rejected], edges: list[float], normalizer_name: str, max_audio_seconds: float
) -> CorpusData:
    """
    Puts one corpus of one split into figures.

    Args:
        measured ([`Measured`]): Its usable clips.
        rejected (`list[Rejected]`): Its other rows.
        edges (`list[float]`): Lower ends of the bins of durations, in seconds.
        normalizer_name (`str`): Of the recipe.
        max_audio_seconds (`float`): Longest clip that the model hears whole.
    """
    rows, seconds = measured.utterances, measured.seconds
    characters = count_characters(rows.each("text"))
    speakers, genders = counted(rows, "speaker"), counted(rows, "gender")
    return CorpusData(
        name=measured.corpus,
        split=measured.split,
        language=", ".join(sorted(counted(rows, "language"))),
        clips=len(rows),
        audio_seconds=float(seconds.sum()),
        rejected=len(rejected),
        reasons=reasons(rejected),
        seconds=spread(seconds),
        histogram=np.histogram(seconds, [*edges, np.inf])[0].tolist(),
        characters_per_second=spread(characters_per_second(measured)),
        words=sum(len(text.split()) for text in rows.each("text")),
        characters=characters.total(),
        speakers=len(speakers.keys() - {""}),
        without_speaker=speakers.get("", 0),
        genders={gender: count for gender, count in genders.items() if gender},
        normalization=normalization(rows, normalizer_name),
        outliers=find_outliers(measured, characters, max_audio_seconds),
        inventory=inventory(characters),
        sha256=digest(rows),
    )


def duration_edges(lengths: list[np.ndarray]) -> list[float]:
    """Lower ends of at most 20 bins of one width, in seconds, and of the one that holds all that is longer."""
    longest = max((float(np.quantile(seconds, 1 - _OVER, method="higher")) for seconds in lengths), default=0.0)
    width = next((width for width in _WIDTHS if longest < _BINS * width), _WIDTHS[-1])
    return [round(place * width, 2) for place in range(min(int(longest / width + 1e-9) + 1, _BINS) + 1)]


def spread(values: np.ndarray) -> Spread:
    """How values are spread."""
    low, p5, median, p95, high = np.quantile(values, [0, 0.05, 0.5, 0.95, 1]).tolist()
    return Spread(min=low, p5=p5, median=median, mean=float(values.mean()), p95=p95, max=high)


def counted(rows: Utterances, column: str) -> dict[str, int]:
    """How often each value of a column of text comes, the most frequent first."""
    values = pc.value_counts(rows.table[column].take(pa.array(rows.order)))
    counts = {each["values"]: each["counts"] for each in values.to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def reasons(rejected: list[Rejected]) -> list[Reason]:
    """Rejected rows by what is wrong with them; reasons that differ in their figures alone are one."""
    kinds: dict[str, list[Rejected]] = {}
    for row in rejected:
        kinds.setdefault(re.sub(r"\d+(\.\d+)?", "#", row.reason), []).append(row)
    return [
        Reason(reason=rows[0].reason, rows=len(rows), examples=[row.public() for row in rows[:EXAMPLES]])
        for rows in sorted(kinds.values(), key=len, reverse=True)
    ]


def normalization(rows: Utterances, name: str) -> Normalization:
    """What a normaliser does to the words of transcripts; see [`~escoita.metrics.normalizers.word_changes`]."""
    normalize, texts = normalizer(name), rows.each("text")
    totals: Counter[str] = Counter()
    examples: list[tuple[str, str]] = []
    while block := list(islice(texts, _AT_ONCE)):
        changes = word_changes(block, [normalize(text) for text in block])
        totals.update(merged=changes.merged, split=changes.split, emptied=changes.emptied)
        examples += [around_change(*example) for example in changes.examples]
    return Normalization(
        merged=totals["merged"], split=totals["split"], emptied=totals["emptied"], examples=examples[:EXAMPLES]
    )


def around_change(before: str, after: str) -> tuple[str, str]:
    """The first word that a normaliser changes by more than case and signs, with its neighbours, before and after."""
    old, new = before.split(), after.split()
    same = (compared_form(one) == compared_form(other) for one, other in zip(old, new, strict=False))
    place = next((place for place, equal in enumerate(same) if not equal), min(len(old), len(new)))
    start, end = max(0, place - _NEIGHBOURS), place + _NEIGHBOURS + 1
    left, right = "… " * (start > 0), " …" * (end < max(len(old), len(new)))
    first, second = (shortened(left + " ".join(words[start:end]) + right) for words in (old, new))
    return first, (second if new else "")


def digest(rows: Utterances) -> str:
    """SHA-256 over id, transcript and measured length (in milliseconds) of each row."""
    sha256 = hashlib.sha256()
    for row in zip(rows.each("id"), rows.each("text"), rows.each("audio_seconds"), strict=True):
        sha256.update(f"{row[0]}\0{row[1]}\0{row[2]:.3f}\n".encode())
    return sha256.hexdigest()
