import subprocess
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.gate import Gate, gate
from escoita.evaluation.predictions import public, read_predictions, write_predictions
from escoita.records.evaluation import Decoding, EvaluationRecord
from tests.evaluation.samples import Row, write_rows


# Clips of two words, some of them with one error.
CLIPS = 30


def rows(wrong: int) -> list[Row]:
    return [("bir ikki", "bir uch" if index < wrong else "bir ikki") for index in range(CLIPS)]


def evaluated(folder: Path, normalizer: str = "raw", **corpora: Sequence[Row]) -> Path:
    """Write predictions of the adapter and their record."""
    for name, texts in corpora.items():
        write_rows(folder, texts, name, systems=["adapter"])
    score(folder, normalizer, 400, list(corpora)).write(folder / "results.json")
    return folder / "results.json"


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    def make(new: dict[str, Any], old: dict[str, Any]) -> tuple[Path, Path]:
        return evaluated(tmp_path / "new", **new), evaluated(tmp_path / "old", **old)

    return make


Pair = Callable[..., tuple[Path, Path]]


def test_other_bases_are_noted(tmp_path: Path) -> None:
    old = evaluated(tmp_path / "old", a=rows(3))
    new = evaluated(tmp_path / "new", a=rows(3))
    assert gate(new, old).notes == ()
    record = EvaluationRecord.read(new)
    other = record.main_system.model_copy(update={"base_sha256": "f" * 64, "expected_base_sha256": "b" * 64})
    record.model_copy(update={"systems": [other]}).write(new)
    found = gate(new, old)
    assert len(found.notes) == 2 and found.passed
    assert all(note.strip() in found.markdown() for note in found.notes)


def test_another_decoding_is_noted(tmp_path: Path) -> None:
    old, new = evaluated(tmp_path / "old", a=rows(3)), evaluated(tmp_path / "new", a=rows(3))
    record = EvaluationRecord.read(new)
    other = record.main_system.model_copy(update={"decoding": Decoding(num_beams=5)})
    record.model_copy(update={"systems": [other]}).write(new)
    found = gate(new, old)
    assert len(found.notes) == 1 and "5 beams" in found.notes[0] and found.passed
    other = record.main_system.model_copy(update={"speech_detector": "energy"})
    record.model_copy(update={"systems": [other]}).write(new)
    (note,) = gate(new, old).notes
    assert "energy" in note


def test_another_primary_metric_is_noted(tmp_path: Path) -> None:
    old, new = evaluated(tmp_path / "old", a=rows(3)), evaluated(tmp_path / "new", a=rows(3))
    score(new.parent, "raw", 100, primary="cer").write(new)
    (note,) = gate(new, old).notes
    assert "CER in the new evaluation" in note and "WER in the old evaluation" in note


def without_predictions(*records: Path) -> None:
    for record in records:
        for path in record.parent.glob("*/*.parquet"):
            path.unlink()


def hide_references(folder: Path) -> None:
    for path in folder.glob("*/predictions.parquet"):
        write_predictions(public(*read_predictions(path), withheld=True)[0], path)


