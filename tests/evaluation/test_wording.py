from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from escoita.evaluation.aggregate import score
from escoita.evaluation.presentation import FAULTS, duration, notes, share, verdicts
from escoita.records.evaluation import EvaluationRecord, Faults
from tests.evaluation.report_samples import clips_of, write_heard


SAID = ["bir ikki uch"] * 30
WRONG, HALF = ["besh olti yetti"] * 30, ["bir ikki uch", "bir besh uch"] * 15


def evaluated(folder: Path, **corpora: Mapping[str, Sequence[str]]) -> EvaluationRecord:
    for name, heard in corpora.items():
        write_heard(folder, clips_of(SAID, name), heard)
    return score(folder, resamples=200)


def sentences(record: EvaluationRecord) -> list[str]:
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for _, sentence in verdicts(record)]


def test_a_verdict_names_both_rates_the_difference_and_its_chance(tmp_path: Path) -> None:
    (sentence,) = sentences(evaluated(tmp_path, clips={"adapter": HALF, "base": WRONG}))
    assert sentence.startswith(
        "The adapter is measurably better than the base: WER 16.67 % against 100.00 %, a difference of"
        " \N{MINUS SIGN}83.33 points (95 %: \N{MINUS SIGN}"
    )
    assert "; p = 0.0" in sentence


def test_worse_and_no_measurable_difference_are_said_in_these_words(tmp_path: Path) -> None:
    record = evaluated(tmp_path, clips={"adapter": HALF, "base": HALF[::-1], "whisper-tiny": SAID})
    same, worse = sentences(record)
    assert same.startswith("There is no measurable difference between the adapter and the base: ")
    assert worse.startswith("The adapter is measurably worse than whisper-tiny: WER 16.67 % against 0.00 %")


def test_corpora_that_say_otherwise_than_all_together_are_named(tmp_path: Path) -> None:
    better, same = {"adapter": HALF, "base": WRONG}, {"adapter": HALF, "base": HALF[::-1]}
    assert sentences(evaluated(tmp_path / "1", one=better, two=better))[0].endswith(
        " Each corpus by itself says the same."
    )
    assert sentences(evaluated(tmp_path / "2", one=better, two=same))[0].endswith(
        " On some corpora alone it is otherwise: no measurable difference on two."
    )


def test_a_system_alone_is_neither_better_nor_worse(tmp_path: Path) -> None:
    (sentence,) = sentences(evaluated(tmp_path, clips={"base": HALF}))
    assert sentence.startswith("The base: WER 16.67 % (95 %: ")
    assert "No other system was evaluated" in sentence


def test_every_fault_of_the_record_has_a_name() -> None:
    assert list(FAULTS) == list(Faults.model_fields)


@pytest.mark.parametrize(
    "seconds, said", [(0.4, "0.4 s"), (59.9, "59.9 s"), (60, "1.0 min"), (3600, "1.0 h"), (4e6, "1,111.1 h")]
)
def test_lengths_of_time(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_shares() -> None:
    assert share(1 / 3) == "33.3 %"


def test_a_system_that_writes_nothing_is_not_compared_and_it_says_why(tmp_path: Path) -> None:
    record = evaluated(tmp_path, clips={"adapter": [""] * 30, "base": ["besh olti yetti sakkiz"] * 30})
    (sentence,) = sentences(record)
    assert sentence.startswith("The adapter and the base are not comparable: WER 100.00 % against 133.33 %")
    assert "30 of 30 hypotheses of the adapter are empty or loop." in sentence
    (note,) = notes(record)
    assert "133.33 %" in note and "inserts 30 words" in note
