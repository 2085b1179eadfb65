"""What the quick start promises, read from the records that `make demo` wrote."""

import pytest

from escoita.evaluation import BASE, EvaluationRecord
from escoita.records import TrainingRecord
from escoita.rundir import RunDirectory
from tests.conftest import ROOT


RUN = RunDirectory(ROOT / "runs/quickstart-uzbek")


@pytest.mark.demo
def test_the_demo_keeps_its_promise() -> None:
    result = EvaluationRecord.read(RUN.results).corpora[0]
    assert result.n == 160 and result.rejected == 0
    base, adapter, difference = result.of(BASE), result.judged, result.against(BASE)
    assert base is not None and base.normalized.wer > 0.90
    assert adapter.system == "adapter" and adapter.normalized.wer <= 0.10 and adapter.normalized.cer <= 0.03
    assert difference is not None and difference.verdict == "better"
    assert TrainingRecord.read(RUN.training).steps == 600
    assert f"{100 * adapter.normalized.wer:.2f} %" in RUN.card.read_text("utf-8")
