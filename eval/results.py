"""Predictions in, `results.json` out; nothing else goes in."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from escoita.errors import RecordError
from escoita.records import CorpusResult, EvaluationRecord
from escoita.scoring import character_edits, word_edits
from escoita.text import normalizer
from eval.bootstrap import interval
from eval.predictions import read_predictions


def score(paths: list[Path], normalizer_name: str = "raw", resamples: int = 1000) -> EvaluationRecord:
    """
    Scores the predictions of one or more corpora of the same base and adapter.

    Args:
        paths (`list[Path]`): Files of predictions.
        normalizer_name (`str`, *optional*, defaults to `"raw"`): Applied to references and hypotheses.
        resamples (`int`, *optional*, defaults to 1000): Bootstrap resamples of an interval.

    Raises:
        RecordError: A file is not one of ours, or the files are of different models.
    """
    read = [read_predictions(path) for path in paths]
    models = {(made.base, made.base_sha256, made.adapter, made.adapter_sha256) for _, made in read}
    if len(models) != 1:
        raise RecordError(f"{paths[0].parent.parent}: the predictions are of {len(models)} different models")
    base, base_sha256, adapter, adapter_sha256 = models.pop()
    corpora = [
        corpus_result(provenance.corpus, table, provenance.rejected, normalizer_name, resamples)
        for table, provenance in read
    ]
    pool = pa.concat_tables([table.replace_schema_metadata() for table, _ in read])
    rejected = sum(provenance.rejected for _, provenance in read)
    return EvaluationRecord(
        base=base,
        base_sha256=base_sha256,
        adapter=adapter,
        adapter_sha256=adapter_sha256,
        normalizer=normalizer_name,
        resamples=resamples,
        corpora=corpora,
        pooled=corpus_result("pooled", pool, rejected, normalizer_name, resamples),
    )


def corpus_result(name: str, table: pa.Table, rejected: int, normalizer_name: str, resamples: int) -> CorpusResult:
    """Rates, counts, intervals and speed of one table of predictions."""
    rows: dict[str, list[Any]] = table.to_pydict()
    normalise = normalizer(normalizer_name)
    references = [normalise(text) for text in rows["reference"]]
    hypotheses = [normalise(text) for text in rows["hypothesis"]]
    words, characters = word_edits(references, hypotheses), character_edits(references, hypotheses)
    audio_seconds = sum(rows["audio_seconds"])
    base: dict[str, Any] = {}
    if rows["base_hypothesis"] and None not in rows["base_hypothesis"]:
        base_hypotheses = [normalise(text) for text in rows["base_hypothesis"]]
        base_words = word_edits(references, base_hypotheses)
        base = {
            "base_wer": base_words.rate,
            "base_cer": character_edits(references, base_hypotheses).rate,
            "base_wer_ci95": interval(base_words.total, base_words.reference, resamples),
            "base_rtfx": audio_seconds / sum(rows["base_compute_seconds"]),
        }
    return CorpusResult(
        name=name,
        language=", ".join(sorted(set(rows["language"]))),
        n=len(references),
        rejected=rejected,
        audio_seconds=audio_seconds,
        reference_words=int(words.reference.sum()),
        wer=words.rate,
        cer=characters.rate,
        wer_ci95=interval(words.total, words.reference, resamples),
        cer_ci95=interval(characters.total, characters.reference, resamples),
        substitutions=int(words.substitutions.sum()),
        deletions=int(words.deletions.sum()),
        insertions=int(words.insertions.sum()),
        rtfx=audio_seconds / sum(rows["compute_seconds"]),
        **base,
    )
