"""Check the published files: digests, plots and rates for leaderboards."""

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from escoita.cards.benchmarks import FOLDER
from escoita.cards.listing import published_files
from escoita.cards.verify.check import Check, compared, skipped, unprovable
from escoita.cards.verify.recompute import differences
from escoita.errors import RecordError
from escoita.hub.secrets import PICKLES
from escoita.records.data import DataRecord
from escoita.records.plots import duration_plot, figures_in, training_plot
from escoita.records.training import TrainingRecord
from escoita.run_directory import UNCHANGED_FILES, RunDirectory
from escoita.utils.files import sha256
from escoita.utils.limits import SUMS_BYTES, read_bounded
from escoita.utils.untrusted import read_yaml


SUMS = "SHA256SUMS"
# Files that authors edit on the Hub, and files that the Hub writes.
FILES_WITHOUT_DIGEST = {SUMS, "README.md", ".gitattributes"}
# Sources of figures or weights; they must have a digest, which proves that they were published together.
HASHED_FILES = re.compile(r"(recipe\.yaml|training\.json|data\.json|eval/.+|.*\.safetensors|adapter_config\.json)")
# Files that another check compares or reports; all others are listed.
COVERED_FILES = re.compile(
    r"recipe\.yaml|training\.json|data\.json|adapter_config\.json|adapter_model\.safetensors|eval/results\.json"
    r"|eval/[^/]+/(predictions[^/]*|counts)\.parquet|\.eval_results/.*\.ya?ml|model\.sig|signer\.pub|card\.sha256"
    rf"|{'|'.join(map(re.escape, UNCHANGED_FILES))}"
)
IMAGES = {".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".ico"}
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>.+)")


def check_files(folder: Path) -> list[Check]:
    """
    Compare files with `SHA256SUMS`, in the format of `sha256sum -c`, and refuse weights that are not safetensors.

    Args:
        folder (`Path`): Folder with the published files.
    """
    return [*_sums(folder), _safetensors(folder), *_numbers(folder)]


def _sums(folder: Path) -> list[Check]:
    files = published_files(folder)
    if SUMS not in files:
        return [skipped("checksums", f"{SUMS} not found")]
    listed: dict[str, str] = {}
    differences = []
    for number, line in enumerate(
        read_bounded(files[SUMS], SUMS_BYTES).decode("utf-8", "replace").splitlines(), start=1
    ):
        if found := _LINE.fullmatch(line):
            listed[found["name"]] = found["digest"]
        elif line.strip():
            differences.append(f"{SUMS}:{number}: expected digest and name")
    for name, digest in listed.items():
        if name not in files:
            differences.append(f"{name}: not found")
        elif sha256(files[name]) != digest:
            differences.append(f"{name}: differs from its digest")
    unlisted = files.keys() - listed.keys() - FILES_WITHOUT_DIGEST
    differences += [f"{name}: no digest in {SUMS}" for name in sorted(unlisted) if HASHED_FILES.fullmatch(name)]
    checks = [compared("checksums", differences, f"{len(listed)} files match {SUMS}")]
    others = sorted(name for name in files.keys() - FILES_WITHOUT_DIGEST if not _is_explained(name))
    return checks + ([unprovable("other files", f"not covered by any record: {', '.join(others)}")] if others else [])


