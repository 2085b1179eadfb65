"""Write the table of measurements to the terminal, to `docs/performance.md`, and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.measurement import Measurement
from escoita.errors import EscoitaError
from escoita.utils.files import write_atomically
from escoita.utils.formatting import line


BEGIN, END = "<!-- written by make bench -->", "<!-- end -->"
HEADER = ("", "measured", "", "against", "goal", "met")


def markdown_table(measurements: Sequence[Measurement]) -> str:
    """Return a table in Markdown with aligned columns."""
    rows = [HEADER, *map(_cells, measurements)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    rules = tuple("-" * (width - 1) + ":" if column == 1 else "-" * width for column, width in enumerate(widths))
    lined = [
        " | ".join(
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (rows[0], rules, *rows[1:])
    ]
    return "\n".join(f"| {row} |" for row in lined)


def _cells(measurement: Measurement) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[measurement.met]
    against, goal = measurement.against or "", measurement.goal or ""
    return measurement.name, measurement.figure, measurement.unit, against, goal, met


def write_results(measurements: Sequence[Measurement], path: Path) -> None:
    """Write a list of objects with `name`, `value`, `unit`, `against`, `goal` and `met`."""
    keys = ("name", "value", "unit", "against", "goal", "met")
    objects = [{key: getattr(measurement, key) for key in keys} for measurement in measurements]
    write_atomically(path, json.dumps(objects, ensure_ascii=False, indent=2) + "\n")


def write_document(measurements: Sequence[Measurement], measured_on: str, path: Path) -> None:
    """
    Write the table between its two marks in a document, and keep the other text.

    Args:
        measurements (`Sequence[Measurement]`): Rows of the table.
        measured_on (`str`): Description of the machine; see [`~bench.machine.machine`].
        path (`Path`): Path of the document.

    Raises:
        EscoitaError: The document is missing, or does not contain the two marks exactly once.
    """
    text = path.read_text("utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after:
        raise EscoitaError(f"{path}: has no place for the table; put it between {BEGIN} and {END}, once")
    table = f"{markdown_table(measurements)}\n\n{line(f'Measured on {measured_on}.')}"
    write_atomically(path, f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")
