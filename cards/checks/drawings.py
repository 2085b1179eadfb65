"""What is drawn in each published plot, against the records."""

from collections.abc import Mapping
from pathlib import Path

from cards.checks.check import Check, compared, skipped
from cards.checks.rates import differences
from escoita.data_record import DataRecord
from escoita.plots import duration_plot, figures_in, training_plot
from escoita.records import TrainingRecord
from escoita.rundir import RunDirectory


def drawn_of_records(run: RunDirectory) -> dict[str, str]:
    """The plots of training and of the corpora, drawn anew from what was published; by their names there."""
    plots = {}
    if run.training.is_file() and (curve := training_plot(TrainingRecord.read(run.training))):
        plots[run.curve.name] = curve
    if run.data.is_file():
        data = DataRecord.read(run.data)
        name = run.durations.relative_to(run.path).as_posix()
        plots[name] = duration_plot(data.duration_edges, data.histograms)
    return plots


def check_drawings(folder: Path, drawn: Mapping[str, str]) -> list[Check]:
    """
    Compares each plot with the same drawn anew.

    Where the bytes are the same, all is. Where they are not, as with another version of Matplotlib, the figures that
    the plot holds are compared, and it is said that the lines and bars themselves were not.

    Args:
        folder (`Path`): What was published.
        drawn (`Mapping[str, str]`): Plots made anew, by their names there.
    """
    published = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.svg"))}
    checks = []
    for name, path in published.items():
        if name not in drawn:
            checks.append(skipped(f"plot {name}", "no record says what it shows"))
            continue
        text = path.read_text("utf-8", "replace")
        if text == drawn[name]:
            checks.append(Check(f"plot {name}", "holds", ["drawn anew, byte for byte"]))
            continue
        figures = figures_in(text)
        if figures is None:
            why = "holds no figures, and looks otherwise than drawn anew; escoita report --run draws it"
            checks.append(Check(f"plot {name}", "differs", [why]))
            continue
        found = list(differences(figures, figures_in(drawn[name])))
        held = "its figures; its lines are drawn otherwise than here, which another version of Matplotlib does too"
        checks.append(compared(f"plot {name}", found, held))
    return checks
