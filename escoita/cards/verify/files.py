"""The files themselves: their digests, that weights are safetensors, and that what a card shows are numbers."""

import math
import re
from pathlib import Path

from escoita.cards.verify.check import Check, compared, skipped, unprovable
from escoita.cards.listing import published_files
from escoita.errors import RecordError
from escoita.utils.files import sha256
from escoita.hub.forbidden import PICKLES
from escoita.utils.limits import SUMS_BYTES, read_bounded
from escoita.records.training import TrainingRecord
from escoita.run_directory import UNCHANGED_FILES, RunDirectory


SUMS = "SHA256SUMS"
# What people write on the Hub, and what the Hub writes.
UNSUMMED = {SUMS, "README.md", ".gitattributes"}
# What figures or weights are read from; without a digest they are not what was published together.
MEANT = re.compile(r"(recipe\.yaml|training\.json|data\.json|eval/.+|.*\.safetensors|adapter_config\.json)")
# What another check compares or reports; everything else is listed.
EXPLAINED = re.compile(
    r"recipe\.yaml|training\.json|data\.json|adapter_config\.json|adapter_model\.safetensors|eval/results\.json"
    r"|eval/[^/]+/(predictions[^/]*|counts)\.parquet|\.eval_results/.*\.ya?ml|model\.sig|signer\.pub|card\.sha256"
    rf"|{'|'.join(map(re.escape, UNCHANGED_FILES))}"
)
IMAGES = {".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".ico"}
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>.+)")


def check_files(folder: Path) -> list[Check]:
    """
    Compares files with `SHA256SUMS`, in the format of `sha256sum -c`, and looks for weights that are no safetensors.

    Args:
        folder (`Path`): What was published.
    """
    return [*_sums(folder), _safetensors(folder), *_numbers(folder)]


def _sums(folder: Path) -> list[Check]:
    files = published_files(folder)
    if SUMS not in files:
        return [skipped("checksums", f"there is no {SUMS}")]
    told: dict[str, str] = {}
    differences = []
    for number, line in enumerate(
        read_bounded(files[SUMS], SUMS_BYTES).decode("utf-8", "replace").splitlines(), start=1
    ):
        if found := _LINE.fullmatch(line):
            told[found["name"]] = found["digest"]
        elif line.strip():
            differences.append(f"{SUMS}, line {number}: no digest and name")
    for name, digest in told.items():
        if name not in files:
            differences.append(f"{name}: is not there")
        elif sha256(files[name]) != digest:
            differences.append(f"{name}: has another digest")
    untold = files.keys() - told.keys() - UNSUMMED
    differences += [f"{name}: has no digest in {SUMS}" for name in sorted(untold) if MEANT.fullmatch(name)]
    checks = [compared("checksums", differences, f"{len(told)} files are as {SUMS} says")]
    others = sorted(name for name in files.keys() - UNSUMMED if not _is_explained(name))
    return checks + ([unprovable("other files", f"no record explains {', '.join(others)}")] if others else [])


def _is_explained(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return bool(EXPLAINED.fullmatch(name)) or suffix in IMAGES or suffix in PICKLES


def _safetensors(folder: Path) -> Check:
    files = published_files(folder).items()
    found = [f"{name}: may hold a pickle" for name, path in files if path.suffix.lower() in PICKLES]
    return compared("safetensors alone", found, "no pickle is there")


def _numbers(folder: Path) -> list[Check]:
    """A record may hold a loss that is no number, as that of a training that diverged; a card may not show one."""
    try:
        points = TrainingRecord.read(RunDirectory(folder).training).validation
    except RecordError:  # said where the record is compared
        return []
    found = [f"training.json: the validation loss of step {point.step} is {point.loss}" for point in points]
    wrong = [line for line, point in zip(found, points, strict=True) if not math.isfinite(point.loss)]
    return [compared("numbers", wrong)] if wrong else []
