"""Show the waveform and the status of a transcription."""

import html
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from escoita.audio.loading import seconds
from escoita.audio.silence import SILENCE_LEVEL
from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.records.training import AdapterRecord
from escoita.records.transcript import Note, Segment, Transcript
from escoita.space.texts import say
from escoita.utils.formatting import visible


# In units of the drawing, which is as wide as the page.
WIDTH, HEIGHT = 600, 80
# Segments that are drawn; of more, neighbours are drawn as one. And characters of the words that a pointer brings up.
MOST_SEGMENTS, MOST_CHARACTERS = 300, 120
# Wave, band and line between segments, and the page, on which every second segment stands without a band.
LIGHT = {"wave": "#3f6f6b", "band": "#e3efee", "edge": "#6b7c7b", "ground": "#ffffff"}
DARK = {"wave": "#8fd0c9", "band": "#22403d", "edge": "#8a9c9a", "ground": "#0a0f1e"}


def waveform(samples: np.ndarray, segments: Sequence[Segment], language: str = "en") -> str:
    """
    Draws a recording of any length in the same few kilobytes.

    Args:
        samples (`np.ndarray`): Of shape `(samples,)`, float32, 16 kHz.
        segments (`Sequence[Segment]`): What was heard in each part, in order; none while nothing was heard yet.
        language (`str`, *optional*, defaults to `"en"`): Of the page.

    Returns:
        `str`: HTML, escaped; it wants [`CSS`] on the page.
    """
    length = seconds(samples)
    figure = ElementTree.Element("figure", {"class": "waveform"})
    drawing = ElementTree.SubElement(
        figure,
        "svg",
        {
            "viewBox": f"0 0 {WIDTH} {HEIGHT}",
            "preserveAspectRatio": "none",
            "role": "img",
            "aria-label": _described(length, len(segments), language),
        },
    )
    for number, group in enumerate(_grouped(segments)):
        _draw(drawing, number, group, length, language)
    ElementTree.SubElement(drawing, "path", {"class": "wave", "d": _outline(peaks(samples, WIDTH))})
    times = ElementTree.SubElement(figure, "figcaption", {"aria-hidden": "true"})
    for moment in (0.0, length):
        ElementTree.SubElement(times, "span").text = clock(moment)
    return ElementTree.tostring(figure, "unicode", method="html")


def peaks(samples: np.ndarray, columns: int) -> np.ndarray:
    """
    How loud each column of a drawing is.

    Args:
        samples (`np.ndarray`): Of shape `(samples,)`.
        columns (`int`): Most of them.

    Returns:
        `np.ndarray`: Of shape `(columns,)`, or `(samples,)` where there are fewer; the loudest moment is 1, unless the
        whole recording is silent.
    """
    if not len(samples):
        return np.zeros(1, np.float32)
    # Without a copy of the samples, of which half an hour takes 115 MB.
    starts = np.linspace(0, len(samples), min(columns, len(samples)), endpoint=False).astype(np.int64)
    loudest = np.maximum(np.maximum.reduceat(samples, starts), -np.minimum.reduceat(samples, starts))
    return np.asarray(loudest / max(float(loudest.max()), SILENCE_LEVEL))


def clock(moment: float) -> str:
    """A moment of a recording, in seconds, to the nearest: `0:07`, `1:02:03`."""
    minutes, whole = divmod(round(moment), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"


def _described(length: float, count: int, language: str) -> str:
    if count < 2:
        return say("segments.waveform_whole", language, length=clock(length))
    return say("segments.waveform", language, length=clock(length), count=count)


def _grouped(segments: Sequence[Segment]) -> list[Sequence[Segment]]:
    size = -(-len(segments) // MOST_SEGMENTS) or 1
    return [segments[start : start + size] for start in range(0, len(segments), size)]


def _draw(drawing: ElementTree.Element, number: int, group: Sequence[Segment], length: float, language: str) -> None:
    start, end = group[0].start, group[-1].end
    left, right = (min(max(moment / length, 0.0), 1.0) * WIDTH if length else 0.0 for moment in (start, end))
    part = {"class": "odd" if number % 2 else "even", "x": f"{left:.1f}", "width": f"{max(right - left, 0):.1f}"}
    band = ElementTree.SubElement(drawing, "rect", {**part, "y": "0", "height": str(HEIGHT)})
    words = " ".join(segment.text for segment in group if segment.text) or say("segments.no_words", language)
    if len(words) > MOST_CHARACTERS:
        words = f"{words[: MOST_CHARACTERS - 1]}…"
    ElementTree.SubElement(band, "title").text = f"{clock(start)}–{clock(end)} {visible(words)}"
    if number:
        ElementTree.SubElement(drawing, "path", {"class": "edge", "d": f"M{left:.1f} 0V{HEIGHT}"})


def _outline(heights: np.ndarray) -> str:
    """A line for each column, at least as thick as can be seen."""
    step, middle = WIDTH / len(heights), HEIGHT / 2
    tall = np.maximum(heights * (middle - 1), 0.5)
    return "".join(
        f"M{(column + 0.5) * step:.1f} {middle - half:.1f}V{middle + half:.1f}" for column, half in enumerate(tall)
    )


def _colours(scope: str, scheme: dict[str, str]) -> str:
    return (
        f"{scope}.waveform .wave {{ stroke: {scheme['wave']}; }}\n"
        f"{scope}.waveform .edge {{ stroke: {scheme['edge']}; }}\n"
        f"{scope}.waveform .even {{ fill: {scheme['band']}; }}\n"
    )


CSS = f"""
.waveform {{ margin: 0; }}
.waveform svg {{ display: block; width: 100%; height: 5rem; border-radius: .3rem; }}
.waveform path {{ fill: none; vector-effect: non-scaling-stroke; pointer-events: none; }}
.waveform .odd {{ fill: transparent; }}
.waveform figcaption {{ display: flex; justify-content: space-between; font-size: .8rem; }}
{_colours("", LIGHT)}{_colours(".dark ", DARK)}"""


# The text of each note of a transcript.
NOTES: dict[Note, str] = {"cut_off": "status.cut_off", "one_channel": "status.one_channel"}


def progress_line(known: Partial, settings: Space, language: str) -> str:
    """
    HTML of what is going on, and at the end of how it went.

    Args:
        known ([`~escoita.inference.streaming.Partial`]): What is known so far.
        settings ([`~escoita.recipe.schema.Space`]): Limits of the page.
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


def generation_settings_line(record: AdapterRecord | None, language: str) -> str:
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
