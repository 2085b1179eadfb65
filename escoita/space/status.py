"""Show the waveform, the segments and the status of a transcription."""

import html
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from escoita.audio.loading import seconds
from escoita.audio.silence import FAINT_LEVEL
from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.records.training import AdapterRecord
from escoita.records.transcript import Note, Segment, Transcript
from escoita.space.texts import translate
from escoita.utils.formatting import visible
from escoita.utils.languages import direction, language_name


# Size in units of the drawing, which is as wide as the page.
WIDTH, HEIGHT = 600, 80
# The number of segments that are drawn (if there are more, neighbors are drawn as one), and characters of a tooltip.
MAX_SEGMENTS, MAX_CHARACTERS = 300, 120
# Colors of the wave, of the band behind every second segment, of the edges between segments, and of the page.
LIGHT = {"wave": "#3f6f6b", "band": "#e3efee", "edge": "#6b7c7b", "ground": "#ffffff"}
DARK = {"wave": "#8fd0c9", "band": "#22403d", "edge": "#8a9c9a", "ground": "#0a0f1e"}


def waveform(samples: np.ndarray, segments: Sequence[Segment], language: str = "en") -> str:
    """
    Draw a recording of any length in a few kilobytes.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz.
        segments (`Sequence[Segment]`): The transcribed segments, in order.
        language (`str`, *optional*, defaults to `"en"`): The language of the page.

    Returns:
        `str`: Escaped HTML; the page needs [`CSS`].
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
    Return the peak level of each column of a drawing.

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`.
        columns (`int`): The number of columns.

    Returns:
        `np.ndarray`: The levels, of shape `(columns,)`, or `(samples,)` if there are fewer samples. The highest level
        is 1, unless the recording is silent.
    """
    if not len(samples):
        return np.zeros(1, np.float32)
    # No copy of the samples is made: half an hour takes 115 MB.
    starts = np.linspace(0, len(samples), min(columns, len(samples)), endpoint=False).astype(np.int64)
    loudest = np.maximum(np.maximum.reduceat(samples, starts), -np.minimum.reduceat(samples, starts))
    return np.asarray(loudest / max(float(loudest.max()), FAINT_LEVEL))


def clock(moment: float) -> str:
    """Return a time in seconds, rounded, as `0:07` or `1:02:03`."""
    minutes, seconds_left = divmod(round(moment), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds_left:02}" if hours else f"{minutes}:{seconds_left:02}"


def _described(length: float, count: int, language: str) -> str:
    if count < 2:
        return translate("segments.waveform_whole", language, length=clock(length))
    return translate("segments.waveform", language, length=clock(length), count=count)


def _grouped(segments: Sequence[Segment]) -> list[Sequence[Segment]]:
    size = -(-len(segments) // MAX_SEGMENTS) or 1
    return [segments[start : start + size] for start in range(0, len(segments), size)]


def _draw(drawing: ElementTree.Element, number: int, group: Sequence[Segment], length: float, language: str) -> None:
    start, end = group[0].start, group[-1].end
    left, right = (min(max(moment / length, 0.0), 1.0) * WIDTH if length else 0.0 for moment in (start, end))
    extent = {"class": "odd" if number % 2 else "even", "x": f"{left:.1f}", "width": f"{max(right - left, 0):.1f}"}
    band = ElementTree.SubElement(drawing, "rect", {**extent, "y": "0", "height": str(HEIGHT)})
    text = " ".join(segment.text for segment in group if segment.text) or translate("segments.no_words", language)
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS - 1]}…"
    ElementTree.SubElement(band, "title").text = f"{clock(start)}–{clock(end)} {visible(text)}"
    if number:
        ElementTree.SubElement(drawing, "path", {"class": "edge", "d": f"M{left:.1f} 0V{HEIGHT}"})


def _outline(heights: np.ndarray) -> str:
    """Return the path of one line for each column, with a minimum length that is visible."""
    step, middle = WIDTH / len(heights), HEIGHT / 2
    half_lengths = np.maximum(heights * (middle - 1), 0.5)
    return "".join(
        f"M{(column + 0.5) * step:.1f} {middle - half:.1f}V{middle + half:.1f}"
        for column, half in enumerate(half_lengths)
    )


