"""
The project's error rates as a metric of the evaluate library; needs escoita installed.

    evaluate.load("eval/metric").compute(references=["unha luz"], predictions=["a luz"], normalizer="galician")
"""

import datasets
import evaluate  # not its Metric: evaluate takes the first metric that it finds among the names of this file

from escoita.metrics.normalizers import NORMALIZERS
from escoita.metrics.normalizers import normalizer as find_normalizer
from escoita.metrics.wer import character_edits, word_edits


DESCRIPTION = """
Word and character error rate of a corpus: the sum of substitutions, deletions and insertions over the sum of reference
words or characters, split as jiwer splits them. Fractions, which may be over 1.
"""

INPUTS = f"""
Args:
    predictions (`list[str]`): What was heard.
    references (`list[str]`): What was said.
    normalizer (`str`, *optional*, defaults to `"raw"`): Applied to both; {", ".join(NORMALIZERS)}.

Returns:
    `dict`: `wer` and `cer` (`float`); `substitutions`, `deletions`, `insertions` and `reference_words` (`int`), in
    words.

Raises:
    ValueError: No normaliser has this name.
"""


class EscoitaErrorRates(evaluate.Metric):
    """Holds references and predictions, as all metrics of evaluate, and computes rates of them together."""

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
        normalise = find_normalizer(normalizer)
        said, heard = [normalise(text) for text in references], [normalise(text) for text in predictions]
        words = word_edits(said, heard)
        return {
            "wer": words.rate,
            "cer": character_edits(said, heard).rate,
            "substitutions": int(words.substitutions.sum()),
            "deletions": int(words.deletions.sum()),
            "insertions": int(words.insertions.sum()),
            "reference_words": int(words.reference.sum()),
        }
