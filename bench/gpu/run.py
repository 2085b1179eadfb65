"""
Check on one NVIDIA GPU what tests on a CPU cannot: memory, 4 bits, bfloat16, speed, out of memory, NCCL.

    make test-gpu
    python bench/gpu/run.py --out gpu-check.json
    python bench/gpu/run.py --size toy

Needs no network and no published weights, and at most eight minutes. Each part prints what it measured and what is
expected. A part whose package is missing is skipped by name. Exits with status 1 if a part failed.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from importlib import metadata
from pathlib import Path


ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # this folder is not installed

from bench.gpu.inference_parts import check_process_group, check_resume, check_streams, check_transcription  # noqa: E402
from bench.gpu.part import Context, Figure, Outcome, Part  # noqa: E402
from bench.gpu.training_parts import (  # noqa: E402
    check_e4b,
    check_four_bit,
    check_machine,
    check_out_of_memory,
    check_quickstart,
)


MODELS = (
    *("torch", "transformers", "peft", "accelerate", "pydantic", "yaml", "rich", "safetensors"),
    *("soundfile", "soxr", "rapidfuzz", "pyarrow", "psutil", "jiwer"),
)
TRAINING = (*MODELS, "trl", "datasets")
PARTS = (
    Part("machine", 45, TRAINING, check_machine),
    Part("quick start", 75, TRAINING, check_quickstart),
    Part("E4B in 4 bits", 120, (*TRAINING, "bitsandbytes"), check_e4b),
    Part("4 bits reloaded", 60, (*MODELS, "bitsandbytes"), check_four_bit),
    Part("out of memory", 60, MODELS, check_out_of_memory),
    Part("transcription", 120, (*MODELS, "bitsandbytes"), check_transcription),
    Part("streams", 30, MODELS, check_streams),
    Part("resume", 60, TRAINING, check_resume),
    Part("process group", 40, TRAINING, check_process_group),
)
# All parts together; a part gets no more than what is left.
MOST_SECONDS = 480.0
LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "bitsandbytes")


def check(size: str, only: list[str], out: Path, folder: Path) -> bool:
    """
    Run the parts, print their outcomes, and write them as JSON.

    Args:
        size (`str`): The size of the models, `full` or `toy`.
        only (`list[str]`): The names of the parts; all if empty.
        out (`Path`): The file to write.
        folder (`Path`): An empty folder for bases and runs.

    Returns:
        `bool`: Whether no part failed, and at least one passed.
    """
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    if about["device"] == "none" and size == "full":
        outcomes = [Outcome(part.name, "skipped", "needs a GPU; see --size toy") for part in chosen(only)]
    else:
        context = Context(folder, size == "toy", "cpu" if about["device"] == "none" else "cuda")
        outcomes = [run(part, context) for part in chosen(only)]
    counts = {status: sum(each.status == status for each in outcomes) for status in ("passed", "failed", "skipped")}
    passed = not counts["failed"] and counts["passed"] > 0
    document = {"machine": about, "size": size, "passed": passed} | {"parts": [each.document() for each in outcomes]}
    out.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"\n{'PASSED' if passed else 'FAILED'}: {summary}; written to {out}")
    return passed


def chosen(only: list[str]) -> list[Part]:
    """Return the parts with these names, or all."""
    return [part for part in PARTS if not only or part.name in only]


_began = time.perf_counter()


def run(part: Part, context: Context) -> Outcome:
    """Run a part: on a GPU in a process of its own, which releases all memory at its end, else in this process."""
    print(f"\n{part.name}", flush=True)
    started = time.perf_counter()
    if missing := part.missing():
        outcome = Outcome(part.name, "skipped", f"not installed: {', '.join(missing)}")
    elif context.on_gpu:
        outcome = in_process(part, context, min(part.seconds, MOST_SECONDS - (time.perf_counter() - _began)))
    else:
        outcome = here(part, context)
    outcome.seconds = round(time.perf_counter() - started, 1)
    for figure in outcome.figures:
        print(f"  {figure}")
    reason = f" ({outcome.reason})" if outcome.reason else ""
    print(f"  {outcome.status}{reason}, {outcome.seconds} s", flush=True)
    return outcome


def here(part: Part, context: Context) -> Outcome:
    """Run a part in this process."""
    try:
        figures = part.run(context)
    except Exception as error:  # every failure of a part is a result
        traceback.print_exc()
        return Outcome(part.name, "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
    failed = [figure.name for figure in figures if not figure.passed]
    return Outcome(part.name, "failed" if failed else "passed", "; ".join(failed), figures)


def in_process(part: Part, context: Context, seconds: float) -> Outcome:
    """Run a part in another process with a time limit."""
    result = context.folder / f"{part.name}.json"
    command = [sys.executable, __file__, "--one", part.name, "--folder", str(context.folder), "--out", str(result)]
    command += ["--size", "toy" if context.toy else "full"]
    try:
        ended = subprocess.run(command, timeout=max(1.0, seconds), check=False)  # noqa: S603 this script
    except subprocess.TimeoutExpired:
        return Outcome(part.name, "failed", f"took more than {seconds:.0f} s")
    if not result.exists():
        return Outcome(part.name, "failed", f"exited with status {ended.returncode} without a result")
    found = json.loads(result.read_text("utf-8"))
    keys = ("unit", "at_least", "at_most")
    figures = [
        Figure(each["name"], math.nan if each["value"] is None else each["value"], *(each[key] for key in keys))
        for each in found["figures"]
    ]
    return Outcome(found["name"], found["status"], found["reason"], figures)


def machine() -> dict[str, str]:
    """Return the device, its driver, and the versions of Python and the libraries."""
    about = {"python": platform.python_version(), "system": platform.system()}
    for name in LIBRARIES:
        try:
            about[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            about[name] = "not installed"
    import torch

    about["cuda"] = str(torch.version.cuda)
    about["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return about


def main() -> None:
    """Parse the arguments, and exit with status 1 after a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--size", choices=("full", "toy"), default="full", help="size of the models (default: full)")
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"), help="file for the results")
    parser.add_argument("--only", action="append", default=[], choices=[part.name for part in PARTS], help="a part")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.chdir(ROOT)
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    if given.one:
        part = next(each for each in PARTS if each.name == given.one)
        outcome = here(part, Context(given.folder, given.size == "toy", "cuda"))
        given.out.write_text(json.dumps(outcome.document()), "utf-8")
        return
    out = given.out.absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("ESCOITA_CACHE", f"{folder}/cache")
        passed = check(given.size, given.only, out, Path(folder))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