def _colors(scope: str, scheme: dict[str, str]) -> str:
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
{_colors("", LIGHT)}{_colors(".dark ", DARK)}"""


# Tokens within a prompt that are not words, such as Phi-4's `<|audio_1|>`.
SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>")
# The text of each note of a transcript.
NOTES: dict[Note, str] = {"cut_off": "status.cut_off", "one_channel": "status.one_channel"}


def progress_line(partial: Partial, settings: Space, language: str) -> str:
    """
    Return the HTML of the progress of a transcription, or of its result.

    Args:
        partial ([`~escoita.inference.streaming.Partial`]): The partial result.
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.
        language (`str`): The language of the page.
    """
    if partial.transcript is not None:
        return done_line(partial.transcript, partial.first_text_seconds, language)
    if partial.before is not None:
        return _text(queue_line(partial.before, settings, language))
    line = _text(translate("status.transcribing", language))
    if partial.segments:
        done, length = clock(partial.done_seconds), clock(partial.audio_seconds)
        label = _text(translate("status.progress", language, done=done, length=length))
        line += (
            f' {label} <progress max="{partial.audio_seconds:.1f}" value="{partial.done_seconds:.1f}"'
            f' aria-label="{label}"></progress>'
        )
    return line


def queue_line(before: int, settings: Space, language: str) -> str:
    """
    Return the position of a request in the queue, in words.

    Args:
        before (`int`): The number of requests before it.
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.
        language (`str`): The language of the page.
    """
    if before == 0:
        return translate("status.next", language)
    return translate("status.queued", language, place=before + 1, size=settings.max_queue)


def done_line(transcript: Transcript, first_text_seconds: float | None, language: str) -> str:
    """
    Return the HTML of the result of a transcription.

    Args:
        transcript ([`~escoita.records.transcript.Transcript`]): The transcript.
        first_text_seconds (`float`, *optional*): The time from the request to the first text, in seconds.
        language (`str`): The language of the page.
    """
    audio, compute = transcript.audio_seconds, transcript.compute_seconds
    pieces = [translate("status.done", language, audio=f"{audio:.1f}", compute=f"{compute:.1f}")]
    if first_text_seconds is not None:
        pieces.append(translate("status.first_text", language, seconds=f"{first_text_seconds:.2f}"))
    if compute > 0:
        pieces.append(translate("status.speed", language, factor=f"{audio / compute:.1f}"))
    if not transcript.text:
        pieces.append(translate("status.no_words", language))
    lines = [" · ".join(pieces)]
    if transcript.truncated:
        lines.append(translate("status.truncated", language))
    lines += [translate(NOTES[note], language) for note in transcript.notes]
    return "<br>".join(map(_text, lines))


def segment_list(
    segments: Sequence[Segment], audio_seconds: float, language: str, spoken_language: str | None = None
) -> str:
    """
    Return the HTML of the segments with their times; empty if the whole recording is one segment.

    Args:
        segments (`Sequence[Segment]`): The finished segments, in order.
        audio_seconds (`float`): The length of the recording, in seconds.
        language (`str`): The language of the page.
        spoken_language (`str`, *optional*): The tag of the spoken language.
    """
    if not segments or (len(segments) == 1 and segments[0].end >= audio_seconds):
        return ""
    spoken = f'lang="{_text(spoken_language or "")}" dir="{direction(spoken_language)}"'
    rows = (
        f"<li {spoken}><span>{clock(each.start)}–{clock(each.end)}</span> "
        + (f"<bdi>{_text(visible(each.text))}</bdi></li>" if each.text else f"{no_words(language)}</li>")
        for each in segments
    )
    return f'<h2>{_text(translate("segments.label", language))}</h2><ol class="segments">{"".join(rows)}</ol>'


def no_words(language: str) -> str:
    """Return the HTML of the note of a segment without words."""
    return f'<bdi lang="{language}">{_text(translate("segments.no_words", language))}</bdi>'


def generation_settings_line(record: AdapterRecord | None, language: str) -> str:
    """
    Return the HTML of the generation settings of an adapter: language, and prompt without special tokens.

    Args:
        record ([`~escoita.records.training.AdapterRecord`], *optional*): The record of the adapter.
        language (`str`): The language of the page.
    """
    if record is None:
        return ""
    prompt = SPECIAL_TOKEN.sub("", " ".join(filter(None, (record.prompt.system, record.prompt.user)))).strip()
    values = {"language.label": language_name(record.language, language), "prompt.label": visible(prompt)}
    return "<br>".join(
        f"{_text(translate(key, language))}: <b>{_text(value)}</b>" for key, value in values.items() if value
    )


def _text(text: str) -> str:
    return html.escape(text)
