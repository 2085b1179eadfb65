"""The plots of an evaluation, drawn anew from its predictions or, where references are hashed, from their counts."""

from pathlib import Path

import numpy as np

from escoita.records.evaluation import EvaluationRecord
from escoita.evaluation.counts import forms_of
from escoita.evaluation.prediction_folder import read_folder
from escoita.evaluation.report.plots import wer_by_corpus, wer_by_duration, wer_distribution
from escoita.evaluation.tally import count


def drawings(folder: Path, record: EvaluationRecord) -> dict[str, str]:
    """
    Draws what the report and the card show.

    Args:
        folder (`Path`): Holds the predictions that the record was made from.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): What they came to.

    Returns:
        `dict[str, str]`: `<svg>` elements by the names of their files.

    Raises:
        RecordError: A file is missing or not one of ours.
    """
    systems = [system.name for system in record.systems]
    _, read = read_folder(folder, [result.name for result in record.corpora], systems)
    counted = [count(corpus, record.normalizer).columns for corpus in read]
    form = forms_of(record.normalizer)[0]
    rates = {
        name: np.concatenate(
            [columns[form, "words", name] / np.maximum(1, columns[form, "words"]) for columns in counted]
        )
        for name in systems
    }
    drawn = {"wer-by-corpus.svg": wer_by_corpus(record), "wer-distribution.svg": wer_distribution(rates)}
    by_duration = wer_by_duration(record)
    return drawn | ({"wer-by-duration.svg": by_duration} if by_duration else {})
