"""Test the results of the quick starts in the records of `make demo`."""

from dataclasses import dataclass

import pytest

from escoita.records.evaluation import BASE, EvaluationRecord
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from tests.conftest import ROOT


@dataclass(frozen=True)
class Expected:
    """Store the limits of the rates of base and adapter as fractions, and the trained towers."""

    base_wer: float
    wer: float
    cer: float
    trained: set[str]


PROMISES = {
    "quickstart-uzbek": Expected(base_wer=0.90, wer=0.10, cer=0.03, trained={"audio", "language"}),
    "quickstart-galician": Expected(base_wer=0.80, wer=0.20, cer=0.12, trained={"audio"}),
    "quickstart-whisper": Expected(base_wer=0.80, wer=0.15, cer=0.08, trained={"audio", "language"}),
    "quickstart-ctc": Expected(base_wer=0.80, wer=0.15, cer=0.08, trained={"audio", "head"}),
}


@pytest.mark.demo
@pytest.mark.parametrize("name", PROMISES)
def test_results_of_the_demo(name: str) -> None:
    run, promise = RunDirectory(ROOT / "runs" / name), PROMISES[name]
    result = EvaluationRecord.read(run.results).corpora[0]
    assert result.n == 160 and result.rejected == 0
    base, adapter, difference = result.of(BASE), result.main_system, result.against(BASE)
    assert base is not None and base.normalized.wer > promise.base_wer
    assert adapter.system == "adapter"
    assert adapter.normalized.wer <= promise.wer and adapter.normalized.cer <= promise.cer
    assert difference is not None and difference.verdict == "better"
    assert f"{100 * adapter.normalized.wer:.2f} %" in run.card.read_text("utf-8")

    training = TrainingRecord.read(run.training)
    assert {tower for tower, count in training.trainable_parameters.items() if count} == promise.trained
    assert training.validation[0].step == 0 and training.kept_step in {point.step for point in training.validation}
    assert training.pace is not None and training.pace.padding_share <= 0.10
