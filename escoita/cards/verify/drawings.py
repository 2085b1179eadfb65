"""Compare each published plot with the same plot drawn again from the records."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from escoita.cards.verify.check import Check, compared, skipped, unprovable
from escoita.cards.verify.files import IMAGES
from escoita.cards.verify.rates import differences
from escoita.records.data import DataRecord
from escoita.records.plots import duration_plot, figures_in, training_plot
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory


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
