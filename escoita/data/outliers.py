"""Clips that stand out: what a person should listen to before a model does."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from escoita.metrics.characters import main_script, other_script, script_of
from escoita.data.statistics import Measured
from escoita.records.data import Odd, OutlierKind, Outliers


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


def usual_pace(rates: np.ndarray) -> tuple[float, float]:
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
    slowest, fastest = usual_pace(rates)

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
