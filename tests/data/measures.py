"""Make clips with given measures, for tests of statistics."""

from collections.abc import Sequence
from typing import Any

from escoita.data.rows import Utterance, Utterances
from escoita.data.statistics import Measured
from escoita.records.data import Split


def clip(text: str, seconds: float = 1.0, fingerprint: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
    """Return the fields of a row, and the fingerprint of its recording."""
    return {"text": text, "audio_seconds": seconds, **fields}, fingerprint


def measured(
    *clips: tuple[dict[str, Any], bytes] | str,
    corpus: str = "voices",
    split: Split = "train",
    channels: Sequence[int] = (),
) -> Measured:
    """Return measured clips of one corpus, given as clips or transcripts; their ids are their indices."""
    rows = [clip(each) if isinstance(each, str) else each for each in clips]
    common: dict[str, Any] = {"corpus": corpus, "language": "uz", "source": "m.jsonl"}
    utterances = Utterances.of(
        Utterance(**(common | {"id": str(index), "audio": f"{index}.wav", "row": index + 1} | fields))
        for index, (fields, _) in enumerate(rows)
    )
    return Measured(corpus, split, utterances, [fingerprint for _, fingerprint in rows], list(channels))
