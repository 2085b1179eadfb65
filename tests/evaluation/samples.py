"""Write predictions of small corpora for tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from escoita.data.rows import Utterance, Utterances
from escoita.evaluation.predictions import Provenance, predictions_path, predictions_table, write_predictions
from escoita.records.evaluation import CorpusResult, System
from escoita.records.transcript import Transcript
from tests.cards.samples import rates, result, system_result


# The reference, and the hypothesis of each system.
Row = tuple[str, ...]
PAIR = ("adapter", "base")
ADAPTER_SHA256 = "a" * 64


def clip(text: str, row: int = 1, corpus: str = "clips", language: str = "uz", **known: Any) -> Utterance:
    fields: dict[str, Any] = {"audio": f"{row}.ogg", "source": "test.jsonl", "row": row, "audio_seconds": 2.0} | known
    return Utterance(id=f"{corpus}-{row}", text=text, corpus=corpus, language=language, **fields)


def system(name: str, **changes: Any) -> System:
    fields = {
        "name": name,
        "base": "user/base",
        "base_sha256": "b" * 64,
        "adapter": "adapter" if name == "adapter" else None,
        "adapter_sha256": ADAPTER_SHA256 if name == "adapter" else None,
        "max_new_tokens": 64,
        "batch_seconds": 60.0,
        "processes": 1,
        "device": "cpu",
        "dtype": "float32",
        "peak_memory_bytes": 1_500_000_000,
    }
    return System.model_validate(fields | changes)


def write_rows(
    folder: Path,
    rows: Sequence[Row],
    corpus: str = "clips",
    language: str = "uz",
    systems: Sequence[str] = PAIR,
    rejected: int = 0,
    known: Sequence[Mapping[str, Any]] | None = None,
    **changes: Any,
) -> list[Path]:
    """
    Write the predictions of several systems on one corpus.

    Clips are 2 s long; the first system needs 0.5 s for each, the next one 1 s, and so on, with two tokens for each
    word.

    Args:
        folder (`Path`): Folder for the predictions of all corpora.
        rows (`Sequence[Row]`): Reference of each clip, and hypothesis of each system.
        corpus (`str`): Name of the corpus.
        language (`str`): ISO code.
        systems (`Sequence[str]`): Names of the systems, in the order of a row.
        rejected (`int`): Number of rows that could not be used.
        known (`Sequence[Mapping]`, *optional*): Speaker, gender and other fields of each clip.
        changes: Fields of all systems.
    """
    known = known or [{}] * len(rows)
    clips = [clip(row[0], place, corpus, language, **known[place - 1]) for place, row in enumerate(rows, start=1)]
    paths = []
    for place, name in enumerate(systems, start=1):
        transcripts = [
            Transcript(row[place], utterance.audio_seconds, 0.5 * place, 2 * len(row[place].split()))
            for row, utterance in zip(rows, clips, strict=True)
        ]
        made = Provenance(corpus=corpus, rejected=rejected, system=system(name, **changes))
        paths.append(predictions_path(folder, corpus, name))
        write_predictions(predictions_table(Utterances.of(clips), transcripts, made), paths[-1])
    return paths


def counted(main_system: dict[str, Any], base: dict[str, Any], **changes: Any) -> CorpusResult:
    """Return the result of a corpus of 100 clips with given rates and numbers of unusable hypotheses."""
    systems = [
        system_result(name, rates(**{key: value for key, value in each.items() if key != "unusable"})).model_copy(
            update={"unusable": each.get("unusable", 0)}
        )
        for name, each in (("adapter", main_system), ("base", base))
    ]
    return result(systems=systems, n=100, **changes)
