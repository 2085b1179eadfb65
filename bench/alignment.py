"""
Measure the alignment of long recordings with their transcripts, on speech with known boundaries.

    escoita train recipes/quickstart-ctc.yaml
    python bench/alignment.py --model runs/quickstart-ctc

The recordings are clips of the quick start's Uzbek corpus, which espeak-ng spoke, joined with pauses. `--calibration`
takes the voices of validation, with which the limits in `escoita/preparation/alignment.py` were chosen.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer


sys.path.insert(0, str(Path(__file__).parent.parent))  # this folder is not installed

from escoita.audio.loading import SAMPLING_RATE, read_audio, seconds
from escoita.cli.main import script
from escoita.data.readers import read_corpus
from escoita.inference.aligner import AlignedWord, Aligner
from escoita.inference.model_source import find_model
from escoita.metrics.wer import word_edits
from escoita.preparation.alignment import MIN_SCORE, Clip, cut_clips
from escoita.recipe.schema import Corpus


CORPUS = Path(__file__).parent.parent / "quickstart/corpus/uz"
# A sample is speech if it is louder; the noise of the clips is not.
SPEECH_LEVEL = 0.01
# The share of sentences that are replaced, left out or added.
SHARE = 0.2
CASES = ("right", "wrong", "missing", "added", "other")


class Phrase(NamedTuple):
    """Store the text, the start and end in seconds, and the voice of a clip within a recording."""

    text: str
    start: float
    end: float
    voice: str


class Line(NamedTuple):
    """Store a sentence of a transcript, its speaker, and whether the sentence is spoken there."""

    text: str
    speaker: str
    spoken: bool


class BenchAligner(Aligner):
    """Align several transcripts of one recording, which the model encodes once."""

    last: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]] | None = None

    def log_probabilities(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-probabilities of letters and the times of the frames, as [`Aligner`] does."""
        if self.last is None or self.last[0] is not samples:
            self.last = samples, super().log_probabilities(samples)
        return self.last[1]


