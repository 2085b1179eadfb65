"""What the quick start promises, read from the records that `make demo` wrote."""

import pytest

from escoita.records import EvaluationRecord, TrainingRecord
from escoita.rundir import RunDirectory
from tests.conftest import ROOT


RUN = RunDirectory(ROOT / "runs/quickstart-uzbek")


@pytest.mark.demo
def test_the_demo_keeps_its_promise() -> None:
    result = EvaluationRecord.read(RUN.results).corpora[0]
    assert result.n == 160 and result.rejected == 0
    assert result.base_wer is not None and result.base_wer > 0.90
    assert result.wer <= 0.10 and result.cer <= 0.03
    assert TrainingRecord.read(RUN.training).steps == 600
    assert f"{100 * result.wer:.2f} %" in RUN.card.read_text("utf-8")