def _is_explained(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return bool(COVERED_FILES.fullmatch(name)) or suffix in IMAGES or suffix in PICKLES


def _safetensors(folder: Path) -> Check:
    files = published_files(folder).items()
    found = [f"{name}: may contain a pickle" for name, path in files if path.suffix.lower() in PICKLES]
    return compared("safetensors alone", found, "no pickles")


def _numbers(folder: Path) -> list[Check]:
    """Check that the losses are finite. A record of a diverged training may have NaN, but a card may not show it."""
    try:
        points = TrainingRecord.read(RunDirectory(folder).training).validation
    except RecordError:  # reported by the comparison of the record
        return []
    found = [f"training.json: the validation loss of step {point.step} is {point.loss}" for point in points]
    wrong = [line for line, point in zip(found, points, strict=True) if not math.isfinite(point.loss)]
    return [compared("numbers", wrong)] if wrong else []


# In points of a plot with a width of 504: the last digits depend on the processor.
TOLERANCE = 0.05
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_ELSEWHERE = re.compile(r"url\((?!\s*[\"']?#)|@import|javascript:|expression\(", re.IGNORECASE)
# A style sheet could follow, and the parser of Python ignores processing instructions.
_DECLARATION = re.compile(r"\A\ufeff?<\?xml\s[^?<>]*\?>")
_ID = re.compile(r"#[\w.-]+")
_ACTIVE = {"script", "foreignobject", "iframe", "object", "embed", "image", "a", "animate", "set", "handler", "style"}


def drawn_of_records(run: RunDirectory) -> dict[str, str]:
    """Draw the plots of training and corpora again from the published records, by their published names."""
    plots = {}
    if run.training.is_file() and (curve := training_plot(TrainingRecord.read(run.training))):
        plots[run.curve.name] = curve
    if run.data.is_file():
        data = DataRecord.read(run.data)
        name = run.durations.relative_to(run.path).as_posix()
        plots[name] = duration_plot(data.duration_edges, data.histograms)
    return plots


def check_drawings(files: Mapping[str, Path], drawn: Mapping[str, str], same_matplotlib: bool) -> Iterator[Check]:
    """
    Compare each plot with the same plot drawn again, element by element, and report images without a record.

    Args:
        files (`Mapping[str, Path]`): Published files by name.
        drawn (`Mapping[str, str]`): Plots drawn again, by their published names.
        same_matplotlib (`bool`): Whether the installed version of Matplotlib drew the plots. Another version may use
            other positions; then only figures, texts and types of elements are compared.
    """
    for name, path in files.items():
        if path.suffix.lower() not in IMAGES:
            continue
        if path.suffix.lower() == ".svg":
            yield _plot(name, path, drawn.get(name), same_matplotlib)
        else:
            yield unprovable(f"image {name}", "no record for its content")
    for name in drawn.keys() - files.keys():
        yield Check(f"plot {name}", "differs", ["missing"])


def _plot(name: str, path: Path, drawn: str | None, same_matplotlib: bool) -> Check:
    what = f"plot {name}"
    text = path.read_text("utf-8", "replace")
    if text == drawn:
        return Check(what, "holds", ["equal to the plot drawn again, byte for byte"])
    try:
        tree = _parsed(text)
    except ValueError as error:
        return Check(what, "differs", [str(error)])
    if active := sorted(set(_active(tree))):
        return Check(what, "differs", [f"unexpected in a plot: {', '.join(active)}"])
    if drawn is None:
        return unprovable(f"image {name}", "no record for its content")
    figures = figures_in(text)
    if figures is None:
        return Check(what, "differs", ["no figures, and not equal to the plot drawn again"])
    if found := list(differences(figures, figures_in(drawn))):
        return compared(what, found)
    other = _parsed(drawn)
    if not (found := list(_elements(tree, other))):
        return Check(what, "holds", ["equal to the plot drawn again, element by element"])
    if not same_matplotlib and _inventory(tree) == _inventory(other):
        return skipped(
            what, "figures, texts and elements are equal; the positions are from another version of Matplotlib"
        )
    return compared(what, found)


def _parsed(text: str) -> ET.Element:
    """
    Parse an SVG file.

    Raises:
        ValueError: The file is not XML, is nested too deeply, or declares entities.
    """
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise ValueError("unexpected document type declaration")
    if "<?" in _DECLARATION.sub("", text):
        raise ValueError("unexpected processing instruction")
    try:
        tree = ET.fromstring(text)  # noqa: S314  # without a document type there are no entities
    except (ET.ParseError, RecursionError, ValueError) as error:
        raise ValueError(f"not XML ({error})") from error
    depth, level = 0, [tree]
    while level:
        depth += 1
        if depth > 50:
            raise ValueError("nested too deeply")
        level = [child for element in level for child in element]
    return tree


def _active(tree: ET.Element) -> Iterator[str]:
    """Yield active content: scripts, event handlers and external references."""
    for element in tree.iter():
        if _local(element.tag) in _ACTIVE:
            yield f"<{_local(element.tag)}>"
        for key, value in element.attrib.items():
            name = _local(key)
            if name.startswith("on"):
                yield f"the event handler {name}"
            elif (name in ("href", "src") and not value.startswith("#")) or _ELSEWHERE.search(value):
                yield f"an external reference ({name})"


def _local(name: str) -> str:
    return name.rpartition("}")[2].lower()


def _elements(published_plot: ET.Element, drawn_plot: ET.Element) -> Iterator[str]:
    """Compare two plots element by element; yield the first difference of structure, or all different values."""
    ours, theirs = list(published_plot.iter()), list(drawn_plot.iter())
    if [element.tag for element in ours] != [element.tag for element in theirs]:
        yield f"{len(ours)} elements, {len(theirs)} in the plot drawn again, or in another order"
        return
    ids: dict[str, str] = {}
    for number, (first, second) in enumerate(zip(ours, theirs, strict=True)):
        if _local(first.tag) == "metadata":
            continue
        texts = [(first.text or "", second.text or ""), (first.tail or "", second.tail or "")]
        pairs = [(key, first.get(key), second.get(key)) for key in first.attrib.keys() | second.attrib.keys()]
        pairs += [("text", one.strip(), other.strip()) for one, other in texts]
        for key, published, drawn in pairs:
            if not _equal(_local(key), published, drawn, ids):
                yield f"element {number} <{_local(first.tag)}>: {_local(key)} differs from the plot drawn again"


def _equal(key: str, published: str | None, drawn: str | None, ids: dict[str, str]) -> bool:
    """Return whether two values are equal: numbers within the tolerance, ids by a consistent renaming."""
    if published is None or drawn is None:
        return published == drawn
    if published == drawn and key == "text":
        return True
    if key == "id":
        return _renamed(f"#{published}", f"#{drawn}", ids)
    if key == "text":
        return False
    ours, theirs = _ID.findall(published), _ID.findall(drawn)
    # A color has the format of an id, and must be equal.
    references = key in ("href", "clip-path")
    if references and not all(_renamed(a, b, ids) for a, b in zip(ours, theirs, strict=False)):
        return False
    if references:
        published, drawn = _ID.sub("#", published), _ID.sub("#", drawn)
    if _NUMBER.sub("0", published) != _NUMBER.sub("0", drawn):
        return False
    numbers = zip(_NUMBER.findall(published), _NUMBER.findall(drawn), strict=True)
    exact = key in ("style", "fill", "stroke", "opacity", "class")
    return all(a == b or (not exact and abs(float(a) - float(b)) <= TOLERANCE) for a, b in numbers)


def _renamed(published: str, drawn: str, ids: dict[str, str]) -> bool:
    """Record a renaming in both directions, so that a dangling reference does not equal a valid one."""
    return ids.setdefault(published, drawn) == drawn and ids.setdefault(f"drawn {drawn}", published) == published


def _inventory(tree: ET.Element) -> tuple[Counter[str], Counter[str]]:
    """Count the types of elements, and the texts."""
    kinds = Counter(_local(element.tag) for element in tree.iter())
    texts = Counter((element.text or "").strip() for element in tree.iter() if _local(element.tag) != "metadata")
    return kinds, texts


def check_leaderboards(folder: Path, recomputed: Mapping[str, bytes]) -> Iterator[Check]:
    """
    Compare each file of `.eval_results/` with the same file from the recomputed records.

    Args:
        folder (`Path`): Folder with the published files.
        recomputed (`Mapping[str, bytes]`): Files from [`~escoita.cards.benchmarks.benchmark_files`], by path.
    """
    published = {path.relative_to(folder).as_posix(): path for path in sorted((folder / FOLDER).rglob("*.y*ml"))}
    for name in sorted(published.keys() | recomputed.keys()):
        if name not in recomputed:
            yield unprovable(name, "not in the recipe, and no record has its values")
        elif name not in published:
            yield Check(name, "differs", ["missing"])
        else:
            expected = _entries(recomputed[name])
            found = list(differences(_entries(published[name].read_bytes()), expected))
            yield compared(name, found, f"{len(expected)} values")


def _entries(content: bytes) -> dict[str, Any]:
    """Return the numbered entries of a file; empty if it is not YAML."""
    try:
        entries, _ = read_yaml(content)
    except yaml.YAMLError:
        return {}
    return {f"entry {n}": each for n, each in enumerate(entries, start=1)} if isinstance(entries, list) else {}
