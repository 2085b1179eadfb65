"""Compute the statistics of each corpus of a recipe, find outliers, and compare the splits."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from escoita.data.contamination import find_duplicates, find_leaks
from escoita.data.rows import Rejected, Utterances, rejected_by_reason
from escoita.data.statistics import Measured, measure, shortened
from escoita.data.transcripts import text_outliers
from escoita.errors import CorpusError
from escoita.metrics.characters import compared_form, count_characters, inventory, main_script, other_script, script_of
from escoita.metrics.normalizers import mark_changes, normalizer, word_changes
from escoita.recipe.schema import Recipe
from escoita.records.data import (
    CorpusData,
    DataRecord,
    Missing,
    Normalization,
    OutlierExample,
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


# The longest clip that most base models take. Statistics are computed without a base model, whose own limit may be
# lower; training applies that limit.
DEFAULT_MAX_AUDIO_SECONDS = 30.0
# No longer clip is too short for a word, and the share of words of a corpus that are shorter than its short words.
SHORT_SECONDS, SHORT_WORDS = 0.2, 0.05
# Speech has no more, and no fewer, characters in a second.
MOST_CHARACTERS, FEWEST_CHARACTERS = 30.0, 1.0
# Modified z-score from which Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993) call a value an outlier;
# here of the logarithm of the characters in a second.
FAR_Z = 3.5
# Half and twice the median are never outliers, and fewer clips than this have no usual speaking rate.
FAR_FACTOR, FEWEST_CLIPS = 2.0, 20
# The accepted difference between a claimed and a measured duration.
CLAIM_SECONDS = 0.5
EXAMPLES = 5

_DIGITS = re.compile(r"\d[\d.,:/]*")
Found = Iterator[tuple[OutlierKind, np.ndarray, Callable[[int], str]]]


def find_outliers(measured: Measured, characters: Counter[str], max_audio_seconds: float) -> list[Outliers]:
    """
    Find the outliers of a corpus, of each kind that [`~escoita.records.data.Outliers`] lists.

    Args:
        measured ([`Measured`]): The clips.
        characters (`Counter[str]`): The characters of their transcripts.
        max_audio_seconds (`float`): The longest clip that the model takes, in seconds.

    Returns:
        `list[Outliers]`: The kinds that occur.
    """
    found = []
    for kind, extent, detail in _found(measured, characters, max_audio_seconds):
        indices = np.flatnonzero(extent > 0)
        if len(indices):
            farthest = indices[np.argsort(-extent[indices], kind="stable")[:EXAMPLES]].tolist()
            examples = [OutlierExample(clip=measured.clip(index), detail=detail(index)) for index in farthest]
            share = len(indices) / len(measured)
            found.append(Outliers(kind=kind, clips=len(indices), share=share, examples=examples))
    return found


def outlier_details(
    measured: Measured, characters: Counter[str], max_audio_seconds: float
) -> dict[int, list[tuple[OutlierKind, str]]]:
    """
    Return the kinds of outliers of each clip that is one, with the reason.

    Args:
        measured ([`Measured`]): The clips.
        characters (`Counter[str]`): The characters of their transcripts.
        max_audio_seconds (`float`): The longest clip that the model takes, in seconds.

    Returns:
        `dict[int, list[tuple[str, str]]]`: The kinds and reasons by the index of the clip.
    """
    found: dict[int, list[tuple[OutlierKind, str]]] = {}
    for kind, extent, detail in _found(measured, characters, max_audio_seconds):
        for index in np.flatnonzero(extent > 0).tolist():
            found.setdefault(index, []).append((kind, detail(index)))
    return found


def characters_per_second(measured: Measured) -> np.ndarray:
    """Return for each clip the characters of its transcript, including spaces, per second of audio."""
    texts = measured.utterances.each("text")
    return np.fromiter(map(len, texts), np.int64, len(measured)) / measured.seconds


def usual_speaking_rate(rates: np.ndarray) -> tuple[float, float]:
    """
    Return the lowest and the highest speaking rate of a corpus that are not outliers, in characters per second.

    The bounds are those of the modified z-score of the logarithm (median and median absolute deviation, on which
    outliers have little influence), within the limits of human speech.
    """
    slowest, fastest = FEWEST_CHARACTERS, MOST_CHARACTERS
    if len(rates) < FEWEST_CLIPS:
        return slowest, fastest
    logarithms = np.log(rates)
    median = np.median(logarithms)
    deviation = np.median(np.abs(logarithms - median)) / 0.6745
    factor = max(FAR_FACTOR, float(np.exp(FAR_Z * deviation)))
    return max(slowest, float(np.exp(median)) / factor), min(fastest, float(np.exp(median)) * factor)


def shortest_word_seconds(measured: Measured, fastest: float) -> float:
    """
    Return the time that a short word of a corpus takes at least, in seconds: a shorter clip contains no word.

    Args:
        measured ([`Measured`]): The clips.
        fastest (`float`): The highest speaking rate that is no outlier, in characters per second.

    Returns:
        `float`: The time of a word of the 5th percentile of lengths at that rate; at most [`SHORT_SECONDS`].
    """
    lengths = Counter(len(word) for text in measured.utterances.each("text") for word in text.split())
    ordered = sorted(lengths)
    places = np.cumsum([lengths[length] for length in ordered])
    if not len(places):
        return SHORT_SECONDS
    short = ordered[int(np.searchsorted(places, SHORT_WORDS * places[-1]))]
    return min(SHORT_SECONDS, short / fastest)


def _found(measured: Measured, characters: Counter[str], max_audio_seconds: float) -> Found:
    """Yield each kind with the extent of every clip, 0 if it is no outlier, and the function that describes one."""
    seconds, rows = measured.seconds, measured.utterances
    yield "long", _over(seconds, max_audio_seconds), lambda index: f"{seconds[index]:.1f} s"
    rates = characters_per_second(measured)
    slowest, fastest = usual_speaking_rate(rates)
    shortest = shortest_word_seconds(measured, fastest)
    yield "short", _over(-seconds, -shortest), lambda index: f"{seconds[index]:.2f} s"

    def rate(index: int) -> str:
        return f"{rates[index]:.1f} characters per second; the median is {np.median(rates):.1f}"

    yield "dense", _over(rates, fastest), rate
    yield "sparse", _over(-rates, -slowest), rate

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

    for kind, details in text_outliers(rows.each("text")).items():
        yield kind, _at(list(details), len(rows)), details.__getitem__

    silent = np.array([not each for each in measured.fingerprints])
    yield "silent", silent.astype(float), lambda index: "no audible content"

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
# The maximum number of bins of the histogram of durations, without the last, and their possible widths, in seconds.
_BINS, _WIDTHS = 20, (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
# The fraction of clips above the bins: one recording of an hour must not move all others into the first bin.
_OVER = 0.005
_AT_ONCE = 8192
# The number of words that an example shows on each side of a changed word.
_CONTEXT = 2


def describe(
    measured: Measured, rejected: list[Rejected], edges: list[float], normalizer_name: str, max_audio_seconds: float
) -> CorpusData:
    """
    Compute the statistics of one corpus of one split.

    Args:
        measured ([`Measured`]): The usable clips of the corpus.
        rejected (`list[Rejected]`): The other rows.
        edges (`list[float]`): The lower edges of the bins of durations, in seconds.
        normalizer_name (`str`): The normalizer of the recipe.
        max_audio_seconds (`float`): The longest clip that the model takes, in seconds.
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
    """Return the lower edges, in seconds, of at most 20 bins of one width, and of the bin for all longer clips."""
    longest = max((float(np.quantile(seconds, 1 - _OVER, method="higher")) for seconds in lengths), default=0.0)
    width = next((width for width in _WIDTHS if longest < _BINS * width), _WIDTHS[-1])
    return [round(index * width, 2) for index in range(min(int(longest / width + 1e-9) + 1, _BINS) + 1)]


