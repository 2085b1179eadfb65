"""Predictions of small corpora, made by hand."""

from pathlib import Path

from escoita.corpora import Utterance
from escoita.transcribe import Transcript
from eval.predictions import Provenance, predictions_table, write_predictions


# reference, what the adapter heard, what the base heard
Row = tuple[str, str, str | None]


def clip(text: str, row: int = 1, corpus: str = "clips", language: str = "uz", seconds: float = 2.0) -> Utterance:
    return Utterance(f"{corpus}-{row}", f"{row}.ogg", text, corpus, language, "m6", "test.jsonl", row, seconds)


def write_rows(
    folder: Path,
    rows: list[Row],
    corpus: str = "clips",
    language: str = "uz",
    adapter: str | None = "adapter",
    rejected: int = 0,
) -> Path:
    """Writes `<folder>/<corpus>/predictions.parquet`; clips of 2 s, heard in 0.5 s and by the base in 1 s."""
    clips = [clip(reference, row, corpus, language) for row, (reference, _, _) in enumerate(rows, start=1)]
    heard = [Transcript(text, 2.0, 0.5) for _, text, _ in rows]
    base_heard = [Transcript(text, 2.0, 1.0) for _, _, text in rows if text is not None] or None
    path = folder / corpus / "predictions.parquet"
    made = Provenance(corpus, "user/base", "b" * 64, adapter, "a" * 64 if adapter else None, rejected)
    write_predictions(predictions_table(clips, heard, base_heard, made), path)
    return path
