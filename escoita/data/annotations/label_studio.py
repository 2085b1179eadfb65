"""Read exports of Label Studio, JSON and JSON-MIN: regions of recordings with transcripts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from escoita.data.annotations.base import AnnotationError, Segment, recording_name
from escoita.data.encodings import TEXT_BYTES
from escoita.errors import CorpusError
from escoita.utils.limits import parse_json, read_bounded


# Names under which tasks hold the recording.
AUDIO = ("audio", "audio_url", "url", "wav", "file")


def begins(start: bytes) -> bool:
    """Return whether a JSON file begins like an export of Label Studio."""
    keys = (b'"annotations"', b'"completions"', b'"annotation_id"', b'"file_upload"')
    return start.lstrip().startswith((b"[", b"\xef\xbb\xbf[")) and any(key in start for key in keys)


def read(path: Path, language: str | None = None) -> list[Segment]:
    """
    Read the regions of all tasks; of a task with several annotations, the first that was not canceled.

    A region is one segment: its text is that of the text area, its speaker the first label. A text area without a
    region is the transcript of the complete recording, which has no times: such a task is skipped.

    Args:
        path (`Path`): The file.
        language (`str`, *optional*): The language of the text, which is not used: JSON is UTF-8.

    Raises:
        AnnotationError: The file is not such an export.
        CorpusError: The file cannot be read.
    """
    try:
        tasks = parse_json(read_bounded(path, TEXT_BYTES))
    except OSError as error:
        raise CorpusError(f"cannot be read ({error.strerror})", path=path) from error
    except ValueError as error:
        raise AnnotationError(f"not an export of Label Studio ({error})", path=path) from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise AnnotationError("not an export of Label Studio: a list of tasks", path=path)
    segments = []
    for number, task in enumerate(tasks, start=1):
        data = task.get("data")
        data = data if isinstance(data, dict) else task
        recording = next((name for key in AUDIO if isinstance(name := data.get(key), str)), "")
        for start, end, text, speaker in _exported(task) if "annotations" in task else _minimal(task):
            if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in (start, end)):
                raise AnnotationError("a region has no times", path=path, row=number)
            name = recording_name(recording)
            segments.append(Segment(name, float(start), float(end), text.strip(), speaker=speaker, row=number))
    return segments


def _exported(task: dict[str, Any]) -> Iterator[tuple[Any, Any, str, str]]:
    """Yield the regions of a task of the format JSON, whose items share the id of their region."""
    annotations = [each for each in _dicts(task.get("annotations")) if not each.get("was_cancelled")]
    regions: dict[Any, dict[str, Any]] = {}
    for item in _dicts(annotations[0].get("result")) if annotations else ():
        value = item.get("value")
        if isinstance(value, dict) and "start" in value and "end" in value:
            region = regions.setdefault(str(item.get("id")), {"times": (value["start"], value["end"])})
            region["text"] = region.get("text") or _text(value.get("text"))
            region["speaker"] = region.get("speaker") or next(iter(_strings(value.get("labels"))), "")
    for region in regions.values():
        yield *region["times"], region["text"], region["speaker"]


def _minimal(task: dict[str, Any]) -> Iterator[tuple[Any, Any, str, str]]:
    """Yield the regions of a task of the format JSON-MIN, which lists regions and texts in the same order."""
    lists = {key: value for key, value in task.items() if isinstance(value, list)}
    regions = next((_dicts(value) for value in lists.values() if any("start" in each for each in _dicts(value))), [])
    texts = next((_strings(value) for value in lists.values() if _strings(value)), [])
    if isinstance(task.get("transcription"), str):
        texts = [task["transcription"]]
    for index, region in enumerate(regions):
        text = _text(region.get("text")) or (texts[index] if len(texts) == len(regions) else "")
        yield region.get("start"), region.get("end"), text, next(iter(_strings(region.get("labels"))), "")


def _text(value: Any) -> str:
    return " ".join(_strings(value)) if isinstance(value, list) else value if isinstance(value, str) else ""


def _strings(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
