"""
Measure speed and memory, compared with scripts that do the same without escoita.

    make bench
    python bench/run.py --run runs/quickstart-uzbek
    python bench/run.py --only scoring

Prints one table and writes it to `bench/results.json` and `docs/performance.md`; with `--only`, it is only printed.
Exits with status 1 if a goal is missed. Takes ten minutes on two idle cores.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer


sys.path.insert(0, str(Path(__file__).parent.parent))  # this folder is not installed

from bench.machine import machine
from bench.manifest import measure_manifest
from bench.measurement import Measurement
from bench.reading import measure_reading
from bench.scoring import measure_scoring
from bench.server import measure_server
from bench.streaming import measure_streaming
from bench.table import markdown_table, write_document, write_results
from bench.training import measure_training
from bench.transcriber import measure_transcriber
from escoita.cli.main import script
from escoita.errors import EscoitaError


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench/results.json"
DOCUMENT = ROOT / "docs/performance.md"


def bench(
    run: Annotated[Path, typer.Option(help="Trained run of the quick start.")] = Path("runs/quickstart-uzbek"),
    only: Annotated[
        Literal["transcriber", "streaming", "server", "scoring", "manifest", "reading", "training"] | None,
        typer.Option(help="Run one benchmark only, and write no files."),
    ] = None,
) -> None:
    """Measure speed and memory, and check the goals."""
    benchmarks: dict[str, Callable[[], list[Measurement]]] = {
        "transcriber": partial(measure_transcriber, run),
        "streaming": partial(measure_streaming, run),
        "server": partial(measure_server, run),
        "scoring": measure_scoring,
        "manifest": measure_manifest,
        "reading": measure_reading,
        "training": measure_training,
    }
    measured_on = machine()
    chosen = [only] if only else benchmarks
    measurements = [measurement for name in chosen for measurement in benchmarks[name]()]
    typer.echo(f"{markdown_table(measurements)}\n\nMeasured on {measured_on}.")
    if only is None:
        write_results(measurements, RESULTS)
        write_document(measurements, measured_on, DOCUMENT)
    refuse_missed(measurements)


def refuse_missed(measurements: list[Measurement]) -> None:
    """
    Raise if goals were missed.

    Raises:
        EscoitaError: A goal was missed.
    """
    main_system = [measurement for measurement in measurements if measurement.met is not None]
    missed = [f"{each.name}: {each.figure} {each.unit}, not {each.goal}" for each in main_system if not each.met]
    if missed:
        raise EscoitaError(f"{len(missed)} of {len(main_system)} goals missed: {'; '.join(missed)}")


if __name__ == "__main__":
    script(bench)