def cells(markdown: str) -> list[list[str]]:
    """Return the cells of the rows of the table, rendered from Markdown."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    shown = [token for token in tokens if token.type in ("tr_open", "inline")]
    found: list[list[str]] = []
    for token in shown:
        if token.type == "tr_open":
            found.append([])
        elif found:
            found[-1].append("".join(child.content for child in token.children or []))
    found[-1] = found[-1][: len(found[0])]
    assert found[0][2:5] == ["Speakers", "Old WER", "New WER"]
    return found[1:]


def last_line(found: Gate) -> str:
    return found.markdown().splitlines()[-1]


def test_identical_evaluations_pass(pair: Pair) -> None:
    new, old = pair({"clips": rows(5)}, {"clips": rows(5)})
    found = gate(new, old)
    assert found.passed and last_line(found) == "**Pass:** no measurable difference on clips."
    assert cells(found.markdown()) == [
        [
            "clips",
            "30",
            "–",
            "8.33 %",
            "8.33 %",
            "0.00 (0.00 to 0.00)",
            "1.000",
            "no measurable difference",
            "paired bootstrap",
        ]
    ]
    assert "| clips | 30 | – | 8.33 % | 8.33 % |" in found.markdown()  # legible in a log too
    without_predictions(new, old)
    found = gate(new, old)
    assert found.passed and last_line(found) == "**Pass:** no measurable difference on clips."


def test_a_worse_evaluation_fails(pair: Pair) -> None:
    found = gate(*pair({"clips": rows(20)}, {"clips": rows(5)}))
    (row,) = found.compared
    assert (row.rates, row.difference, row.verdict) == ((20 / 60, 5 / 60), 15 / 60, "worse")
    assert row.p_value is not None and row.p_value < 0.05
    assert not found.passed and last_line(found) == "**Fail:** worse on clips."


def test_a_better_evaluation_passes(pair: Pair) -> None:
    found = gate(*pair({"clips": rows(5), "same": rows(5)}, {"clips": rows(20), "same": rows(5)}))
    assert [row.verdict for row in found.compared] == ["better", "no measurable difference", "better"]
    assert found.passed
    assert last_line(found) == "**Pass:** better on clips, pooled; no measurable difference on same."


def test_one_worse_corpus_fails(pair: Pair) -> None:
    found = gate(*pair({"a": rows(0), "b": rows(15)}, {"a": rows(20), "b": rows(0)}))
    assert [(row.name, row.verdict) for row in found.compared][:2] == [("a", "better"), ("b", "worse")]
    assert not found.passed and last_line(found).startswith("**Fail:** worse on b; better on a")


def test_the_pool_alone_may_be_worse(pair: Pair) -> None:
    named = [f"corpus-{place}" for place in range(6)]
    found = gate(*pair(dict.fromkeys(named, rows(2)), dict.fromkeys(named, rows(0))))
    assert [row.verdict for row in found.compared] == ["no measurable difference"] * 6 + ["worse"]
    assert not found.passed and last_line(found).startswith("**Fail:** worse on pooled; no measurable")


@pytest.mark.parametrize("limit, passed", [(0.1, True), (5 / 60, True), (0.08, False)])
def test_the_limit_holds_for_every_corpus(pair: Pair, limit: float, passed: bool) -> None:
    new, old = pair({"clips": rows(0), "fresh": rows(5)}, {"clips": rows(0)})
    found = gate(new, old, limit)
    assert found.passed is passed
    if not passed:
        assert found.over == ["fresh"] and last_line(found).startswith("**Fail:**")


def test_corpora_of_one_evaluation_are_listed(pair: Pair) -> None:
    found = gate(*pair({"clips": rows(0), "fresh": rows(5)}, {"clips": rows(0), "gone": rows(20)}))
    assert cells(found.markdown())[1:] == [
        ["fresh", "30", "–", "–", "8.33 %", "–", "–", "only in the new evaluation", "–"],
        ["gone", "30", "–", "33.33 %", "–", "–", "–", "only in the old evaluation", "–"],
    ]
    assert (list(found.only_new), list(found.only_old)) == (["fresh"], ["gone"])


def test_evaluations_without_a_common_corpus_are_refused(pair: Pair) -> None:
    new, old = pair({"one": rows(0)}, {"two": rows(0)})
    with pytest.raises(RecordError) as refusal:
        gate(new, old)
    assert refusal.value.path == new


def test_without_predictions_the_intervals_are_compared(pair: Pair) -> None:
    new, old = pair({"clips": rows(28), "same": rows(5)}, {"clips": rows(2), "same": rows(5)})
    without_predictions(old)
    found = gate(new, old)
    assert [(row.verdict, row.p_value, row.how) for row in found.compared] == [
        ("worse", None, "intervals (no predictions)"),
        ("no measurable difference", None, "intervals (no predictions)"),
        ("worse", None, "intervals"),
    ]
    ours, theirs = (EvaluationRecord.read(path).corpora[0].main_system.raw for path in (new, old))
    low = (28 - 2) / 60 - sqrt((ours.wer - ours.wer_ci95[0]) ** 2 + (theirs.wer_ci95[1] - theirs.wer) ** 2)
    assert found.compared[0].ci95[0] == pytest.approx(low)
    # the pool: (28 + 5) - (2 + 5) of 120
    assert found.compared[2].rates == pytest.approx((33 / 120, 7 / 120))
    assert found.compared[2].difference == pytest.approx(26 / 120)


def test_other_clips_are_not_paired(pair: Pair) -> None:
    new, old = pair({"clips": rows(5)}, {"clips": [("bir uch", "bir uch"), *rows(5)]})
    (row,) = gate(new, old).compared
    assert (row.clips, row.how) == ((30, 31), "intervals (other clips)")
    assert cells(gate(new, old).markdown())[0][1] == "31 (old), 30 (new)"


@pytest.mark.parametrize("side", ["new", "old"])
def test_published_and_unpublished_predictions_are_paired(pair: Pair, side: str) -> None:
    new, old = pair({"clips": rows(20)}, {"clips": rows(10)})
    before = gate(new, old).compared
    hide_references((new if side == "new" else old).parent)
    assert gate(new, old).compared == before and before[0].how == "paired bootstrap"


def test_without_references_the_intervals_are_compared(pair: Pair) -> None:
    new, old = pair({"clips": rows(20)}, {"clips": rows(10)})
    hide_references(new.parent)
    hide_references(old.parent)
    assert [row.how for row in gate(new, old).compared] == ["intervals (references not published)"]


def test_predictions_that_do_not_match_the_record_are_ignored(pair: Pair) -> None:
    new, old = pair({"clips": rows(5)}, {"clips": rows(5)})
    write_rows(new.parent, rows(25), "clips", systems=["adapter"])
    (row,) = gate(new, old).compared
    assert (row.difference, row.how) == (0, "intervals (predictions do not match the record)")


def test_with_an_unknown_normalizer_the_intervals_are_compared(pair: Pair) -> None:
    records = pair({"clips": rows(5)}, {"clips": rows(5)})
    for path in records:
        EvaluationRecord.read(path).model_copy(update={"normalizer": "klingon|"}).write(path)
    (row,) = gate(*records).compared
    assert row.how == "intervals (unknown normalizer klingon|)"
    assert cells(gate(*records).markdown())[0][-1] == row.how


def test_few_clips_are_not_significant(pair: Pair) -> None:
    new, old = pair({"clips": [("bir", "besh")] * 5}, {"clips": [("bir", "bir")] * 5})
    assert gate(new, old).compared[0].verdict == "no measurable difference"
    without_predictions(new)
    (row,) = gate(new, old).compared
    assert (row.ci95, row.verdict) == ((1.0, 1.0), "no measurable difference")


def test_with_different_normalizers_raw_rates_are_compared(pair: Pair) -> None:
    texts = [("Bir, ikki.", "bir ikki")] * CLIPS
    new, old = pair({"clips": texts, "normalizer": "uzbek"}, {"clips": texts})
    found = gate(new, old)
    assert "(`uzbek`, `raw`)" in found.title
    assert (found.compared[0].rates, found.compared[0].how) == ((1.0, 1.0), "paired bootstrap")
    again, _ = pair({"clips": texts, "normalizer": "uzbek"}, {"clips": texts})
    assert gate(again, again).compared[0].rates == (0.0, 0.0)


def test_a_run_directory_or_the_folder_of_the_record_can_be_given(tmp_path: Path) -> None:
    record = evaluated(tmp_path / "run/eval", clips=rows(3))
    assert gate(tmp_path / "run", record.parent).passed
    with pytest.raises(RecordError):
        gate(tmp_path, record)


def test_paths_are_escaped(tmp_path: Path) -> None:
    record = evaluated(tmp_path / "a`|b\n# c", clips=rows(3))
    markdown = gate(record, record).markdown()
    assert len(cells(markdown)) == 1 and "\n#" not in markdown


@pytest.mark.slow
def test_the_command(pair: Pair, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    new, old = map(str, pair({"clips": rows(20)}, {"clips": rows(5)}))
    worse = command("eval/gate.py", new, old)
    assert worse.returncode == 1 and worse.stdout.endswith("**Fail:** worse on clips.\n")
    assert not worse.stderr
    passed = command("-m", "escoita", "gate", old, new, "--max-wer", "0.2")
    assert passed.returncode == 0 and passed.stdout.endswith("**Pass:** better on clips.\n")
    missing = command("-m", "escoita", "gate", old, str(tmp_path / "gone.json"))
    assert missing.returncode == 1 and not missing.stdout and len(missing.stderr.splitlines()) == 1


def test_a_new_adapter_with_empty_output_fails(pair: Pair) -> None:
    empty = [("bir ikki", "")] * CLIPS
    wordy = [("bir ikki", "besh olti yetti")] * CLIPS
    new, old = pair({"clips": empty, "more": rows(0)}, {"clips": wordy})
    for _ in range(2):
        found = gate(new, old)
        assert not found.passed and found.failed == ("clips",)
        assert found.compared[0].verdict == "not comparable" and not found.found("worse")
        assert "30 of 30 hypotheses" in found.markdown() and "**Fail:**" in last_line(found)
        without_predictions(new, old)


def test_empty_output_on_a_new_corpus_fails(pair: Pair) -> None:
    new, old = pair({"clips": rows(0), "more": [("bir ikki", "")] * CLIPS}, {"clips": rows(0)})
    found = gate(new, old)
    assert not found.passed and found.failed == ("more",)


def test_an_old_adapter_with_empty_output_does_not_fail(pair: Pair) -> None:
    new, old = pair({"clips": rows(3)}, {"clips": [("bir ikki", "")] * CLIPS})
    found = gate(new, old)
    assert found.passed and found.compared[0].verdict == "better" and found.failed == ()


def test_disagreement_of_wer_and_cer_is_reported(pair: Pair) -> None:
    # Old: both words have a wrong letter. New: one word is right, the other one is another word of many letters.
    new, old = pair(
        {"clips": [("bir ikki", "bir sakkizinchi")] * CLIPS}, {"clips": [("bir ikki", "bar ikka")] * CLIPS}
    )
    row = gate(new, old).compared[0]
    assert row.verdict == "better" and row.disagree
    assert cells(gate(new, old).markdown())[0][7] == "better; WER and CER disagree"


def test_a_rate_above_100_percent_has_a_note(pair: Pair) -> None:
    many = [("bir", "bir ikki uch")] * CLIPS
    assert "inserts 60 words" in gate(*pair({"clips": many}, {"clips": many})).markdown()