def spread(values: np.ndarray) -> Spread:
    """Return the quantiles and the mean of values."""
    low, p5, median, p95, high = np.quantile(values, [0, 0.05, 0.5, 0.95, 1]).tolist()
    return Spread(min=low, p5=p5, median=median, mean=float(values.mean()), p95=p95, max=high)


def counted(rows: Utterances, column: str) -> dict[str, int]:
    """Count each value of a text column, the most frequent first."""
    values = pc.value_counts(rows.table[column].take(pa.array(rows.order)))
    counts = {each["values"]: each["counts"] for each in values.to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def reasons(rejected: list[Rejected]) -> list[Reason]:
    """Group rejected rows by reason, the most frequent first."""
    return [
        Reason(reason=rows[0].reason, rows=len(rows), examples=[row.public() for row in rows[:EXAMPLES]])
        for rows in rejected_by_reason(rejected)
    ]


def normalization(rows: Utterances, name: str) -> Normalization:
    """Count the transcripts whose words a normalizer changes; see [`~escoita.metrics.normalizers.word_changes`]."""
    normalize, texts = normalizer(name), rows.each("text")
    totals: Counter[str] = Counter()
    examples: list[tuple[str, str]] = []
    while block := list(islice(texts, _AT_ONCE)):
        changes = word_changes(block, [normalize(text) for text in block])
        totals.update(merged=changes.merged, split=changes.split, emptied=changes.emptied)
        examples += [around_change(*example) for example in changes.examples]
    marks = mark_changes(rows.each("text")) if name == "basic" else None
    return Normalization(
        merged=totals["merged"],
        split=totals["split"],
        emptied=totals["emptied"],
        examples=examples[:EXAMPLES],
        at_marks=marks.texts if marks else 0,
        words_at_marks=marks.words if marks else 0,
    )


def around_change(before: str, after: str) -> tuple[str, str]:
    """Return the first word that a normalizer changes by more than case and signs, before and after, in context."""
    old, new = before.split(), after.split()
    same = (compared_form(one) == compared_form(other) for one, other in zip(old, new, strict=False))
    changed = next((index for index, equal in enumerate(same) if not equal), min(len(old), len(new)))
    start, end = max(0, changed - _CONTEXT), changed + _CONTEXT + 1
    left, right = "… " * (start > 0), " …" * (end < max(len(old), len(new)))
    first, second = (shortened(left + " ".join(words[start:end]) + right) for words in (old, new))
    return first, (second if new else "")


def digest(rows: Utterances) -> str:
    """Return the SHA-256 digest of id, transcript and measured length (in milliseconds) of each row."""
    sha256 = hashlib.sha256()
    for row in zip(rows.each("id"), rows.each("text"), rows.each("audio_seconds"), strict=True):
        sha256.update(f"{row[0]}\0{row[1]}\0{row[2]:.3f}\n".encode())
    return sha256.hexdigest()


SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# The splits that a held-out split is compared with.
SEEN: dict[Split, tuple[Split, ...]] = {"validation": ("train",), "test": ("train", "validation")}


def write_survey(recipe: Recipe, run: RunDirectory, missing_ok: bool = False) -> DataRecord:
    """
    Measure the corpora of a recipe, and write `data.json` and the plot of durations into a run directory.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): The recipe with the corpora and the normalizer.
        run ([`RunDirectory`]): The run directory to write to, which may have been moved since training.
        missing_ok (`bool`, *optional*, defaults to `False`): The same as in [`survey`].

    Raises:
        CorpusError: A corpus cannot be read, unless `missing_ok`.
    """
    record = survey(recipe, missing_ok)
    record.write(run.data)
    write_atomically(run.durations, duration_plot(record.duration_edges, record.histograms))
    return record


def refusals(record: DataRecord, recipe: Recipe) -> list[str]:
    """
    Return the reasons why training would refuse the corpora that it reads.

    Args:
        record ([`~escoita.records.data.DataRecord`]): The record of [`survey`].
        recipe ([`~escoita.recipe.schema.Recipe`]): The recipe, with the largest accepted share of rejected rows.
    """
    validated = recipe.training.get("eval_strategy") not in ("no", False)
    found = []
    for data in record.corpora:
        if data.split == "test" or (data.split == "validation" and not validated):
            continue
        total = data.clips + data.rejected
        if data.rejected > recipe.corpora.max_rejected_share * total:
            share = f"more than the {recipe.corpora.max_rejected_share:.1%} of corpora.max_rejected_share"
            found.append(f"{data.name}, {data.split}: {data.rejected:,} of {total:,} rows cannot be used, {share}")
        if any(kind.kind == "silent" and kind.clips == data.clips for kind in data.outliers):
            found.append(f"{data.name}, {data.split}: no clip has audible content")
    return found


def survey(
    recipe: Recipe, missing_ok: bool = False, max_audio_seconds: float = DEFAULT_MAX_AUDIO_SECONDS
) -> DataRecord:
    """
    Measure the corpora of a recipe.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): The recipe with the corpora and the normalizer.
        missing_ok (`bool`, *optional*, defaults to `False`): Whether a corpus that cannot be read is recorded as
            missing instead of raising an error.
        max_audio_seconds (`float`, *optional*, defaults to 30): The longest clip that the model takes, in seconds.

    Returns:
        [`~escoita.records.data.DataRecord`]: The record, without folders of this machine.

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
                say(f"Corpus {corpus.name} not measured: {error}")
                missing.append(Missing(split=split, name=corpus.name))
    measured = list(chain.from_iterable(parts.values()))
    edges = duration_edges([part.seconds for part in measured])
    return DataRecord(
        name=recipe.name,
        max_audio_seconds=max_audio_seconds,
        normalizer=recipe.eval.normalizer,
        duration_edges=edges,
        corpora=[
            describe(part, rejected[part.split, part.corpus], edges, recipe.eval.normalizer, max_audio_seconds)
            for part in measured
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
