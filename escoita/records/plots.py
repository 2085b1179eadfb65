"""
Draw plots as SVG text: the same bytes for the same data, legible on white and on near-black.

The `<metadata>` of a plot contains its data as JSON, so that they can be compared with the records.
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

# Distinguishable with most kinds of color vision (after Okabe and Ito), with a contrast of at least 3:1 with white and
# with near-black.
COLORS = ("#3a87c8", "#c9711b", "#1f9a6e", "#b8649c", "#8a7f1e", "#7d74d1")
GREY = "#7c7c7c"
# The most points of the training loss in the metadata; the loss has a point for every few steps.
MOST_FIGURES = 1000
_METADATA = re.compile(r"<metadata>(?P<figures>[^<]*)</metadata>")
# A font that matplotlib contains, so that text has the same size on every machine.
_FONT = "DejaVu Sans"
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text, in the reader's sans-serif font
    "font.family": "sans-serif",
    "font.sans-serif": [_FONT],
    "font.size": 9,
    "text.parse_math": False,  # a name may contain a dollar sign
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
    Draw one plot in the common style.

    Args:
        title (`str`): The title for screen readers; it is not drawn.
        draw (`Callable[..., object]`): The function that draws on the axes, one argument for each panel.
        inches (`tuple[float, float]`, *optional*, defaults to `(7.0, 3.0)`): The width and height, in inches.
        panels (`int`, *optional*, defaults to 1): The number of panels, side by side.
        figures (`object`, *optional*): The data of the plot, serializable as JSON; [`figures_in`] reads them.

    Returns:
        `str`: An `<svg>` element, for a file of its own or for a page.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Each plot has its own salt, so that ids are unique on a page.
    style: Any = _STYLE | {"svg.hashsalt": title}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        draw(*figure.subplots(1, panels, squeeze=False)[0])
        buffer = io.StringIO()
        omitted = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Title": title, **omitted})
    text = _embeddable(buffer.getvalue())
    if figures is None:
        return text
    content = escape(json.dumps(figures, ensure_ascii=False))
    return text.replace("</title>", f"</title>\n <metadata>{content}</metadata>", 1)


def figures_in(plot: str) -> Any:
    """
    Return the data of a plot.

    Args:
        plot (`str`): An `<svg>` element of [`svg`].

    Returns:
        The data, or `None` if there are none that can be read.
    """
    found = _METADATA.search(plot)
    try:
        return parse_json(unescape(found["figures"]).encode(), RECORD_DIGITS, RECORD_VALUES) if found else None
    except ValueError:
        return None


def _embeddable(text: str) -> str:
    """Return the element without ids that repeat in every plot, and without styles that affect the rest of a page."""
    text = text[text.index("<svg") :].replace(f"'{_FONT}', ", "")
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return text.replace("<svg ", '<svg role="img" style="stroke-linejoin: round; stroke-linecap: butt" ', 1)


def duration_plot(edges: Sequence[float], clips: Mapping[str, Sequence[int]]) -> str:
    """
    Plot the durations of clips as shares, one line for each name, so that splits of any size can be compared.

    Args:
        edges (`Sequence[float]`): The lower edges of the bins, in seconds; the last bin has no upper edge.
        clips (`Mapping[str, Sequence[int]]`): The number of clips in each bin, by name.
    """
    figures = {"seconds": list(edges), "clips": {name: list(counts) for name, counts in clips.items()}}
    return svg("Durations of clips", lambda axes: _durations(axes, edges, clips), figures=figures)


def _durations(axes: "Axes", edges: Sequence[float], clips: Mapping[str, Sequence[int]]) -> None:
    width = edges[1] - edges[0] if len(edges) > 1 else 1.0
    ends = [*edges, edges[-1] + width]
    for index, (name, counts) in enumerate(clips.items()):
        color = COLORS[index % len(COLORS)]
        shares = [100 * count / max(1, sum(counts)) for count in counts]
        label = f"{name} ({sum(counts):,})"
        axes.stairs(shares, ends, fill=True, color=color, alpha=0.12)
        axes.stairs(shares, ends, color=color, linewidth=1.6, linestyle=("-", "--", ":")[index % 3], label=label)
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
    Plot the loss and the error rates during training, with a line at the step of the saved adapter.

    Args:
        training ([`~escoita.records.training.TrainingRecord`]): The training record.

    Returns:
        `str`: An `<svg>` element; `None` without validation during training.
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
    """Return a finite number, or `None`, which JSON can represent and the plot shows as a gap."""
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
        chosen = wer if training.primary == "wer" else cer
        for step in (step for step in chosen if step in (min(chosen), training.kept_step)):
            offset, side = ((5, 3), "left") if step == min(chosen) else ((-4, 5), "right")
            panels[1].annotate(
                f"{chosen[step]:.1f}", (step, chosen[step]), offset, textcoords="offset points", ha=side, fontsize=8
            )
    last = max(1, training.steps, *(step for _, values in lines for step in values))
    for axes in panels:
        axes.set_xlim(0, last)
        axes.set_xlabel("step")
        if training.kept_step is not None:
            axes.axvline(training.kept_step, color=GREY, linewidth=1, linestyle=":", label="kept")
        # The legend is not wider than its panel, which would be resized otherwise.
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, handlelength=1.6, columnspacing=1.2
        )


def _curves(axes: "Axes", lines: Sequence[tuple[str, Mapping[int, float]]], label: str, first_color: int) -> None:
    """Draw lines over steps, with a stroke of their own; non-finite values leave a gap."""
    for index, (name, values) in enumerate(lines):
        heights = [value if math.isfinite(value) else math.nan for value in values.values()]
        few = len(values) <= 60
        style: dict[str, Any] = {"linestyle": "--" if index else "-", "marker": "oD"[index] if few else None}
        color = COLORS[first_color + index]
        axes.plot(list(values), heights, color=color, linewidth=1.4, markersize=3, label=name, clip_on=False, **style)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(label)
    axes.grid(axis="y")