def clips_by_voice(split: str) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Return the transcripts and samples of a split of the corpus by voice."""
    rows, _ = read_corpus(Corpus(name="uz", path=str(CORPUS / f"{split}.jsonl")), "uz")
    found: dict[str, list[tuple[str, np.ndarray]]] = {}
    for row in rows:
        found.setdefault(row.speaker, []).append((row.text, read_audio(row.audio)))
    return found


def record(
    clips: dict[str, list[tuple[str, np.ndarray]]], voices: Sequence[str], phrases: int, seed: int
) -> tuple[np.ndarray, list[list[Phrase]]]:
    """
    Return a recording and its sentences, each of one to three phrases of a voice.

    Args:
        clips (`dict[str, list[tuple[str, np.ndarray]]]`): The transcripts and samples by voice.
        voices (`Sequence[str]`): The voices, which change after a sentence in 40 % of the cases.
        phrases (`int`): The least number of phrases.
        seed (`int`): The seed of all draws.
    """
    draw = random.Random(seed)  # noqa: S311  (needs no secrecy)
    pieces, now, voice = [np.zeros(SAMPLING_RATE // 2, np.float32)], 0.5, draw.choice(voices)
    sentences: list[list[Phrase]] = []
    while sum(len(sentence) for sentence in sentences) < phrases:
        sentence = []
        for last in [False] * draw.choice([0, 0, 1, 1, 2]) + [True]:
            text, samples = draw.choice(clips[voice])
            loud = np.flatnonzero(np.abs(samples) > SPEECH_LEVEL) / SAMPLING_RATE
            mark = "." if last else ","
            sentence.append(Phrase(text + mark, now + float(loud[0]), now + float(loud[-1]), voice))
            pause = draw.uniform(0.1, 1.2) if last else draw.uniform(0.05, 0.25)
            pieces += [samples, np.zeros(round(pause * SAMPLING_RATE), np.float32)]
            now += len(pieces[-2]) / SAMPLING_RATE + len(pieces[-1]) / SAMPLING_RATE
        sentences.append(sentence)
        if draw.random() < 0.4:
            voice = draw.choice(voices)
    samples = np.concatenate(pieces)
    noise = np.random.default_rng(seed).standard_normal(len(samples)).astype(np.float32)
    return samples + 0.001 * noise, sentences


def transcript(sentences: list[list[Phrase]], case: str, texts: Sequence[str], seed: int) -> list[Line]:
    """Return the transcript of a recording: right, or with wrong, missing or added sentences, or another one."""
    draw = random.Random(seed)  # noqa: S311
    lines = []
    for sentence in sentences:
        voice = sentence[0].voice
        right = Line(" ".join(phrase.text for phrase in sentence), voice, True)
        wrong = Line(", ".join(draw.choice(texts) for _ in sentence) + ".", voice, False)
        chosen = case == "other" or (case != "right" and draw.random() < SHARE)
        if case == "other" or (case == "wrong" and chosen):
            lines.append(wrong._replace(spoken=wrong.text == right.text))
        elif case == "missing" and chosen:
            continue
        else:
            lines += [right, wrong] if case == "added" and chosen else [right]
    return lines


def boundary_errors(words: Sequence[AlignedWord], sentences: list[list[Phrase]]) -> Iterator[float]:
    """Yield the errors in seconds of the starts and ends of phrases, in order."""
    place = 0
    for phrase in (phrase for sentence in sentences for phrase in sentence):
        count = len(phrase.text.split())
        yield abs(words[place].start - phrase.start)
        yield abs(words[place + count - 1].end - phrase.end)
        place += count


def spoken_in(clip: Clip, sentences: list[list[Phrase]]) -> list[Phrase]:
    """Return the phrases whose middle lies within a clip."""
    phrases = (phrase for sentence in sentences for phrase in sentence)
    return [phrase for phrase in phrases if clip.start < (phrase.start + phrase.end) / 2 < clip.end]


def outcome(cut: list[tuple[Clip, str]], lines: list[Line], sentences: list[list[Phrase]]) -> dict[str, int]:
    """Count used and other sentences, word errors of used clips, and clips with a wrong or a second speaker."""
    used = [not reason for clip, reason in cut for _ in clip.text.split()]
    counts = dict.fromkeys(("right", "right used", "wrong", "wrong used", "edits", "words", "clips", "mixed"), 0)
    for line in lines:
        own, used = used[: len(line.text.split())], used[len(line.text.split()) :]
        kind = "right" if line.spoken else "wrong"
        counts[kind] += 1
        counts[f"{kind} used"] += all(own) if line.spoken else any(own)
    for clip in (clip for clip, reason in cut if not reason):
        phrases = spoken_in(clip, sentences)
        edits = word_edits([" ".join(phrase.text for phrase in phrases)], [clip.text])
        counts["edits"] += int(edits.total.sum())
        counts["words"] += int(edits.reference.sum())
        counts["clips"] += 1
        counts["mixed"] += {phrase.voice for phrase in phrases} - {clip.speaker} != set()
    return counts


def measure(aligner: Aligner, split: str, repeats: int, min_score: float) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    clips = clips_by_voice(split)
    texts = sorted({text for own in clips.values() for text, _ in own})
    single = [(seed, [voice]) for seed, voice in enumerate(list(clips) * repeats)]
    double = [(100 + seed, list(pair)) for seed, pair in enumerate(zip(clips, [*clips][1:], strict=False))]
    errors: dict[int, list[float]] = {1: [], 2: []}
    totals: dict[tuple[str, int], dict[str, int]] = {}
    length = 0.0
    for seed, voices in single + double:
        samples, sentences = record(clips, voices, 60, seed)
        length += seconds(samples)
        for case in CASES if len(voices) == 1 else CASES[:1]:
            lines = transcript(sentences, case, texts, seed + 1000)
            words, _ = aligner.align(samples, " ".join(line.text for line in lines))
            speakers = [line.speaker for line in lines for _ in line.text.split()]
            found = outcome(cut_clips(words, samples, min_score, speakers), lines, sentences)
            total = totals.setdefault((case, len(voices)), dict.fromkeys(found, 0))
            totals[case, len(voices)] = {key: total[key] + value for key, value in found.items()}
            if case == "right":
                errors[len(voices)] += boundary_errors(words, sentences)
    yield f"{len(single)} recordings of one voice, {len(double)} of two, {length / 60:.0f} minutes"
    for number, own in errors.items():
        median, most = np.quantile(own, [0.5, 0.95])
        yield f"speakers: {number}; errors of boundaries: median {median:.3f} s, 95th percentile {most:.3f} s"
    for (case, number), total in totals.items():
        yield f"{case}, speakers: {number}: " + ", ".join(f"{key} {value:,}" for key, value in total.items())


def main(
    model: Annotated[str, typer.Option(help="CTC model, such as the trained run of the quick start.")],
    calibration: Annotated[bool, typer.Option("--calibration", help="Use the voices of validation.")] = False,
    min_score: Annotated[float, typer.Option(help="Lowest score of a clip that is used.")] = MIN_SCORE,
) -> None:
    """Measure errors of boundaries, and which sentences are used."""
    aligner = BenchAligner(find_model(model, language="uz").load(), model)
    for line in measure(aligner, "validation" if calibration else "test", 1 if calibration else 2, min_score):
        typer.echo(line)


if __name__ == "__main__":
    script(main)
