"""Draw the plots of the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from escoita.evaluation.counts import forms_of
from escoita.evaluation.prediction_folder import read_folder
from escoita.evaluation.tally import count
from escoita.metrics.primary import metric_name
from escoita.records.evaluation import METRICS, CorpusResult, EvaluationRecord, Metric, Slice
from escoita.records.plots import COLORS, GREY, svg


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer


def drawings(folder: Path, record: EvaluationRecord) -> dict[str, str]:
    """
    Draw the plots of the report and the card.

    Args:
        folder (`Path`): Folder with the predictions that the record was computed from.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The record.

    Returns:
        `dict[str, str]`: `<svg>` elements by the names of their files.

    Raises:
        RecordError: A file does not exist or cannot be read.
    """
    systems = [system.name for system in record.systems]
    _, read = read_folder(folder, [result.name for result in record.corpora], systems)
    counted = [count(corpus, record.normalizer).columns for corpus in read]
    form, tokens = forms_of(record.normalizer)[0], METRICS[record.primary]
    rates = {
        name: np.concatenate(
            [columns[form, tokens, name] / np.maximum(1, columns[form, tokens]) for columns in counted]
        )
        for name in systems
    }
    drawn = {
        "wer-by-corpus.svg": wer_by_corpus(record),
        "wer-distribution.svg": wer_distribution(rates, record.primary),
    }
    by_duration = wer_by_duration(record)
    return drawn | ({"wer-by-duration.svg": by_duration} if by_duration else {})


# Names of the metrics in titles. The names of the files are the same for both.
_NAMES: dict[Metric, str] = {"wer": "Word error rate", "cer": "Character error rate"}
# Systems differ by marker and fill too, for color blindness and print.
_MARKERS = "oDs^vP"
_FILLED = (1.0, 0.0, 0.45, 0.15, 0.75, 0.3)
# Height of a row, and of the frame around all rows, in inches.
_ROW, _FRAME = 0.22, 0.85
# Empty rows between two corpora.
_GAP = 0.9
# Maximum number of bars with labels.
_MOST_LABELLED = 24
# Bars of the distribution: no error, the upper bounds of tenths in percent, and more than 100 %.
SHARES = [
    "0",
    *(f"\N{LESS-THAN OR EQUAL TO}\N{NO-BREAK SPACE}{10 * step}" for step in range(1, 11)),
    ">\N{NO-BREAK SPACE}100",
]


def wer_by_corpus(record: EvaluationRecord) -> str:
    """
    Draw word error rates with 95 % intervals: each corpus, and all of them pooled if there are several.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): Record with one or more systems.
    """
    height = _FRAME + _ROW * sum(len(result.systems) + _GAP for result in record.rows)
    figures = {
        result.name: {
            each.system: [each.normalized.rate(record.primary), *each.normalized.ci95(record.primary)]
            for each in result.systems
        }
        for result in record.rows
    }
    title = f"{_NAMES[record.primary]} by corpus"
    return svg(title, lambda axes: _by_corpus(axes, record.rows, record.primary), (7.0, height), figures=figures)


def wer_by_duration(record: EvaluationRecord) -> str | None:
    """
    Draw word error rates by duration of the clips, all corpora pooled.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): Record with one or more systems.

    Returns:
        `str`: An `<svg>` element; None if the record has no slices by duration.
    """
    parts = [part for part in record.rows[-1].slices if part.by == "duration"]
    systems = [system.name for system in record.systems]
    if not parts:
        return None
    metric = record.primary
    figures = {part.value: {"n": part.n, metric: {system: part.rates[system] for system in systems}} for part in parts}
    title = f"{_NAMES[metric]} by duration"
    return svg(title, lambda axes: _by_duration(axes, parts, systems, metric), figures=figures)


def wer_distribution(rates: Mapping[str, np.ndarray], metric: Metric = "wer") -> str:
    """
    Draw the distribution of the error rate over utterances.

    Args:
        rates (`Mapping[str, np.ndarray]`): Rate of every utterance, of shape `(utterances,)`, for each system.
        metric (`str`, *optional*, defaults to `"wer"`): Metric of the rates.
    """
    figures = {system: dict(zip(SHARES, shares(found), strict=True)) for system, found in rates.items()}
    title = f"Utterances by {_NAMES[metric].lower()}"
    return svg(title, lambda axes: _distribution(axes, rates, metric), figures=figures)


def shares(rates: np.ndarray) -> list[float]:
    """
    Return the fractions of the utterances in each bar of `SHARES`.

    Args:
        rates (`np.ndarray`): Word error rate of each utterance, of shape `(utterances,)`.
    """
    # Rounded, because a rate of 3 / 10 may be slightly above 0.3 in floating point.
    tenths = np.ceil(np.round(rates * 10, 9)).clip(0, 11).astype(int)
    counts: list[int] = np.bincount(tenths, minlength=len(SHARES)).tolist()
    return [count / max(1, len(rates)) for count in counts]


def _by_corpus(axes: "Axes", rows: Sequence[CorpusResult], metric: Metric) -> None:
    top = 0.0
    ticks = []
    for result in rows:
        systems = len(result.systems)
        for place, each in enumerate(result.systems):
            rate, y = 100 * each.normalized.rate(metric), top + place
            low, high = (100 * bound for bound in each.normalized.ci95(metric))
            axes.hlines(y, low, high, color=_color(place), linewidth=1.6)
            label = each.system if result is rows[0] else None
            marker = _MARKERS[place % len(_MARKERS)]
            axes.plot(rate, y, marker, color=_color(place), markersize=5, label=label, clip_on=False)
            axes.annotate(f"{rate:.1f}", (high, y), (5, 0), textcoords="offset points", va="center", fontsize=8)
        ticks.append(top + (systems - 1) / 2)
        top += systems + _GAP
    axes.set_yticks(ticks, [result.name for result in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(top - _GAP - 0.3, -0.7)
    highest = max(each.normalized.ci95(metric)[1] for result in rows for each in result.systems)
    axes.set_xlim(0, max(1.0, 108 * highest))
    axes.set_xlabel(f"{metric_name(metric)}, %, with 95 % interval")
    axes.grid(axis="x")
    _legend(axes, len(rows[0].systems))


def _by_duration(axes: "Axes", parts: Sequence[Slice], systems: Sequence[str], metric: Metric) -> None:
    drawn = _bars(axes, {system: [100 * part.rates[system] for part in parts] for system in systems})
    if len(parts) * len(systems) <= _MOST_LABELLED:
        for bars in drawn:
            axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7, color=GREY)
    axes.set_xticks(range(len(parts)), [f"{part.value}\nn = {part.n:,}" for part in parts])
    axes.set_ylabel(f"{metric_name(metric)}, %")


def _distribution(axes: "Axes", rates: Mapping[str, np.ndarray], metric: Metric) -> None:
    _bars(axes, {system: [100 * share for share in shares(found)] for system, found in rates.items()})
    axes.set_xticks(range(len(SHARES)), SHARES)
    axes.set_xlabel(f"{metric_name(metric)} of the utterance, %")
    axes.set_ylabel("% of utterances")


def _bars(axes: "Axes", heights: Mapping[str, Sequence[float]]) -> list["BarContainer"]:
    """Draw groups of bars, one bar for each system, with narrow bars if there are few groups."""
    from matplotlib.colors import to_rgba

    groups = max(map(len, heights.values()))
    width = 0.8 / len(heights) * min(1, groups / 5)
    drawn = []
    for place, (system, values) in enumerate(heights.items()):
        offsets = np.arange(groups) + (place - (len(heights) - 1) / 2) * width
        face = to_rgba(_color(place), _FILLED[place % len(_FILLED)])
        drawn.append(
            axes.bar(offsets, values, 0.86 * width, color=face, edgecolor=_color(place), linewidth=1, label=system)
        )
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    axes.set_xlim(-0.5, groups - 0.5)
    axes.margins(y=0.1)
    _legend(axes, len(heights))
    return drawn


def _legend(axes: "Axes", systems: int) -> None:
    """Draw the legend above the plot, so that it covers nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(systems, 4), borderaxespad=0.2)


def _color(place: int) -> str:
    return COLORS[place % len(COLORS)]
