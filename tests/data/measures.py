"""Clips as if they had been measured, for tests of what is said of them."""

from collections.abc import Sequence
from typing import Any

from escoita.data.rows import Utterance, Utterances
from escoita.data.statistics import Measured
from escoita.records.data import Split


def clip(text: str, seconds: float = 1.0, known: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
    """A row, and the fingerprint of its recording."""
    return {"text": text, "audio_seconds": seconds, **fields}, known


def measured(
    *clips: tuple[dict[str, Any], bytes] | str,
    corpus: str = "voices",
    split: Split = "train",
    channels: Sequence[int] = (),
) -> Measured:
    """Clips, or transcripts alone, of one corpus; their ids are their places."""
    rows = [clip(each) if isinstance(each, str) else each for each in clips]
    common: dict[str, Any] = {"corpus": corpus, "language": "uz", "source": "m.jsonl"}
    utterances = Utterances.of(
        Utterance(**(common | {"id": str(place), "audio": f"{place}.wav", "row": place + 1} | fields))
        for place, (fields, _) in enumerate(rows)
    )
    return Measured(corpus, split, utterances, [known for _, known in rows], list(channels))
