"""
Provide the error rates of escoita as a metric of the evaluate library; escoita must be installed.

    evaluate.load("eval/metric").compute(references=["unha luz"], predictions=["a luz"], normalizer="galician")
"""

import datasets
import evaluate  # without `from evaluate import Metric`: evaluate loads the first metric class of this file

from escoita.metrics.normalizers import NORMALIZERS
from escoita.metrics.normalizers import normalizer as find_normalizer
from escoita.metrics.wer import character_edits, word_edits


DESCRIPTION = """
Word and character error rate of a corpus: the sum of substitutions, deletions and insertions over the sum of reference
words or characters, tokenized as by jiwer. Rates are fractions and can be above 1.
"""

INPUTS = f"""
Args:
    predictions (`list[str]`): Hypotheses.
    references (`list[str]`): References.
    normalizer (`str`, *optional*, defaults to `"raw"`): Normalizer of both; one of {", ".join(NORMALIZERS)}.

Returns:
    `dict`: `wer` and `cer` (`float`); `substitutions`, `deletions`, `insertions` and `reference_words` (`int`), in
    words.

Raises:
    ValueError: The normalizer is unknown.
"""


class EscoitaErrorRates(evaluate.Metric):
    """Compute error rates of collected references and predictions."""

    def _info(self) -> evaluate.MetricInfo:
        texts = datasets.Value("string")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": texts, "references": texts}),
        )

    def _compute(
        self, predictions: list[str], references: list[str], normalizer: str = "raw"
    ) -> dict[str, float | int]:
        normalize = find_normalizer(normalizer)
        references, hypotheses = ([normalize(text) for text in texts] for texts in (references, predictions))
        words = word_edits(references, hypotheses)
        return {
            "wer": words.rate,
            "cer": character_edits(references, hypotheses).rate,
            "substitutions": int(words.substitutions.sum()),
            "deletions": int(words.deletions.sum()),
            "insertions": int(words.insertions.sum()),
            "reference_words": int(words.reference.sum()),
        }
