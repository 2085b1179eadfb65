"""
Plots as SVG text: the same bytes for the same figures, legible on white and on near-black.

What is drawn stands in the plot as JSON too, in its `<metadata>`, so that it can be compared with the records.
"""

import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, unescape

from escoita.records.training import TrainingRecord
from escoita.utils.limits import RECORD_DIGITS, RECORD_VALUES, parse_json


if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart by most eyes (after Okabe and Ito), each at least 3:1 against white and against near-black.
COLOURS = ("#3a87c8", "#c9711b", "#1f9a6e", "#b8649c", "#8a7f1e", "#7d74d1")
GREY = "#7c7c7c"
# Of the training loss, which has a point for every few steps, so many at most stand in the plot as figures.
MOST_FIGURES = 1000
_METADATA = re.compile(r"<metadata>(?P<figures>[^<]*)</metadata>")
# Comes with matplotlib, so that text measures alike everywhere.
_FONT = "DejaVu Sans"
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text, in the sans-serif of the reader
    "font.family": "sans-serif",
    "font.sans-serif": [_FONT],
    "font.size": 9,
    "text.parse_math": False,  # a name may hold a dollar sign
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
}


def svg(
    title: str,
    draw: Callable[..., object],
    inches: tuple[float, float] = (7.0, 3.0),
    panels: int = 1,
    figures: object = None,
) -> str:
    """
    Draws one plot in the common style.

    Args:
        title (`str`): What it shows; read out by screen readers, not drawn.
        draw (`Callable[..., object]`): Draws on the axes that it is given, one for each panel.
        inches (`tuple[float, float]`, *optional*, defaults to `(7.0, 3.0)`): Width and height.
        panels (`int`, *optional*, defaults to 1): Side by side.
        figures (`object`, *optional*): What is drawn, as JSON can hold it; [`figures_in`] reads it back.

    Returns:
        `str`: An `<svg>` element, fit for a file of its own and for the inside of a page.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # The ids of a page must not clash, so the salt of each plot is its own.
    style: Any = _STYLE | {"svg.hashsalt": title}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        draw(*figure.subplots(1, panels, squeeze=False)[0])
        drawn = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Title": title, **nothing})
    text = _bare(drawn.getvalue())
    if figures is None:
        return text
    held = escape(json.dumps(figures, ensure_ascii=False))
    return text.replace("</title>", f"</title>\n <metadata>{held}</metadata>", 1)


def figures_in(plot: str) -> Any:
    """
    What is drawn in a plot.

    Args:
        plot (`str`): An `<svg>` element that [`svg`] made.

    Returns:
        The figures, or `None` where it holds none that can be read.
    """
    found = _METADATA.search(plot)
    try:
        return parse_json(unescape(found["figures"]).encode(), RECORD_DIGITS, RECORD_VALUES) if found else None
    except ValueError:
        return None


def _bare(text: str) -> str:
    """The element alone, without what reaches beyond it in a page: ids that come in every plot, a style for all."""
    text = text[text.index("<svg") :].replace(f"'{_FONT}', ", "")
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return text.replace("<svg ", '<svg role="img" style="stroke-linejoin: round; stroke-linecap: butt" ', 1)


def duration_plot(edges: Sequence[float], clips: Mapping[str, Sequence[int]]) -> str:
    """
    How long the clips are, one line for each name, in shares, so that a small split stands beside a large one.

    Args:
        edges (`Sequence[float]`): Lower ends of the bins, in seconds; the last has no upper.
        clips (`Mapping[str, Sequence[int]]`): Clips in each bin, by name.
    """
    figures = {"seconds": list(edges), "clips": {name: list(counts) for name, counts in clips.items()}}
    return svg("Durations of clips", lambda axes: _durations(axes, edges, clips), figures=figures)


def _durations(axes: "Axes", edges: Sequence[float], clips: Mapping[str, Sequence[int]]) -> None:
    width = edges[1] - edges[0] if len(edges) > 1 else 1.0
    ends = [*edges, edges[-1] + width]
    for place, (name, counts) in enumerate(clips.items()):
        colour = COLOURS[place % len(COLOURS)]
        shares = [100 * count / max(1, sum(counts)) for count in counts]
        label = f"{name} ({sum(counts):,})"
        axes.stairs(shares, ends, fill=True, color=colour, alpha=0.12)
        axes.stairs(shares, ends, color=colour, linewidth=1.6, linestyle=("-", "--", ":")[place % 3], label=label)
    axes.set_xlim(0, ends[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("% of clips")
    axes.grid(axis="y")
    step = len(edges) // 8 + 1
    ticks = [*(edge for edge in edges[:-1:step] if edges[-1] - edge > step * width / 2), edges[-1]]
    over = "+" if any(counts[-1] for counts in clips.values()) else ""
    axes.set_xticks(ticks, [*(f"{edge:g}" for edge in ticks[:-1]), f"{edges[-1]:g}{over}"])
    if clips:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)


def training_plot(training: TrainingRecord) -> str | None:
    """
    How loss and error rates went while training, the step whose adapter was kept marked in both.

    Args:
        training ([`~escoita.records.training.TrainingRecord`]): All that is drawn stands in it.

    Returns:
        `str`: An `<svg>` element; nothing where nothing was evaluated while training.
    """
    if not training.validation:
        return None
    panels = 2 if any(point.wer is not None for point in training.validation) else 1
    thinned = training.loss[:: len(training.loss) // MOST_FIGURES + 1]
    figures = {
        "loss": [[point.step, _number(point.loss)] for point in thinned],
        "validation": [
            [point.step, *(_number(value) for value in (point.loss, point.wer, point.cer))]
            for point in training.validation
        ],
        "kept_step": training.kept_step,
        "steps": training.steps,
    }
    return svg("Training curve", lambda *axes: _training(axes, training), (7.0, 2.8), panels, figures)


def _number(value: float | None) -> float | None:
    """As JSON can hold it: what is no number leaves a gap there too."""
    return value if value is not None and math.isfinite(value) else None


def _training(panels: Sequence["Axes"], training: TrainingRecord) -> None:
    found = training.validation
    lines = [
        ("training", {point.step: point.loss for point in training.loss}),
        ("validation", {point.step: point.loss for point in found}),
    ]
    _curves(panels[0], lines, "loss", 0)
    if len(panels) > 1:
        wer = {point.step: 100 * point.wer for point in found if point.wer is not None}
        cer = {point.step: 100 * point.cer for point in found if point.cer is not None}
        _curves(panels[1], [("WER", wer), ("CER", cer)], "error rate, %", len(lines))
        for step in (step for step in wer if step in (min(wer), training.kept_step)):
            offset, side = ((5, 3), "left") if step == min(wer) else ((-4, 5), "right")
            panels[1].annotate(
                f"{wer[step]:.1f}", (step, wer[step]), offset, textcoords="offset points", ha=side, fontsize=8
            )
    last = max(1, training.steps, *(step for _, values in lines for step in values))
    for axes in panels:
        axes.set_xlim(0, last)
        axes.set_xlabel("step")
        if training.kept_step is not None:
            axes.axvline(training.kept_step, color=GREY, linewidth=1, linestyle=":", label="kept")
        # Not wider than its panel, which would make room for it.
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, handlelength=1.6, columnspacing=1.2
        )


def _curves(axes: "Axes", lines: Sequence[tuple[str, Mapping[int, float]]], label: str, first_colour: int) -> None:
    """Lines over steps, told apart by their strokes too; what is no number leaves a gap."""
    for place, (name, values) in enumerate(lines):
        heights = [value if math.isfinite(value) else math.nan for value in values.values()]
        few = len(values) <= 60
        style: dict[str, Any] = {"linestyle": "--" if place else "-", "marker": "oD"[place] if few else None}
        colour = COLOURS[first_colour + place]
        axes.plot(list(values), heights, color=colour, linewidth=1.4, markersize=3, label=name, clip_on=False, **style)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(label)
    axes.grid(axis="y")
