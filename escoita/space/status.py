"""What stands under a transcript: what is going on, how fast it went, and what was heard when."""

import html
from collections.abc import Sequence

from escoita.inference.streaming import Partial
from escoita.recipe.recipe import Space
from escoita.records.training import AdapterRecord
from escoita.records.transcript import Note, Segment, Transcript
from escoita.utils.visible import visible
from escoita.space.texts import say
from escoita.space.waveform import clock


# The text of each note of a transcript.
NOTES: dict[Note, str] = {"cut_off": "status.cut_off", "one_channel": "status.one_channel"}


def progress_line(known: Partial, settings: Space, language: str) -> str:
    """
    HTML of what is going on, and at the end of how it went.

    Args:
        known ([`~escoita.inference.streaming.Partial`]): What is known so far.
        settings ([`~escoita.recipe.recipe.Space`]): Limits of the page.
        language (`str`): Of the page.
    """
    if known.transcript is not None:
        return done_line(known.transcript, known.first_text_seconds, language)
    if known.before == 0:
        return _text(say("status.next", language))
    if known.before is not None:
        return _text(say("status.queued", language, place=known.before + 1, size=settings.max_queue))
    line = _text(say("status.listening", language))
    if known.segments:
        done, length = clock(known.done_seconds), clock(known.audio_seconds)
        words = _text(say("status.progress", language, done=done, length=length))
        line += (
            f' {words} <progress max="{known.audio_seconds:.1f}" value="{known.done_seconds:.1f}"'
            f' aria-label="{words}"></progress>'
        )
    return line


def done_line(transcript: Transcript, first_text_seconds: float | None, language: str) -> str:
    """
    HTML of how it went.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): What was heard.
        first_text_seconds (`float`, *optional*): From the request to the first text.
        language (`str`): Of the page.
    """
    audio, compute = transcript.audio_seconds, transcript.compute_seconds
    pieces = [say("status.done", language, audio=f"{audio:.1f}", compute=f"{compute:.1f}")]
    if first_text_seconds is not None:
        pieces.append(say("status.first_text", language, seconds=f"{first_text_seconds:.2f}"))
    if compute > 0:
        pieces.append(say("status.speed", language, factor=f"{audio / compute:.1f}"))
    if not transcript.text:
        pieces.append(say("status.no_words", language))
    lines = [" · ".join(pieces)]
    if transcript.truncated:
        lines.append(say("status.truncated", language))
    lines += [say(NOTES[note], language) for note in transcript.notes]
    return "<br>".join(map(_text, lines))


def segment_list(segments: Sequence[Segment], audio_seconds: float, language: str) -> str:
    """
    HTML of what was heard when; nothing where the whole recording is one segment.

    Args:
        segments (`Sequence[Segment]`): Those that are finished, in order.
        audio_seconds (`float`): Length of the recording.
        language (`str`): Of the page.
    """
    if not segments or (len(segments) == 1 and segments[0].end >= audio_seconds):
        return ""
    rows = (
        f"<li><span>{clock(each.start)}–{clock(each.end)}</span> "
        f"{_text(visible(each.text) or say('segments.no_words', language))}</li>"
        for each in segments
    )
    return f'<h2>{_text(say("segments.label", language))}</h2><ol class="segments">{"".join(rows)}</ol>'


def spoken_line(record: AdapterRecord | None, language: str) -> str:
    """
    HTML of what an adapter understands and what it is told; nothing where it says neither.

    Args:
        record ([`~escoita.records.training.AdapterRecord`], *optional*): What it says of itself.
        language (`str`): Of the page.
    """
    if record is None:
        return ""
    prompt = " ".join(filter(None, (record.prompt.system, record.prompt.user)))
    told = [(say("spoken.label", language), record.language), (say("prompt.label", language), visible(prompt))]
    return "<br>".join(f"{_text(name)}: <b>{_text(value)}</b>" for name, value in told if value)


def _text(words: str) -> str:
    return html.escape(words)
