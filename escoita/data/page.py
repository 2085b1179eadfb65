"""Write the clips of corpora as one HTML page: play, filter by outlier kind, sort by characters per second."""

import base64
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.clips import read_clip
from escoita.data.report import DEFAULT_MAX_AUDIO_SECONDS, characters_per_second, outlier_details
from escoita.data.rows import Utterance
from escoita.data.statistics import Measured
from escoita.errors import AudioError, WriteError
from escoita.metrics.characters import count_characters
from escoita.records.data import OutlierKind
from escoita.resources import resource
from escoita.utils.files import write_atomically
from escoita.utils.languages import is_right_to_left
from escoita.utils.limits import MEBIBYTE


GENERATOR = "escoita data --html"
# Clips on the page, and the recordings in it; browsers become slow with more.
MOST_CLIPS = 50_000
EMBEDDED_BYTES = 100 * MEBIBYTE
# Text of a clip on the page.
_TEXT = 2_000


@dataclass(frozen=True)
class _Row:
    """Store a clip with its outliers."""

    measured: Measured
    index: int
    rate: float
    kinds: list[tuple[OutlierKind, str]]


def write_page(
    path: Path,
    name: str,
    corpora: Sequence[Measured],
    titles: Mapping[OutlierKind, str],
    embed: bool = False,
    max_audio_seconds: float = DEFAULT_MAX_AUDIO_SECONDS,
) -> int:
    """
    Write the page, and return the number of its clips.

    Recordings in files are links relative to the page; a segment is a part of its recording (`#t=start,end`).
    Recordings that are embedded in tables, and all if `embed` is set, are in the page until it has 100 MiB of them.

    Args:
        path (`Path`): The page, which is replaced if an earlier call wrote it.
        name (`str`): The name of the recipe.
        corpora (`Sequence[Measured]`): The clips.
        titles (`Mapping[str, str]`): The description of each kind of outlier.
        embed (`bool`, *optional*, defaults to `False`): Whether the page contains all recordings.
        max_audio_seconds (`float`, *optional*, defaults to 30): The longest clip that the model takes.

    Raises:
        WriteError: The file exists and is another one, or cannot be written.
    """
    _refuse_other(path)
    rows = [row for measured in corpora for row in _rows(measured, max_audio_seconds)]
    total = len(rows)
    if total > MOST_CLIPS:
        chosen = sorted(range(total), key=lambda place: (not rows[place].kinds, place))[:MOST_CLIPS]
        rows = [rows[place] for place in sorted(chosen)]
    names = [f"{measured.corpus}, {measured.split}" for measured in corpora]
    number = {id(measured): place for place, measured in enumerate(corpora)}
    left, clips = EMBEDDED_BYTES, []
    for row in rows:
        utterance = row.measured.utterances[row.index]
        audio = _source(utterance, path.parent, left, embed)
        left -= len(audio) if audio.startswith("data:") else 0
        clips.append(
            {
                "id": utterance.id,
                "corpus": number[id(row.measured)],
                "text": utterance.text if len(utterance.text) <= _TEXT else utterance.text[: _TEXT - 1] + "…",
                "dir": "rtl" if is_right_to_left(utterance.text) else "ltr",
                "speaker": utterance.speaker,
                "seconds": round(float(row.measured.seconds[row.index]), 3),
                "rate": round(row.rate, 2),
                "kinds": row.kinds,
                "audio": audio,
            }
        )
    shown = {kind: title.format(limit=max_audio_seconds) for kind, title in titles.items()}
    counts = Counter(kind for row in rows for kind, _ in row.kinds)
    script = (resource("eval/templates") / "corpus.js").read_text("utf-8")
    page = _environment().get_template("corpus.html.jinja")
    content = page.render(
        name=name,
        generator=GENERATOR,
        total=f"{total:,}",
        omitted=f"{total - len(rows):,}" if total > len(rows) else "",
        silent=sum(not clip["audio"] for clip in clips),
        corpora=names,
        kinds=[(kind, shown[kind], f"{count:,}") for kind, count in counts.most_common()],
        data=_json({"clips": clips, "corpora": names, "titles": shown}),
        script=Markup(script),  # noqa: S704  (a file of this project)
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_atomically(path, content.encode("utf-8", "replace"))
    return len(rows)


def _refuse_other(path: Path) -> None:
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            known = GENERATOR.encode() in file.read(4096)
    except OSError:
        known = False
    if not known:
        raise WriteError("exists, and is not a page of this command", path=path, hint="give another name", free=0)


def _rows(measured: Measured, max_audio_seconds: float) -> list[_Row]:
    characters = count_characters(measured.utterances.each("text"))
    details = outlier_details(measured, characters, max_audio_seconds)
    rates = characters_per_second(measured)
    return [_Row(measured, index, float(rates[index]), details.get(index, [])) for index in range(len(measured))]


def _source(utterance: Utterance, folder: Path, left: int, embed: bool) -> str:
    """Return the address of a clip: a relative link, a data URL, or an empty string."""
    if not embed and utterance.embedded is None:
        # All but slashes and plain characters is quoted, so that a name cannot be an address of another scheme.
        address = quote(Path(os.path.relpath(utterance.audio, folder)).as_posix(), safe="/")
        if utterance.offset is None:
            return address
        end = utterance.offset + (utterance.duration or 0.0)
        return f"{address}#t={utterance.offset:.3f},{end:.3f}"
    if left <= 0:
        return ""
    try:
        samples = read_clip(utterance)
    except AudioError:
        return ""
    if len(samples) > left:  # FLAC takes about one byte for each sample of 16 bits
        return ""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    found = "data:audio/flac;base64," + base64.b64encode(file.getvalue()).decode()
    return found if len(found) <= left else ""


def _json(value: Any) -> Markup:
    """Return JSON that cannot end its element, whatever its texts contain."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  (no character of markup remains)


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(resource("eval/templates")),
        undefined=StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
    )
