from itertools import product

import pytest

from escoita.evaluation.verdicts import Outcome, disagree, outcome, outcomes, verdict
from escoita.records.evaluation import Measured
from tests.cards.samples import result, system_result


def of(system: str = "adapter", unusable: int = 0, wer: float = 0.5, cer: float = 0.25) -> Outcome:
    return Outcome(system, 100, unusable, wer, cer, insertions=7)


@pytest.mark.parametrize("measured", ["better", "worse", "no measurable difference"])
def test_a_failed_system_is_neither_better_nor_equal(measured: Measured) -> None:
    for ours, theirs in product((0, 50, 51, 100), repeat=2):
        found = verdict(measured, of(unusable=ours), of("base", unusable=theirs))
        if ours <= 50 and theirs <= 50:
            assert found == measured
        if ours > 50:
            assert found in ("worse", "not comparable")
        if theirs > 50:
            assert found in ("better", "not comparable")


@pytest.mark.parametrize(
    "wer, cer, other_wer, other_cer, opposite",
    [
        (0.4, 0.3, 0.5, 0.25, True),
        (0.6, 0.2, 0.5, 0.25, True),
        (0.4, 0.2, 0.5, 0.25, False),
        (0.4, 0.25, 0.5, 0.25, False),
        (0.5, 0.3, 0.5, 0.25, False),
    ],
)
def test_wer_and_cer_disagree_if_their_signs_differ(
    wer: float, cer: float, other_wer: float, other_cer: float, opposite: bool
) -> None:
    assert disagree(of(wer=wer, cer=cer), of("base", wer=other_wer, cer=other_cer)) is opposite


def test_records_of_0_1_0_contain_no_counts_of_unusable_hypotheses() -> None:
    old = result(systems=[system_result(empty=1000, loop=900), system_result("base")])
    assert outcomes(old, "base") is None
    assert outcome(old.main_system, old.n).failed and outcome(old.main_system, old.n).unusable == old.n
