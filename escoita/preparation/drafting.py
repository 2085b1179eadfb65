"""Draft transcripts into the annotation files of recordings, for people who correct them."""

import json
import mimetypes
import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote
from xml.sax.saxutils import quoteattr  # noqa: S406  (it writes XML)

from escoita.audio.loading import read_audible, seconds
from escoita.audio.segmentation import cut_segment
from escoita.data.annotations import Segment, elan_tiers, format_of, textgrid_tiers
from escoita.data.annotations.drafts import Draft, Times, add_drafts, read_drafts
from escoita.data.annotations.new_tiers import NewSegment, NewTier, NewTierError
from escoita.data.inspection.listing import Listing
from escoita.data.inspection.segments import Annotated, read_files, recording_of
from escoita.errors import EscoitaError
from escoita.inference.outputs import clean
from escoita.preparation.stretches import LONGEST, SHORTEST, Stretch, open_stretches, outside, union
from escoita.utils.files import write_atomically
from escoita.utils.formatting import time_code


if TYPE_CHECKING:
    from escoita.inference.transcriber import Transcriber

DraftFormat = Literal["eaf", "textgrid", "srt", "vtt", "label-studio"]
# Formats of annotation files in the order in which drafts are added to one of them.
_ORDER = ("elan", "textgrid")
_EAF = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<ANNOTATION_DOCUMENT AUTHOR="" DATE="2000-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
    '    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
    "        <MEDIA_DESCRIPTOR MEDIA_URL={media} MIME_TYPE={kind} RELATIVE_MEDIA_URL={relative}/>\n"
    "    </HEADER>\n    <TIME_ORDER>\n    </TIME_ORDER>\n</ANNOTATION_DOCUMENT>\n"
)
_TEXTGRID = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = {end}
tiers? <exists>
size = 0
item []:
"""


@dataclass
class Work:
    """
    Store what is not transcribed of a recording.

    Args:
        recording (`Path`): The recording.
        file (`Path`, *optional*): The annotation file that gets the drafts; `None` if there is none yet.
        covered (`list[tuple[float, float]]`): The times of segments with text, of all tiers of transcripts.
        empty (`list[Segment]`): The segments without text of tiers of transcripts, without a draft.
        drafted (`list[Segment]`): The segments of earlier drafts.
        removed (`int`): The number of earlier drafts that were removed and not replaced.
    """

    recording: Path
    file: Path | None = None
    covered: list[tuple[float, float]] = field(default_factory=list)
    empty: list[Segment] = field(default_factory=list)
    drafted: list[Segment] = field(default_factory=list)
    removed: int = 0


@dataclass(frozen=True)
class Drafted:
    """
    Store what became of a recording.

    Args:
        recording (`Path`): The recording.
        file (`Path`, *optional*): The file that was written; `None` if nothing was.
        tiers (`tuple[str, ...]`): The names of the new tiers.
        segments (`int`): The number of drafted segments.
        audio_seconds (`float`): Their total length.
        error ([`~escoita.errors.EscoitaError`], *optional*): The reason why nothing was written.
    """

    recording: Path
    file: Path | None = None
    tiers: tuple[str, ...] = ()
    segments: int = 0
    audio_seconds: float = 0.0
    error: EscoitaError | None = None


def find_work(listing: Listing, language: str, tiers: Collection[str] = ()) -> tuple[list[Work], list[str]]:
    """
    Find the recordings of a folder and what is transcribed of them; nothing is decoded.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        language (`str`): The language, which decides between old encodings.
        tiers (`Collection[str]`, *optional*): The tiers with transcripts, as of `escoita init`.

    Returns:
        `tuple[list[Work], list[str]]`: The recordings, and lines about files that are not used.

    Raises:
        CorpusError: No tier has one of the given names.
    """
    annotated = read_files(listing, language, tiers)
    work = {recording: Work(recording) for recording in listing.recordings}
    for path in sorted(annotated.files, key=lambda path: _rank(path)):
        for segment in _segments(annotated, path):
            recording = recording_of(listing, path, segment)
            if recording is None:
                continue
            own = work[recording]
            own.file = own.file or path
            if segment.text.strip():
                own.covered.append((segment.start, segment.end))
            elif format_of(path) == "elan" and segment.end > segment.start:
                own.empty.append(segment)
        for draft in annotated.drafts[path]:
            if draft.text.strip() and (recording := recording_of(listing, path, draft)):
                work[recording].covered.append((draft.start, draft.end))
                work[recording].drafted.append(draft)
        if format_of(path) in _ORDER and (recording := listing.find(path.stem, path.parent)):
            work[recording].file = work[recording].file or path  # a file without a segment
    recorded: dict[Path, list[tuple[float, float]]] = defaultdict(list)
    for earlier in read_drafts(listing.root):
        if earlier.start < earlier.end and (recording := listing.find(earlier.recording)):
            recorded[recording].append((earlier.start, earlier.end))
    for recording, times in recorded.items():
        # A draft that a person removed was noise: it is not drafted again.
        own, present = work[recording], union(work[recording].covered)
        own.removed = sum(2 * _length(outside(*each, present)) > each[1] - each[0] for each in times)
        own.covered += times
    for each in work.values():
        filled = Times(("", draft.start, draft.end) for draft in each.drafted)
        each.empty = [
            segment
            for segment in each.empty
            if not any(
                _fills(each.drafted[index], segment)
                for *_, index in filled.overlapping("", segment.start, segment.end)
            )
        ]
        if each.file is not None and format_of(each.file) not in _ORDER:
            each.file = None  # subtitles and exports get a file of their own
    return list(work.values()), annotated.notes


def _length(parts: list[tuple[float, float]]) -> float:
    return sum(end - start for start, end in parts)


def _rank(path: Path) -> tuple[int, Path]:
    name = format_of(path)
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), path


def _segments(annotated: Annotated, path: Path) -> Iterator[Segment]:
    """Yield the segments of tiers with transcripts."""
    for segment in annotated.files[path]:
        if annotated.has_transcript(path, segment):
            yield segment


def _fills(draft: Segment, empty: Segment) -> bool:
    """Return whether a draft is that of an empty segment."""
    common = min(draft.end, empty.end) - max(draft.start, empty.start)
    return draft.speaker in ("", empty.speaker) and 2 * common > empty.end - empty.start


def draft_recordings(
    root: Path, work: list[Work], transcriber: "Transcriber", model: str, new_format: DraftFormat = "eaf"
) -> Iterator[Drafted]:
    """
    Transcribe what is not transcribed yet, and write it into new tiers; a recording that fails stops no other.

    A copy of each file is kept before it is changed, as `NAME.before-draft-N`.

    Args:
        root (`Path`): The folder of the recordings, which gets the record of the drafts.
        work (`list[Work]`): The recordings.
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): The model.
        model (`str`): The name of the model, for the record.
        new_format (`str`, *optional*, defaults to `"eaf"`): The format of files for recordings without an ELAN file or
            a TextGrid.

    Raises:
        CorpusError: The record of earlier drafts is damaged.
    """
    number = 1 + max((draft.round for draft in read_drafts(root)), default=0)
    for each in work:
        try:
            yield _draft(root, each, transcriber, model, number, new_format)
        except EscoitaError as error:
            yield Drafted(each.recording, each.file, error=error)


def _draft(
    root: Path, work: Work, transcriber: "Transcriber", model: str, number: int, new_format: DraftFormat
) -> Drafted:
    if work.file is not None and work.empty and format_of(work.file) == "elan":
        elan_tiers.refuse_constrained(work.file, {segment.tier for segment in work.empty})
    samples = read_audible(work.recording).samples
    length = seconds(samples)
    limit = transcriber.family.max_audio_seconds
    empty = [Stretch(each.start, min(each.end, length), each.speaker) for each in work.empty if each.start < length]
    for each in empty:
        if each.end - each.start > limit:
            raise NewTierError(
                f"an empty segment of {each.end - each.start:.1f} s is longer than the {limit:g} s of the model",
                path=work.file,
                hint="split it",
            )
    taken = [*work.covered, *((each.start, each.end) for each in empty)]
    stretches = [each for each in empty if each.end - each.start >= SHORTEST / 3]
    stretches += open_stretches(samples, taken, min(limit, LONGEST))
    if not stretches:
        return Drafted(work.recording)
    found = transcriber.transcribe([cut_segment(samples, each.start, each.end) for each in stretches])
    tiers: dict[str, list[NewSegment]] = defaultdict(list)
    for stretch, transcript in zip(stretches, found, strict=True):
        if text := clean(transcript.text):
            tiers[stretch.speaker].append(NewSegment(stretch.start, stretch.end, text))
    new = [
        NewTier(f"draft-{number}" + (f"@{speaker}" if speaker else ""), sorted(segments), speaker)
        for speaker, segments in sorted(tiers.items())
    ]
    if not new:
        return Drafted(work.recording)
    return _write(root, work, new, model, number, new_format, length)


def _write(
    root: Path, work: Work, tiers: list[NewTier], model: str, number: int, new_format: DraftFormat, length: float
) -> Drafted:
    if work.file is not None:
        path, before = work.file, work.file.read_bytes()
        with_tiers = elan_tiers.with_tiers if format_of(path) == "elan" else textgrid_tiers.with_tiers
        content: bytes | str = with_tiers(path, tiers)
        write_atomically(_unused(path.with_name(f"{path.name}.before-draft-{number}")), before)
    else:
        path, content = _new_file(work.recording, tiers, model, number, new_format, length)
    name, recording = (Path(os.path.relpath(each, root)).as_posix() for each in (path, work.recording))
    has_tiers = new_format in ("eaf", "textgrid") or work.file is not None
    # The record comes first: without it, nobody could tell a draft from a correction.
    add_drafts(
        root,
        [
            Draft(
                round=number,
                model=model,
                file=name,
                recording=recording,
                tier=tier.name if has_tiers else "",
                start=round(segment.start, 3),
                end=round(segment.end, 3),
                text=segment.text,
            )
            for tier in tiers
            for segment in tier.segments
        ],
    )
    write_atomically(path, content)
    count = sum(len(tier.segments) for tier in tiers)
    total = sum(end - start for tier in tiers for start, end, _ in tier.segments)
    return Drafted(work.recording, path, tuple(tier.name for tier in tiers if has_tiers), count, total)


def _new_file(
    recording: Path, tiers: list[NewTier], model: str, number: int, new_format: DraftFormat, length: float
) -> tuple[Path, bytes | str]:
    """Return the path and the content of a file for a recording that has none."""
    segments = sorted(segment for tier in tiers for segment in tier.segments)
    if new_format in ("srt", "vtt"):
        path = recording.with_name(f"{recording.stem}.draft-{number}.{new_format}")
        return _unused(path), _subtitles(segments, new_format)
    if new_format == "label-studio":
        path = recording.with_name(f"{recording.stem}.draft-{number}.json")
        return _unused(path), _predictions(recording.name, segments, model)
    ending = {"eaf": ".eaf", "textgrid": ".TextGrid"}[new_format]
    path = _unused(recording.with_suffix(ending))
    media = quote(recording.name)
    if new_format == "eaf":
        template = _EAF.format(
            media=quoteattr(media), relative=quoteattr(f"./{media}"), kind=quoteattr(_media_type(recording))
        )
    else:
        template = _TEXTGRID.format(end=f"{length:.6f}".rstrip("0").rstrip("."))
    write_atomically(path, template)
    with_tiers = elan_tiers.with_tiers if new_format == "eaf" else textgrid_tiers.with_tiers
    return path, with_tiers(path, tiers)


def _media_type(recording: Path) -> str:
    wav = recording.suffix.lower() == ".wav"
    return "audio/x-wav" if wav else mimetypes.guess_type(recording.name)[0] or "audio/*"


def _unused(path: Path) -> Path:
    """
    Return a path at which no file exists.

    Raises:
        NewTierError: A file exists there.
    """
    if os.path.lexists(path):
        raise NewTierError("exists, and would be overwritten", path=path, hint="rename it")
    return path


def _subtitles(segments: list[NewSegment], new_format: str) -> str:
    point = "," if new_format == "srt" else "."
    cues = []
    for number, (start, end, text) in enumerate(segments, start=1):
        if new_format == "vtt":
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        numbered = f"{number}\n" if new_format == "srt" else ""
        cues.append(f"{numbered}{time_code(start, point)} --> {time_code(end, point)}\n{text}\n")
    return "\n".join([*(["WEBVTT\n"] if new_format == "vtt" else []), *cues])


def _predictions(name: str, segments: list[NewSegment], model: str) -> str:
    """Return a task with a prediction, for the import of Label Studio."""
    result: list[dict[str, Any]] = []
    for number, (start, end, text) in enumerate(segments, start=1):
        times = {"start": round(start, 3), "end": round(end, 3)}
        common = {"id": f"draft-{number}", "to_name": "audio"}
        labels = {"from_name": "labels", "type": "labels", "value": {**times, "labels": ["Speech"]}}
        texts = {"from_name": "transcription", "type": "textarea", "value": {**times, "text": [text]}}
        result += [{**common, **labels}, {**common, **texts}]
    task = {"data": {"audio": name}, "predictions": [{"model_version": model, "result": result}]}
    return json.dumps([task], ensure_ascii=False, indent=1) + "\n"
