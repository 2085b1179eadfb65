"""Predictions of several systems on real sentences with errors put in, from which a record and a report are made."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from escoita.data.rows import Utterance, Utterances
from escoita.evaluation.predictions import Provenance, predictions_path, predictions_table, write_predictions
from escoita.records.evaluation import System
from escoita.records.transcript import Transcript


CORPUS = Path(__file__).parent.parent.parent / "quickstart/corpus/uz"
WOMEN = ("linda", "f2", "f3", "f4", "f5")


def quickstart_clips(count: int, corpus: str = "quickstart-uz") -> Utterances:
    """The first test clips of the quick start."""
    lines = (CORPUS / "test.jsonl").read_text("utf-8").splitlines()[:count]
    return Utterances.of(
        Utterance(
            id=row["id"],
            audio=str(CORPUS / row["audio_filepath"]),
            text=row["text"],
            corpus=corpus,
            language="uz",
            source="test.jsonl",
            row=number,
            speaker=row["speaker"],
            gender="female" if row["speaker"] in WOMEN else "male",
            audio_seconds=row["duration"],
        )
        for number, row in enumerate(map(json.loads, lines), start=1)
    )


def clips_of(texts: Iterable[str], corpus: str = "clips") -> Utterances:
    """Clips of two seconds, whose recordings are not there."""
    return Utterances.of(
        Utterance(f"{corpus}-{row}", "none.ogg", text, corpus, "uz", "test.jsonl", row, audio_seconds=2.0)
        for row, text in enumerate(texts, start=1)
    )


def misheard(texts: Sequence[str], rate: float, seed: int = 0) -> list[str]:
    """The texts with about `rate` of their words exchanged for others, left out, or doubled by others."""
    draw = np.random.default_rng(seed)
    words = " ".join(texts).split()
    heard = []
    for text in texts:
        said: list[str] = []
        for word in text.split():
            other = words[draw.integers(len(words))]
            said += [[other], [], [word, other]][draw.integers(3)] if draw.random() < rate else [word]
        heard.append(" ".join(said))
    return heard


def write_heard(folder: Path, clips: Utterances, heard: Mapping[str, Sequence[str]], rejected: int = 0) -> None:
    """Writes what each system heard in the clips of one corpus."""
    corpus, lengths = clips[0].corpus, clips.column("audio_seconds")
    for name, texts in heard.items():
        transcripts = [
            Transcript(text, length, length / 20, len(text) // 2) for text, length in zip(texts, lengths, strict=True)
        ]
        made = Provenance(corpus=corpus, rejected=rejected, system=system(name))
        write_predictions(predictions_table(clips, transcripts, made), predictions_path(folder, corpus, name))


def system(name: str) -> System:
    """An adapter, its base, or a baseline."""
    ours, adapted = name in ("adapter", "base"), name == "adapter"
    return System(
        name=name,
        base="google/gemma-4-E4B-it" if ours else f"user/{name}",
        base_sha256=("b" if ours else "c") * 64,
        adapter="user/gemma-4-uzbek" if adapted else None,
        adapter_sha256="a" * 64 if adapted else None,
        max_new_tokens=64,
        batch_seconds=60.0,
        processes=1,
        device="cpu",
        dtype="float32",
        peak_memory_bytes=1_500_000_000,
    )
