"""Check the published files: digests, plots and rates for leaderboards."""

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

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


# In points of a plot that is 504 wide: another processor rounds the last digits otherwise.
TOLERANCE = 0.05
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_ELSEWHERE = re.compile(r"url\((?!\s*[\"']?#)|@import|javascript:|expression\(", re.IGNORECASE)
# A style sheet could follow, and the parser of Python leaves processing instructions out.
_DECLARATION = re.compile(r"\A\ufeff?<\?xml\s[^?<>]*\?>")
_ID = re.compile(r"#[\w.-]+")
_ACTIVE = {"script", "foreignobject", "iframe", "object", "embed", "image", "a", "animate", "set", "handler", "style"}


def drawn_of_records(run: RunDirectory) -> dict[str, str]:
    """Draw the plots of training and corpora again from the published records; by their names there."""
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
    Compare each plot with the same plot drawn again, element by element, and report images that no record explains.

    Args:
        files (`Mapping[str, Path]`): Published files by name.
        drawn (`Mapping[str, str]`): Plots drawn again, by their names there.
        same_matplotlib (`bool`): The plots were drawn by the version of Matplotlib that is installed here. Another
            version may place elements otherwise; then figures, texts and kinds of elements are compared.
    """
    for name, path in files.items():
        if path.suffix.lower() not in IMAGES:
            continue
        if path.suffix.lower() == ".svg":
            yield _plot(name, path, drawn.get(name), same_matplotlib)
        else:
            yield unprovable(f"image {name}", "no record explains what it shows")
    for name in drawn.keys() - files.keys():
        yield Check(f"plot {name}", "differs", ["is missing; escoita push publishes it"])


def _plot(name: str, path: Path, drawn: str | None, same_matplotlib: bool) -> Check:
    what = f"plot {name}"
    text = path.read_text("utf-8", "replace")
    if text == drawn:
        return Check(what, "holds", ["drawn again, byte for byte"])
    try:
        tree = _parsed(text)
    except ValueError as error:
        return Check(what, "differs", [str(error)])
    if active := sorted(set(_active(tree))):
        return Check(what, "differs", [f"holds {', '.join(active)}, which a plot has no use for"])
    if drawn is None:
        return unprovable(f"image {name}", "no record explains what it shows")
    figures = figures_in(text)
    if figures is None:
        return Check(what, "differs", ["holds no figures, and is not as it is drawn again"])
    if found := list(differences(figures, figures_in(drawn))):
        return compared(what, found)
    other = _parsed(drawn)
    if not (found := list(_elements(tree, other))):
        return Check(what, "holds", ["drawn again, element by element"])
    if not same_matplotlib and _inventory(tree) == _inventory(other):
        return skipped(what, "figures, texts and elements are the same; another version of Matplotlib placed them")
    return compared(what, found)


def _parsed(text: str) -> ET.Element:
    """
    Parse an SVG file.

    Raises:
        ValueError: It is not XML, is nested too deeply, or declares entities.
    """
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise ValueError("declares a document type, which a plot of escoita does not")
    if "<?" in _DECLARATION.sub("", text):
        raise ValueError("holds a processing instruction, which a plot of escoita does not")
    try:
        tree = ET.fromstring(text)  # noqa: S314  # without a document type there are no entities
    except (ET.ParseError, RecursionError, ValueError) as error:
        raise ValueError(f"is not XML ({error})") from error
    depth, level = 0, [tree]
    while level:
        depth += 1
        if depth > 50:
            raise ValueError("is nested too deeply")
        level = [child for element in level for child in element]
    return tree


def _active(tree: ET.Element) -> Iterator[str]:
    """Yield what could run, load or cover something: scripts, event handlers, references to elsewhere."""
    for element in tree.iter():
        if _local(element.tag) in _ACTIVE:
            yield f"<{_local(element.tag)}>"
        for key, value in element.attrib.items():
            name = _local(key)
            if name.startswith("on"):
                yield f"the event handler {name}"
            elif (name in ("href", "src") and not value.startswith("#")) or _ELSEWHERE.search(value):
                yield f"a reference to elsewhere ({name})"


def _local(name: str) -> str:
    return name.rpartition("}")[2].lower()


def _elements(one: ET.Element, other: ET.Element) -> Iterator[str]:
    """Compare two plots element by element; yields the first difference of structure and each other value."""
    ours, theirs = list(one.iter()), list(other.iter())
    if [element.tag for element in ours] != [element.tag for element in theirs]:
        yield f"has {len(ours)} elements, drawn again {len(theirs)}, or in another order"
        return
    ids: dict[str, str] = {}
    for place, (mine, its) in enumerate(zip(ours, theirs, strict=True)):
        if _local(mine.tag) == "metadata":
            continue
        texts = [(mine.text or "", its.text or ""), (mine.tail or "", its.tail or "")]
        pairs = [(key, mine.get(key), its.get(key)) for key in mine.attrib.keys() | its.attrib.keys()]
        pairs += [("text", ours_.strip(), theirs_.strip()) for ours_, theirs_ in texts]
        for key, published, drawn in pairs:
            if not _alike(_local(key), published, drawn, ids):
                yield f"element {place} <{_local(mine.tag)}>: {_local(key)} is not as it is drawn again"


def _alike(key: str, published: str | None, drawn: str | None, ids: dict[str, str]) -> bool:
    """Whether two values are the same: numbers within the tolerance, ids by a renaming that is always the same."""
    if published is None or drawn is None:
        return published == drawn
    if published == drawn and key == "text":
        return True
    if key == "id":
        return _renamed(f"#{published}", f"#{drawn}", ids)
    if key == "text":
        return False
    ours, theirs = _ID.findall(published), _ID.findall(drawn)
    # A color is written like an id, and must be the same.
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
    """Note a renaming in both directions: a reference to nothing must not stand for one that leads to an element."""
    return ids.setdefault(published, drawn) == drawn and ids.setdefault(f"drawn {drawn}", published) == published


def _inventory(tree: ET.Element) -> tuple[Counter[str], Counter[str]]:
    """Count the kinds of elements, and the texts."""
    kinds = Counter(_local(element.tag) for element in tree.iter())
    texts = Counter((element.text or "").strip() for element in tree.iter() if _local(element.tag) != "metadata")
    return kinds, texts


FOLDER = ".eval_results"


def check_leaderboards(folder: Path, made: Mapping[str, bytes]) -> Iterator[Check]:
    """
    Compares each file of `.eval_results/` with the same made anew.

    Args:
        folder (`Path`): What was published.
        made (`Mapping[str, bytes]`): From [`~escoita.cards.publication.benchmark_files`], by path.
    """
    there = {path.relative_to(folder).as_posix(): path for path in sorted((folder / FOLDER).rglob("*.y*ml"))}
    for name in sorted(there.keys() | made.keys()):
        if name not in made:
            yield unprovable(name, "the recipe asks for no such file, and no record gives what it says")
        elif name not in there:
            yield Check(name, "differs", ["is missing"])
        else:
            anew = _entries(made[name])
            found = list(differences(_entries(there[name].read_bytes()), anew))
            yield compared(name, found, f"{len(anew)} values")


def _entries(content: bytes) -> dict[str, Any]:
    """What a file says, by its place there; of one that is not YAML nothing."""
    try:
        said, _ = read_yaml(content)
    except yaml.YAMLError:
        return {}
    return {f"entry {place}": entry for place, entry in enumerate(said, start=1)} if isinstance(said, list) else {}
