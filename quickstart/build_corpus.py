"""
Generate the two small corpora of the quick start: `corpus/uz` and `corpus/gl`.

    apt-get install libespeak-ng1 && pip install -e .
    python quickstart/build_corpus.py

Each split has its own voices and sentences, so that the test split contains only unseen ones. The bases were not
trained on any voice of the validation and test splits (`bank.py`).
"""

import json
import random
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import typer
from phrases import galician, uzbek
from speech import SAMPLING_RATE, synthesize


@dataclass(frozen=True)
class Part:
    """Store the number of clips of a part of a split, their voices, and their rates (words per minute)."""

    split: str
    clips: int
    sentences: int | None
    voices: list[str]
    rates: list[int]


TRAIN_VOICES = (
    "m1 m2 m3 m4 m5 m7 f1 f2 f4 adam Alex Andrea Annie belinda benjamin boris david edward iven paul pedro quincy "
    "robert victor"
).split()
VALIDATION_VOICES = "Michael antonio aunty Henrique gustave Storm Tweaky Nguyen".split()
TEST_VOICES = "m6 m8 f3 linda Mike".split()
TRAIN_RATES, OTHER_RATES = [125, 145, 155, 175, 185, 205], [135, 165, 195]

# language: (voice of espeak-ng, grammar, training clips). espeak-ng has no Galician voice.
LANGUAGES: dict[str, tuple[str, Callable[[random.Random], str], int]] = {
    "uz": ("uz", uzbek, 800),
    "gl": ("pt", galician, 560),
}


def draw_sentences(grammar: Callable[[random.Random], str], draw: random.Random, count: int, taken: set[str]) -> list:
    """Return `count` different sentences that are not in `taken`, and add them to it."""
    found: dict[str, None] = {}
    while len(found) < count:
        sentence = grammar(draw)
        if sentence not in taken:
            found[sentence] = None
    taken |= set(found)
    return list(found)


def write_clip(text: str, voice: str, rate: int, draw: random.Random, path: Path) -> float:
    """Synthesize a sentence with random pitch, gain and noise as Ogg Opus; return its duration in seconds."""
    audio = synthesize(text, voice, rate, draw.randint(30, 70), draw.randint(35, 65)) * draw.uniform(0.5, 1.0)
    noise = np.random.default_rng(draw.getrandbits(32)).standard_normal(len(audio)).astype(np.float32)
    audio = np.clip(audio + draw.choice([0, 0.001, 0.002]) * noise, -1, 1)
    # 0.97 on libsndfile's scale is about 18 kbit/s
    soundfile.write(path, audio, SAMPLING_RATE, format="OGG", subtype="OPUS", compression_level=0.97)
    return len(audio) / SAMPLING_RATE


def build_language(language: str, folder: Path, seed: int) -> None:
    """Write the clips and the three manifests of one language."""
    espeak_voice, grammar, train_clips = LANGUAGES[language]
    draw = random.Random(seed)
    taken: set[str] = set()
    rows: dict[str, list[dict]] = defaultdict(list)
    # One generator draws all parts in this order. If a part is appended, or a list of voices is replaced by one of the
    # same length, the texts, voices and rates of the other parts do not change.
    parts = [
        Part("test", 160, 100, TEST_VOICES, OTHER_RATES),
        Part("validation", 48, 40, VALIDATION_VOICES[:4], OTHER_RATES),
        Part("train", train_clips, None, TRAIN_VOICES, TRAIN_RATES),
        Part("validation", 32, 32, VALIDATION_VOICES[4:], OTHER_RATES),
    ]
    for part in parts:
        name = part.split
        (folder / name).mkdir(parents=True, exist_ok=True)
        if part.sentences:
            sentences = draw_sentences(grammar, draw, part.sentences, taken)
            texts = [sentences[index % len(sentences)] for index in range(part.clips)]
        else:
            texts = []
            while len(texts) < part.clips:
                texts.extend(text for text in [grammar(draw)] if text not in taken)
            taken |= set(texts)
        for index, text in enumerate(texts, len(rows[name])):
            voice, rate, clip = draw.choice(part.voices), draw.choice(part.rates), f"{name}/{index:04d}.ogg"
            duration = write_clip(text, f"{espeak_voice}+{voice}", rate, draw, folder / clip)
            row = {"id": f"{language}-{name}-{index:04d}", "audio_filepath": clip, "duration": round(duration, 3)}
            rows[name].append(row | {"text": text, "lang": language, "speaker": voice})
    for name, split_rows in rows.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in split_rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def build(out: Path = Path(__file__).parent / "corpus", seed: int = 3407) -> None:
    """Replace both corpora."""
    for language in LANGUAGES:
        shutil.rmtree(out / language, ignore_errors=True)
        build_language(language, out / language, seed)
        size = sum(path.stat().st_size for path in (out / language).rglob("*") if path.is_file())
        print(f"{language}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(build)
