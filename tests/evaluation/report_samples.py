"""Write predictions of several systems with artificial errors, for records and reports."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from escoita.data.rows import Utterance, Utterances
from escoita.evaluation.aggregate import score
from escoita.evaluation.predictions import Provenance, predictions_path, predictions_table, write_predictions
from escoita.records.evaluation import EvaluationRecord, System
from escoita.records.transcript import Transcript


CORPUS = Path(__file__).parent.parent.parent / "quickstart/corpus/uz"
WOMEN = ("linda", "f2", "f3", "f4", "f5")


def quickstart_clips(count: int, corpus: str = "quickstart-uz") -> Utterances:
    """Return the first test clips of the quick start."""
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
    """Return clips of two seconds without recordings."""
    return Utterances.of(
        Utterance(f"{corpus}-{row}", "none.ogg", text, corpus, "uz", "test.jsonl", row, audio_seconds=2.0)
        for row, text in enumerate(texts, start=1)
    )


def with_errors(texts: Sequence[str], rate: float, seed: int = 0) -> list[str]:
    """Return the texts with errors in about `rate` of their words: substitutions, deletions and insertions."""
    draw = np.random.default_rng(seed)
    words = " ".join(texts).split()
    hypotheses = []
    for text in texts:
        hypothesis: list[str] = []
        for word in text.split():
            other = words[draw.integers(len(words))]
            hypothesis += [[other], [], [word, other]][draw.integers(3)] if draw.random() < rate else [word]
        hypotheses.append(" ".join(hypothesis))
    return hypotheses


def write_hypotheses(
    folder: Path, clips: Utterances, hypotheses: Mapping[str, Sequence[str]], rejected: int = 0
) -> None:
    """Write the predictions of each system on one corpus."""
    corpus, lengths = clips[0].corpus, clips.column("audio_seconds")
    for name, texts in hypotheses.items():
        transcripts = [
            Transcript(text, length, length / 20, len(text) // 2) for text, length in zip(texts, lengths, strict=True)
        ]
        made = Provenance(corpus=corpus, rejected=rejected, system=system(name))
        write_predictions(predictions_table(clips, transcripts, made), predictions_path(folder, corpus, name))


# Thirty references, and hypotheses with an error in each word, or in one word of every second clip.
REFERENCES = ["bir ikki uch"] * 30
WRONG, HALF = ["besh olti yetti"] * 30, ["bir ikki uch", "bir besh uch"] * 15


def evaluated(folder: Path, **corpora: Mapping[str, Sequence[str]]) -> EvaluationRecord:
    """Return the evaluation of corpora of these references, from the hypotheses of each system."""
    for name, texts in corpora.items():
        write_hypotheses(folder, clips_of(REFERENCES, name), texts)
    return score(folder, resamples=200)


def system(name: str) -> System:
    """Return an adapter, its base, or a baseline."""
    on_base, adapted = name in ("adapter", "base"), name == "adapter"
    return System(
        name=name,
        base="google/gemma-4-E4B-it" if on_base else f"user/{name}",
        base_sha256=("b" if on_base else "c") * 64,
        adapter="user/gemma-4-uzbek" if adapted else None,
        adapter_sha256="a" * 64 if adapted else None,
        max_new_tokens=64,
        batch_seconds=60.0,
        processes=1,
        device="cpu",
        dtype="float32",
        peak_memory_bytes=1_500_000_000,
    )
