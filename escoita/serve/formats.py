"""Write a transcript in the formats of OpenAI's API."""

from typing import Any

from escoita.records.transcript import Transcript


def json_body(transcript: Transcript, model: str) -> dict[str, Any]:
    """
    Return the body of the format `json`.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): The result.
        model (`str`): The name of the model.
    """
    return {"text": transcript.text, "model": model, "usage": _usage(transcript)}


def verbose_json(transcript: Transcript, language: str = "") -> dict[str, Any]:
    """
    Return a transcript in the shape of OpenAI's `verbose_json`, with its segments and their times in seconds.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): The result.
        language (`str`, *optional*): Its ISO 639 code.
    """
    return {
        "task": "transcribe",
        "language": language,
        "duration": transcript.audio_seconds,
        "text": transcript.text,
        "segments": [
            {"id": number, "start": round(each.start, 3), "end": round(each.end, 3), "text": each.text}
            for number, each in enumerate(transcript.segments)
        ],
    }


def srt(transcript: Transcript) -> str:
    """Return a transcript as SubRip subtitles, one cue for each segment."""
    cues = [
        f"{number}\n{_time(each.start, ',')} --> {_time(each.end, ',')}\n{each.text}\n"
        for number, each in enumerate(_spoken(transcript), start=1)
    ]
    return "\n".join(cues)


def vtt(transcript: Transcript) -> str:
    """Return a transcript as WebVTT subtitles, one cue for each segment."""
    cues = [
        f"{_time(each.start, '.')} --> {_time(each.end, '.')}\n{_escaped(each.text)}\n" for each in _spoken(transcript)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(transcript.audio_seconds, 3)}


def _spoken(transcript: Transcript) -> list[Any]:
    return [each for each in transcript.segments if each.text]


def _time(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
