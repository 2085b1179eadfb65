"""Choose the primary metric, which decides verdicts, the gate, the best adapter and early stopping."""

from typing import Literal, cast

from escoita.records.evaluation import METRICS, Metric
from escoita.utils.languages import without_spaces


PrimaryMetric = Literal["wer", "cer", "auto"]


def primary_metric(setting: PrimaryMetric, language: str) -> Metric:
    """
    Return the primary metric of an evaluation or a training.

    Args:
        setting (`str`): The value of `eval.primary`. With `auto`, the metric is the CER for languages that are written
            without spaces between words, in which a WER counts phrases, and the WER for all others.
        language (`str`): The tag of the language.
    """
    if setting != "auto":
        return setting
    return "cer" if without_spaces(language) else "wer"


def metric_name(metric: Metric) -> str:
    """Return the name of a metric in messages and tables: `WER` or `CER`."""
    return metric.upper()


def token_name(metric: Metric) -> str:
    """Return the name of one token that a metric counts: `word` or `character`."""
    return METRICS[metric].removesuffix("s")


def metrics_by_rank(primary: Metric) -> list[Metric]:
    """Return all metrics, the primary one first."""
    return cast("list[Metric]", sorted(METRICS, key=lambda metric: metric != primary))
