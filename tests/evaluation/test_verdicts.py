from itertools import product
from typing import Any

import pytest

from escoita.evaluation.verdicts import Outcome, above_one, disagree, insertions_note, outcome, reasons, short, verdict
from escoita.records.evaluation import CorpusResult, Measured
from tests.cards.samples import difference, heard, rates, result


def of(system: str = "adapter", unusable: int = 0, wer: float = 0.5, cer: float = 0.25) -> Outcome:
    return Outcome(system, 100, unusable, wer, cer, insertions=7)


def counted(judged: dict[str, Any], base: dict[str, Any], **changes: Any) -> CorpusResult:
    """A corpus of 100 clips; of each system its rates and how many hypotheses are unusable."""
    systems = [
        heard(name, rates(**{key: value for key, value in each.items() if key != "unusable"})).model_copy(
            update={"unusable": each.get("unusable", 0)}
        )
        for name, each in (("adapter", judged), ("base", base))
    ]
    return result(systems=systems, n=100, **changes)


@pytest.mark.parametrize("measured", ["better", "worse", "no measurable difference"])
def test_a_system_that_failed_is_never_better_nor_equal(measured: Measured) -> None:
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
def test_wer_and_cer_disagree_if_their_signs_do(
    wer: float, cer: float, other_wer: float, other_cer: float, opposite: bool
) -> None:
    assert disagree(of(wer=wer, cer=cer), of("base", wer=other_wer, cer=other_cer)) is opposite


def test_a_verdict_says_why() -> None:
    broken = counted({"wer": 1.0, "cer": 1.0, "unusable": 60}, {"wer": 1.2, "cer": 0.9})
    failed, opposite = reasons(broken, "base", "the {}".format)
    assert failed.startswith("60 of 100 hypotheses of the adapter ") and "100.00 % against 90.00 %" in opposite
    same = difference(verdict="no measurable difference")
    clean = counted({"wer": 0.5, "cer": 0.2}, {"wer": 0.6, "cer": 0.3}, differences=[same])
    assert reasons(clean, "base") == [] and short(clean, "base") == "no measurable difference"
    assert short(broken, "base") == "better; WER and CER disagree"
    assert reasons(broken, "whisper") == [] and short(broken, "whisper") == ""


def test_a_rate_over_one_is_explained_by_insertions() -> None:
    record = counted({"wer": 1.0, "cer": 1.0}, {"wer": 1.25, "cer": 0.9, "insertions": 1234})
    ((where, each),) = above_one([record])
    assert (where.name, each.system) == ("clips", "base")
    assert "125.00 %" in insertions_note(each, "clips") and "1,234" in insertions_note(each, "clips")


def test_records_of_0_1_0_hold_no_reasons() -> None:
    old = result(systems=[heard(empty=1000, loop=900), heard("base")])
    assert reasons(old, "base") == above_one([old]) == [] and short(old, "base") == "better"
    assert outcome(old.judged, old.n).failed and outcome(old.judged, old.n).unusable == old.n
