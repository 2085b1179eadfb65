from pathlib import Path

import pytest

from escoita.evaluation.rows import verdict_of
from escoita.evaluation.verdict_texts import insertions_note, notes, reasons, significance, verdicts
from escoita.evaluation.verdicts import over_one
from escoita.records.evaluation import EvaluationRecord
from tests.cards.samples import difference, evaluation, result, system_result
from tests.evaluation.report_samples import HALF, REFERENCES, WRONG, evaluated
from tests.evaluation.samples import counted


def sentences(record: EvaluationRecord) -> list[str]:
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for _, sentence in verdicts(record)]


def test_a_verdict_contains_rates_difference_interval_and_p_value(tmp_path: Path) -> None:
    (sentence,) = sentences(evaluated(tmp_path, clips={"adapter": HALF, "base": WRONG}))
    for figure in ("16.67 %", "100.00 %", "\N{MINUS SIGN}83.33", "p = 0.0"):
        assert figure in sentence


def test_each_verdict_has_a_sentence(tmp_path: Path) -> None:
    record = evaluated(tmp_path, clips={"adapter": HALF, "base": HALF[::-1], "whisper-tiny": REFERENCES})
    same, worse = sentences(record)
    assert same.startswith("The adapter and the base do not differ significantly: ")
    assert worse.startswith("The adapter is significantly worse than whisper-tiny: ")


def test_corpora_with_another_verdict_are_listed(tmp_path: Path) -> None:
    better, same = {"adapter": HALF, "base": WRONG}, {"adapter": HALF, "base": HALF[::-1]}
    assert "two" not in sentences(evaluated(tmp_path / "1", one=better, two=better))[0]
    assert sentences(evaluated(tmp_path / "2", one=better, two=same))[0].endswith(" no significant difference on two.")


def test_a_single_system_has_no_verdict(tmp_path: Path) -> None:
    ((difference, sentence),) = verdicts(evaluated(tmp_path, clips={"base": HALF}))
    assert difference is None and "16.67 %" in sentence.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    "label, text",
    [
        ("better; WER and CER disagree", "significantly better; WER and CER disagree"),
        ("no measurable difference", "no significant difference"),
        ("not comparable", "not comparable"),
    ],
)
def test_verdicts_in_the_words_of_the_report(label: str, text: str) -> None:
    assert significance(label) == text


def test_a_system_with_empty_output_is_not_comparable(tmp_path: Path) -> None:
    record = evaluated(tmp_path, clips={"adapter": [""] * 30, "base": ["besh olti yetti sakkiz"] * 30})
    (sentence,) = sentences(record)
    assert sentence.startswith("The adapter and the base are not comparable: ")
    assert "30 of 30 hypotheses of the adapter are empty or loop." in sentence
    limit, note = notes(record)
    assert limit == "clips, the adapter against the base: 30 of 30 hypotheses of the adapter are empty or loop."
    assert "133.33 %" in note and "inserts 30 words" in note


def test_reasons_of_a_verdict() -> None:
    broken = counted({"wer": 1.0, "cer": 1.0, "unusable": 60}, {"wer": 1.2, "cer": 0.9})
    failed, opposite = reasons(broken, "base")
    assert failed.startswith("60 of 100 hypotheses of the adapter ") and "100.00 % against 90.00 %" in opposite
    same = difference(verdict="no measurable difference")
    clean = counted({"wer": 0.5, "cer": 0.2}, {"wer": 0.6, "cer": 0.3}, differences=[same])
    assert reasons(clean, "base") == [] and verdict_of(clean, "base") == "no measurable difference"
    assert verdict_of(broken, "base") == "better; WER and CER disagree"
    assert reasons(broken, "whisper") == [] and verdict_of(broken, "whisper") == ""


def test_a_rate_above_100_percent_is_explained_by_insertions() -> None:
    record = evaluation(counted({"wer": 1.0, "cer": 1.0}, {"wer": 1.25, "cer": 0.9, "insertions": 1234}))
    ((where, each),) = over_one(record)
    assert (where.name, each.system) == ("clips", "base")
    assert "125.00 %" in insertions_note(each, "clips") and "1,234" in insertions_note(each, "clips")


def test_records_of_0_1_0_contain_no_reasons() -> None:
    old = result(systems=[system_result(empty=1000, loop=900), system_result("base")])
    assert reasons(old, "base") == over_one(evaluation(old)) == [] and verdict_of(old, "base") == "better"
