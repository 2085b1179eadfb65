"""Describe each corpus of a recipe in figures, find clips that stand out, and compare the splits."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from escoita.data.contamination import find_duplicates, find_leaks
from escoita.data.rows import Rejected, Utterances
from escoita.data.statistics import Measured, measure, shortened
from escoita.errors import CorpusError
from escoita.metrics.characters import compared_form, count_characters, inventory, main_script, other_script, script_of
from escoita.metrics.normalizers import normalizer, word_changes
from escoita.recipe.schema import Recipe
from escoita.records.data import (
    CorpusData,
    DataRecord,
    Missing,
    Normalization,
    Odd,
    OutlierKind,
    Outliers,
    Reason,
    Split,
    Spread,
)
from escoita.records.plots import duration_plot
from escoita.run_directory import RunDirectory
from escoita.utils.files import write_atomically
from escoita.utils.processes import say


# What most bases take whole. Statistics are made without a base, whose own limit may be lower; training applies it.
HEARD_WHOLE_SECONDS = 30.0
# Under this nobody says a word.
SHORT_SECONDS = 0.2
# Nobody speaks more characters in a second, and in one that is spoken there is no less.
MOST_CHARACTERS, FEWEST_CHARACTERS = 30.0, 1.0
# Modified z-score from which Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993) call a value an outlier;
# here of the logarithm of the characters in a second.
FAR_Z = 3.5
# However alike the others are, half and twice the median are no outliers, and of fewer clips there is no usual pace.
FAR_FACTOR, FEWEST_CLIPS = 2.0, 20
# By so much what a corpus claims of a length may differ.
CLAIM_SECONDS = 0.5
EXAMPLES = 5

_DIGITS = re.compile(r"\d[\d.,:/]*")
Found = Iterator[tuple[OutlierKind, np.ndarray, Callable[[int], str]]]


def find_outliers(measured: Measured, characters: Counter[str], max_audio_seconds: float) -> list[Outliers]:
    """
    Finds the clips of a corpus that stand out, in each of the ways that [`~escoita.records.data.Outliers`] lists.

    Args:
        measured ([`Measured`]): The clips.
        characters (`Counter[str]`): What their transcripts are written with.
        max_audio_seconds (`float`): Longest clip that the model hears whole.

    Returns:
        `list[Outliers]`: Those kinds that there are.
    """
    found = []
    for kind, extent, detail in _found(measured, characters, max_audio_seconds):
        indices = np.flatnonzero(extent > 0)
        if len(indices):
            farthest = indices[np.argsort(-extent[indices], kind="stable")[:EXAMPLES]].tolist()
            odd = [Odd(clip=measured.clip(index), detail=detail(index)) for index in farthest]
            found.append(Outliers(kind=kind, clips=len(indices), share=len(indices) / len(measured), examples=odd))
    return found


def characters_per_second(measured: Measured) -> np.ndarray:
    """Of each clip: the characters of its transcript, spaces counted, by its length."""
    texts = measured.utterances.each("text")
    return np.fromiter(map(len, texts), np.int64, len(measured)) / measured.seconds


def usual_speaking_rate(rates: np.ndarray) -> tuple[float, float]:
    """
    The slowest and the fastest that is no outlier, in characters a second, among clips of one corpus.

    By the modified z-score of the logarithm (median and median absolute deviation, which outliers hardly move), within
    what anybody can say.
    """
    slowest, fastest = FEWEST_CHARACTERS, MOST_CHARACTERS
    if len(rates) < FEWEST_CLIPS:
        return slowest, fastest
    logarithms = np.log(rates)
    median = np.median(logarithms)
    deviation = np.median(np.abs(logarithms - median)) / 0.6745
    factor = max(FAR_FACTOR, float(np.exp(FAR_Z * deviation)))
    return max(slowest, float(np.exp(median)) / factor), min(fastest, float(np.exp(median)) * factor)


def _found(measured: Measured, characters: Counter[str], max_audio_seconds: float) -> Found:
    """Each kind with how far out every clip is, 0 where it is no outlier, and what to say of one."""
    seconds, rows = measured.seconds, measured.utterances
    yield "long", _over(seconds, max_audio_seconds), lambda index: f"{seconds[index]:.1f} s"
    yield "short", _over(-seconds, -SHORT_SECONDS), lambda index: f"{seconds[index]:.2f} s"

    rates = characters_per_second(measured)
    slowest, fastest = usual_speaking_rate(rates)

    def pace(index: int) -> str:
        return f"{rates[index]:.1f} characters a second; the median is {np.median(rates):.1f}"

    yield "dense", _over(rates, fastest), pace
    yield "sparse", _over(-rates, -slowest), pace

    main = main_script(characters)
    foreign = "".join(filter(lambda letter: script_of(letter) not in ("", main), characters))
    letters = re.compile(f"[{re.escape(foreign)}]") if foreign else re.compile(r"(?!)")
    scripts = {
        index: script
        for index, text in enumerate(rows.each("text"))
        if letters.search(text) and (script := other_script(text, main))
    }
    yield "script", _at(list(scripts), len(rows)), lambda index: f"{scripts[index]}, not {main}"

    digits = {index: match[0] for index, text in enumerate(rows.each("text")) if (match := _DIGITS.search(text))}
    yield "digits", _at(list(digits), len(rows)), lambda index: f"{digits[index]} is not written as it is spoken"

    silent = np.array([not each for each in measured.prints])
    yield "silent", silent.astype(float), lambda index: "nothing can be heard"

    one_channel = _at([index for index, channel in enumerate(measured.channels) if channel], len(rows))
    yield "channel", one_channel, lambda index: f"channel {measured.channels[index]} is used"

    claimed = np.array([np.nan if claim is None else claim for claim in rows.each("duration")], np.float64)
    claimed[np.array([offset is not None for offset in rows.each("offset")])] = np.nan
    yield (
        "claim",
        np.nan_to_num(_over(np.abs(claimed - seconds), CLAIM_SECONDS)),
        lambda index: f"{claimed[index]:.2f} s claimed, {seconds[index]:.2f} s measured",
    )


def _over(values: np.ndarray, limit: float) -> np.ndarray:
    return np.maximum(values - limit, 0)


def _at(indices: list[int], count: int) -> np.ndarray:
    extent = np.zeros(count)
    extent[indices] = 1
    return extent


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


SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# What a held-out split is compared with.
SEEN: dict[Split, tuple[Split, ...]] = {"validation": ("train",), "test": ("train", "validation")}


def write_survey(recipe: Recipe, run: RunDirectory, missing_ok: bool = False) -> DataRecord:
    """
    Measures what the corpora of a recipe hold, and writes `data.json` and the plot of durations into a run.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Names the corpora and the normaliser.
        run ([`RunDirectory`]): Where to; not always where the recipe was trained, as runs are moved.
        missing_ok (`bool`, *optional*, defaults to `False`): As in [`survey`].

    Raises:
        CorpusError: A corpus cannot be read, unless `missing_ok`.
    """
    record = survey(recipe, missing_ok)
    record.write(run.data)
    write_atomically(run.durations, duration_plot(record.duration_edges, record.histograms))
    return record


def survey(recipe: Recipe, missing_ok: bool = False, max_audio_seconds: float = HEARD_WHOLE_SECONDS) -> DataRecord:
    """
    Measures what the corpora of a recipe hold.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Names the corpora and the normaliser.
        missing_ok (`bool`, *optional*, defaults to `False`): Records a corpus that cannot be read as missing, and
            goes on.
        max_audio_seconds (`float`, *optional*, defaults to 30): Longest clip that the model hears whole.

    Returns:
        [`~escoita.records.data.DataRecord`]: Without folders of this machine.

    Raises:
        CorpusError: A corpus cannot be read, unless `missing_ok`.
    """
    parts: dict[Split, list[Measured]] = {split: [] for split in SPLITS}
    rejected: dict[tuple[Split, str], list[Rejected]] = {}
    missing = []
    for split in SPLITS:
        for corpus in getattr(recipe.corpora, split):
            try:
                part, rejected[split, corpus.name] = measure(corpus, split, recipe.language)
                parts[split].append(part)
            except CorpusError as error:
                if not missing_ok:
                    raise
                say(f"Not compared: {error}")
                missing.append(Missing(split=split, name=corpus.name))
    every = list(chain.from_iterable(parts.values()))
    edges = duration_edges([part.seconds for part in every])
    return DataRecord(
        name=recipe.name,
        max_audio_seconds=max_audio_seconds,
        normalizer=recipe.eval.normalizer,
        duration_edges=edges,
        corpora=[
            describe(part, rejected[part.split, part.corpus], edges, recipe.eval.normalizer, max_audio_seconds)
            for part in every
        ],
        missing=missing,
        duplicates=[found for split in SPLITS if parts[split] for found in find_duplicates(parts[split])],
        leaks=[
            leak
            for split, others in SEEN.items()
            for part in parts[split]
            if (seen := [each for other in others for each in parts[other]])
            for leak in find_leaks(part, seen)
        ],
    )
