from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from escoita.evaluation.aggregate import score
from escoita.evaluation.presentation import (
    FAULTS,
    conditions_text,
    decoding_text,
    decodings,
    insertions_note,
    notes,
    other_base_note,
    reasons,
    rows,
    significance,
    sources_of,
    titles_of,
    verdict_of,
    verdicts,
)
from escoita.evaluation.verdicts import over_one
from escoita.records.evaluation import Decoding, EvaluationRecord, Faults
from tests.cards.card_samples import make_card
from tests.cards.samples import difference, evaluation, recipe, result, system, system_result
from tests.evaluation.report_samples import clips_of, write_hypotheses
from tests.evaluation.samples import counted


REFERENCES = ["bir ikki uch"] * 30
WRONG, HALF = ["besh olti yetti"] * 30, ["bir ikki uch", "bir besh uch"] * 15


def evaluated(folder: Path, **corpora: Mapping[str, Sequence[str]]) -> EvaluationRecord:
    for name, texts in corpora.items():
        write_hypotheses(folder, clips_of(REFERENCES, name), texts)
    return score(folder, resamples=200)


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


def test_systems_are_grouped_by_their_decoding(tmp_path: Path) -> None:
    record = evaluated(tmp_path, clips={"adapter": HALF, "base": WRONG})
    assert decodings(record) == "greedy"
    adapter, base = record.systems
    systems = [adapter, base.model_copy(update={"decoding": Decoding(num_beams=5)})]
    assert decodings(record.model_copy(update={"systems": systems}), str) == "greedy (adapter), 5 beams (base)"


def test_decoding_of_a_server_and_of_a_model_with_penalties() -> None:
    server = system("whisper", decoding=Decoding(num_beams=None))
    assert decoding_text(server) == "chosen by the server" and conditions_text(server) == ""
    local = system(
        "whisper",
        decoding=Decoding(language="clip", segment_seconds=30, penalties={"repetition_penalty": 1.2}),
    )
    assert decoding_text(local) == "greedy, repetition_penalty 1.2"
    assert conditions_text(local) == "given the language of each clip; at most 30 s at once"


def test_a_single_system_has_no_verdict(tmp_path: Path) -> None:
    ((difference, sentence),) = verdicts(evaluated(tmp_path, clips={"base": HALF}))
    assert difference is None and "16.67 %" in sentence.replace("\N{NO-BREAK SPACE}", " ")


def test_every_fault_of_the_record_has_a_name() -> None:
    assert list(FAULTS) == list(Faults.model_fields)


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


def test_rows_are_corpora_pool_and_mean(tmp_path: Path) -> None:
    record = evaluated(tmp_path, one={"adapter": HALF, "base": WRONG}, two={"adapter": REFERENCES, "base": HALF})
    titles = titles_of(record, recipe(corpora={"test": [{"name": "one", "path": "a.jsonl", "title": "The one"}]}))
    table = rows(record, titles)
    assert [(row.title, row.clips) for row in table] == [
        ("The one", 30),
        ("two", 30),
        ("All, pooled by words", 60),
        ("Mean of the corpora", None),
    ]
    first, mean = table[0], table[-1]
    assert [each.system for each in first.systems] == ["adapter", "base"]
    assert [each.system for each in first.base_first] == ["base", "adapter"]
    base = first.of("base")
    assert base is not None and base.verdict == "better" and base.difference == record.corpora[0].differences[0]
    assert first.of("whisper") is None and mean.systems[0].rates == record.macro[0]
    assert [row.title for row in rows(evaluated(tmp_path / "single", clips={"base": HALF}))] == ["clips"]


def test_baselines_are_named_by_their_source(tmp_path: Path) -> None:
    record = evaluated(tmp_path, clips={"adapter": HALF, "base": WRONG, "whisper-tiny": REFERENCES})
    assert sources_of(record) == {"adapter": "the adapter", "base": "the base", "whisper-tiny": "user/whisper-tiny"}


def test_the_note_on_another_base_is_that_of_the_card(tmp_path: Path) -> None:
    assert other_base_note(system()) == ""
    other = system(base_sha256="ef" * 32, expected_base_sha256="ab" * 32, base_commit="f" * 40)
    note = other_base_note(other)
    record = evaluation()
    measured = record.model_copy(update={"systems": [other, *record.systems[1:]]})
    assert f"**Different base model:** {note}" in make_card(tmp_path, evaluation_record=measured)
    assert f"`./quickstart/gemma4` at commit `{'f' * 40}`" in note
    assert note.endswith(f"weights have the SHA-256 `{'ab' * 32}`.")


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
