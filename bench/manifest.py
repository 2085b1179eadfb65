"""Measure the opening of a manifest with the number of rows of the Uzbek corpus."""

import json
import random
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from bench.measurement import Measurement
from bench.quickstart import load_clips
from escoita.data.readers import read_corpus
from escoita.recipe.schema import Corpus
from escoita.utils.processes import say


ROWS = 650_429
CHARACTERS = 50  # minimum length of a text; about 60 with the last phrase
SPEAKERS = 3000
ROUNDS = 3


@dataclass(frozen=True)
class Opened:
    """
    Store the time and the memory for opening a manifest.

    Args:
        rows (`int`): Number of usable rows.
        rejected (`int`): Number of rejected rows.
        seconds (`float`): Wall-clock time until all rows were read.
        growth_bytes (`int`): Peak resident memory minus the resident memory before.
    """

    rows: int
    rejected: int
    seconds: float
    growth_bytes: int


def measure_manifest(rows: int = ROWS, rounds: int = ROUNDS) -> list[Measurement]:
    """
    Measure the time and the memory for opening a manifest.

    Args:
        rows (`int`, *optional*, defaults to 650,429): Number of rows of the manifest.
        rounds (`int`, *optional*, defaults to 3): Number of measurements, each in a new process.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.jsonl"
        say(f"Manifest: writing {rows:,} rows")
        write_manifest(path, rows)
        opened = []
        for number in range(1, rounds + 1):
            say(f"Manifest: opening, round {number} of {rounds}")
            # Spawned, because a forked process would start with the memory of this one.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                opened.append(fresh.submit(open_manifest, path).result())
    return [
        Measurement(
            f"Manifest of {rows:,} rows, time to open", median(each.seconds for each in opened), "s", at_most=10
        ),
        Measurement(
            "Manifest, peak growth of memory", max(each.growth_bytes for each in opened) / 1e6, "MB", at_most=500
        ),
        Measurement(
            "Manifest, rows that are missing", max(rows - each.rows for each in opened), f"of {rows:,}", at_most=0
        ),
    ]


def write_manifest(path: Path, rows: int) -> None:
    """Write a manifest in the format of NeMo, without recordings."""
    sentences, draw = load_clips("uz").column("text"), random.Random(0)  # noqa: S311 - draws need no secrecy
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            text = draw.choice(sentences)
            while len(text) < CHARACTERS:
                text += " " + draw.choice(sentences)
            fields = {
                "id": f"uz-{row:06}",
                "audio_filepath": f"clips/{row // 1000:03}/{row:06}.flac",
                "duration": round(draw.uniform(1, 20), 3),
                "text": text,
                "lang": "uz",
                "speaker": f"s{draw.randrange(SPEAKERS):04}",
            }
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")


def open_manifest(path: Path) -> Opened:
    """Read a manifest in this process, which should be new."""
    before, started = _memory_bytes("VmRSS"), time.perf_counter()
    rows, rejected = read_corpus(Corpus(name="manifest", path=str(path)), "uz")
    return Opened(len(rows), len(rejected), time.perf_counter() - started, _memory_bytes("VmHWM") - before)


def _memory_bytes(field: str) -> int:
    """Return the resident memory of this process in bytes: `VmRSS` is the current one, `VmHWM` the peak."""
    # getrusage is not used, because a new process inherits the peak of its parent.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return int(status[field].split()[0]) * 1024
