import socket
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import datasets
import evaluate
import jiwer
import pytest


REFERENCES = ["Chiroqni yoq!", "eshikni och", "oʻttiz daraja", "musiqani oʻchir", ""]
PREDICTIONS = ["chiroqni yoq", "eshik ni och", "o‘ttiz", "musiqani oʻchir hozir oʻchir", ""]
KEYS = {"wer", "cer", "substitutions", "deletions", "insertions", "reference_words"}


class SameTexts(evaluate.Metric):
    """Count equal texts, to be combined with the metric under test."""

    def _info(self) -> evaluate.MetricInfo:
        texts = datasets.Value("string")
        features = datasets.Features({"predictions": texts, "references": texts})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        return {"same": sum(map(str.__eq__, predictions, references)) / len(references)}


def forget_loaded_metrics() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        del sys.modules[name]


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Refuse network access, and keep the files of evaluate in a temporary folder."""

    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("network access")

    folder = tmp_path_factory.mktemp("evaluate")
    forget_loaded_metrics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", folder / "modules")
        patch.setattr(evaluate.config, "HF_METRICS_CACHE", folder / "metrics")
        patch.setattr(sys, "path", [*sys.path])
        yield
    forget_loaded_metrics()


@pytest.fixture
def metric() -> evaluate.EvaluationModule:
    return evaluate.load("eval/metric")


def test_by_hand(metric: evaluate.EvaluationModule) -> None:
    assert metric.compute(references=["unha luz", "o can"], predictions=["a luz", "o"]) == {
        "wer": 2 / 4,
        "cer": 7 / 13,
        "substitutions": 1,
        "deletions": 1,
        "insertions": 0,
        "reference_words": 4,
    }


def test_rates_are_those_of_jiwer(metric: evaluate.EvaluationModule) -> None:
    ours = metric.compute(references=REFERENCES, predictions=PREDICTIONS)
    theirs = jiwer.process_words(REFERENCES, PREDICTIONS)
    assert (ours["wer"], ours["cer"]) == (theirs.wer, jiwer.cer(REFERENCES, PREDICTIONS))
    assert [ours[kind] for kind in ("substitutions", "deletions", "insertions")] == [
        theirs.substitutions,
        theirs.deletions,
        theirs.insertions,
    ]
    assert ours["reference_words"] == theirs.hits + theirs.substitutions + theirs.deletions


@pytest.mark.parametrize("name, wer", [("raw", 2 / 2), ("uzbek", 0), ("basic", 2 / 2)])
def test_a_normalizer_can_be_given(metric: evaluate.EvaluationModule, name: str, wer: float) -> None:
    texts = {"references": ["Oʻzbek tili"], "predictions": ["o'zbek tili."]}
    assert metric.compute(**texts, normalizer=name)["wer"] == wer


def test_an_unknown_normalizer_is_refused(metric: evaluate.EvaluationModule) -> None:
    with pytest.raises(ValueError, match="english"):
        metric.compute(references=["un"], predictions=["un"], normalizer="english")
    assert metric.compute(references=["un"], predictions=["un"])["reference_words"] == 1


def test_batches_and_single_utterances_are_scored_together(metric: evaluate.EvaluationModule) -> None:
    metric.add_batch(references=REFERENCES[:2], predictions=PREDICTIONS[:2])
    metric.add(reference=REFERENCES[2], prediction=PREDICTIONS[2])
    metric.add_batch(references=REFERENCES[3:], predictions=PREDICTIONS[3:])
    assert metric.compute(normalizer="uzbek") == evaluate.load("eval/metric/metric.py").compute(
        references=REFERENCES, predictions=PREDICTIONS, normalizer="uzbek"
    )


def test_combined_with_another_metric(metric: evaluate.EvaluationModule) -> None:
    both = evaluate.combine([metric, SameTexts()])
    found = both.compute(references=REFERENCES, predictions=PREDICTIONS)
    assert found == metric.compute(references=REFERENCES, predictions=PREDICTIONS) | {"same": 1 / 5}


def test_combined_by_its_path() -> None:
    found = evaluate.combine({"raw": "eval/metric"}, force_prefix=True).compute(references=["a"], predictions=["b"])
    assert found.keys() == {f"raw_{key}" for key in KEYS}


def test_the_description_of_the_metric(metric: evaluate.EvaluationModule) -> None:
    assert (metric.name, metric.module_type) == ("escoita_error_rates", "metric")
    assert "uzbek-latin" in metric.inputs_description
