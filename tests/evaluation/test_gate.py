import subprocess
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.compare import recovered
from escoita.evaluation.gate import HEADS, Gate, gate
from escoita.evaluation.predictions import public, read_predictions, write_predictions
from escoita.records.evaluation import EvaluationRecord
from tests.evaluation.samples import Row, write_rows


# Of thirty clips of two words, that many have one wrong.
CLIPS = 30


def rows(wrong: int) -> list[Row]:
    return [("bir ikki", "bir uch" if index < wrong else "bir ikki") for index in range(CLIPS)]


def evaluated(folder: Path, normalizer: str = "raw", **corpora: Sequence[Row]) -> Path:
    """Predictions of the adapter and the record made from them."""
    for name, said in corpora.items():
        write_rows(folder, said, name, systems=["adapter"])
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


def without_predictions(*records: Path) -> None:
    for record in records:
        for path in record.parent.glob("*/*.parquet"):
            path.unlink()


def hide_references(folder: Path) -> None:
    for path in folder.glob("*/predictions.parquet"):
        write_predictions(public(*read_predictions(path), withheld=True)[0], path)


def cells(markdown: str) -> list[list[str]]:
    """Of the rows of the table, as Markdown shows them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    shown = [token for token in tokens if token.type in ("tr_open", "inline")]
    found: list[list[str]] = []
    for token in shown:
        if token.type == "tr_open":
            found.append([])
        elif found:
            found[-1].append("".join(child.content for child in token.children or []))
    found[-1] = found[-1][: len(HEADS)]
    assert found[0] == list(HEADS)
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
            "8.33 %",
            "8.33 %",
            "0.00 (0.00 to 0.00)",
            "1.000",
            "no measurable difference",
            "the same clips",
        ]
    ]
    assert "| clips | 30 | 8.33 % | 8.33 % |" in found.markdown()  # to be read in a log too
    without_predictions(new, old)
    found = gate(new, old)
    assert found.passed and last_line(found) == "**Pass:** no measurable difference on clips."


def test_what_is_worse_fails(pair: Pair) -> None:
    found = gate(*pair({"clips": rows(20)}, {"clips": rows(5)}))
    (row,) = found.compared
    assert (row.wer, row.difference, row.verdict) == ((20 / 60, 5 / 60), 15 / 60, "worse")
    assert row.p_value is not None and row.p_value < 0.05
    assert not found.passed and last_line(found) == "**Fail:** worse on clips."


def test_what_is_better_passes(pair: Pair) -> None:
    found = gate(*pair({"clips": rows(5), "same": rows(5)}, {"clips": rows(20), "same": rows(5)}))
    assert [row.verdict for row in found.compared] == ["better", "no measurable difference", "better"]
    assert found.passed
    assert last_line(found) == "**Pass:** better on clips, pooled; no measurable difference on same."


def test_one_corpus_that_is_worse_is_enough(pair: Pair) -> None:
    found = gate(*pair({"a": rows(0), "b": rows(15)}, {"a": rows(20), "b": rows(0)}))
    assert [(row.name, row.verdict) for row in found.compared][:2] == [("a", "better"), ("b", "worse")]
    assert not found.passed and last_line(found).startswith("**Fail:** worse on b; better on a")


def test_the_pool_may_be_worse_where_no_corpus_is(pair: Pair) -> None:
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
        assert "**Fail:** over the limit of 8.00 % on fresh; no measurable" in last_line(found)


def test_corpora_of_one_side_are_named(pair: Pair) -> None:
    found = gate(*pair({"clips": rows(0), "fresh": rows(5)}, {"clips": rows(0), "gone": rows(20)}))
    assert cells(found.markdown())[1:] == [
        ["fresh", "30", "–", "8.33 %", "–", "–", "only in the new one", "–"],
        ["gone", "30", "33.33 %", "–", "–", "–", "only in the old one", "–"],
    ]
    assert "no measurable difference on clips; only in the new one: fresh; only in the old one: gone." in last_line(
        found
    )


def test_without_a_common_corpus_nothing_can_pass(pair: Pair) -> None:
    new, old = pair({"one": rows(0)}, {"two": rows(0)})
    with pytest.raises(RecordError) as refusal:
        gate(new, old)
    assert str(refusal.value) == f"{new} and {old}: have no corpus in common, so there is nothing to compare"


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
    assert found.compared[2].wer == pytest.approx((33 / 120, 7 / 120))
    assert found.compared[2].difference == pytest.approx(26 / 120)


def test_other_clips_are_not_paired(pair: Pair) -> None:
    new, old = pair({"clips": rows(5)}, {"clips": [("bir uch", "bir uch"), *rows(5)]})
    (row,) = gate(new, old).compared
    assert (row.clips, row.how) == ((30, 31), "intervals (other clips)")
    assert cells(gate(new, old).markdown())[0][1] == "31, now 30"


@pytest.mark.parametrize("side", ["new", "old"])
def test_what_was_published_is_paired_with_what_was_not(pair: Pair, side: str) -> None:
    new, old = pair({"clips": rows(20)}, {"clips": rows(10)})
    before = gate(new, old).compared
    hide_references((new if side == "new" else old).parent)
    assert gate(new, old).compared == before and before[0].how == "the same clips"


def test_without_references_the_intervals_are_compared(pair: Pair) -> None:
    new, old = pair({"clips": rows(20)}, {"clips": rows(10)})
    hide_references(new.parent)
    hide_references(old.parent)
    assert [row.how for row in gate(new, old).compared] == ["intervals (references not published)"]


def test_predictions_that_did_not_make_the_record_are_not_believed(pair: Pair) -> None:
    new, old = pair({"clips": rows(5)}, {"clips": rows(5)})
    write_rows(new.parent, rows(25), "clips", systems=["adapter"])
    (row,) = gate(new, old).compared
    assert (row.difference, row.how) == (0, "intervals (predictions of another time)")


def test_a_normaliser_of_another_time_leaves_the_intervals(pair: Pair) -> None:
    records = pair({"clips": rows(5)}, {"clips": rows(5)})
    for path in records:
        EvaluationRecord.read(path).model_copy(update={"normalizer": "klingon|"}).write(path)
    (row,) = gate(*records).compared
    assert row.how == "intervals (no normaliser klingon| here)"
    assert cells(gate(*records).markdown())[0][-1] == row.how


def test_a_handful_of_clips_is_no_verdict(pair: Pair) -> None:
    new, old = pair({"clips": [("bir", "besh")] * 5}, {"clips": [("bir", "bir")] * 5})
    assert gate(new, old).compared[0].verdict == "no measurable difference"
    without_predictions(new)
    (row,) = gate(new, old).compared
    assert (row.ci95, row.verdict) == ((1.0, 1.0), "no measurable difference")


def test_under_different_normalisers_raw_texts_are_compared(pair: Pair) -> None:
    said = [("Bir, ikki.", "bir ikki")] * CLIPS
    new, old = pair({"clips": said, "normalizer": "uzbek"}, {"clips": said})
    found = gate(new, old)
    assert "; raw texts, as the normalisers differ (`uzbek`, `raw`)." in found.markdown()
    assert (found.compared[0].wer, found.compared[0].how) == ((1.0, 1.0), "the same clips")
    again, _ = pair({"clips": said, "normalizer": "uzbek"}, {"clips": said})
    assert gate(again, again).compared[0].wer == (0.0, 0.0)


def test_intervals_of_sums_by_hand() -> None:
    value, (low, high) = recovered([(1, 0.10, (0.08, 0.13)), (-1, 0.20, (0.15, 0.22))])
    assert value == pytest.approx(-0.10)
    assert low == pytest.approx(-0.10 - sqrt(0.02**2 + 0.02**2))
    assert high == pytest.approx(-0.10 + sqrt(0.03**2 + 0.05**2))
    assert recovered([(0.5, 0.2, (0.1, 0.4)), (0.5, 0.6, (0.6, 0.6))]) == (0.4, pytest.approx((0.35, 0.5)))


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_a_recovered_interval_holds_its_estimate(parts: list[tuple[float, float, float, float]]) -> None:
    value, (low, high) = recovered(
        [(weight, rate, (rate - below, rate + above)) for weight, rate, below, above in parts]
    )
    assert low <= value <= high


def test_a_run_directory_or_the_folder_of_the_record_will_do(tmp_path: Path) -> None:
    record = evaluated(tmp_path / "run/eval", clips=rows(3))
    assert gate(tmp_path / "run", record.parent).passed
    with pytest.raises(RecordError, match="no such record yet; escoita eval writes it$"):
        gate(tmp_path, record)


def test_hostile_paths_stay_text(tmp_path: Path) -> None:
    record = evaluated(tmp_path / "a`|b\n# c", clips=rows(3))
    markdown = gate(record, record).markdown()
    assert len(cells(markdown)) == 1 and "\n#" not in markdown


def test_the_command(pair: Pair, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    new, old = map(str, pair({"clips": rows(20)}, {"clips": rows(5)}))
    worse = command("eval/gate.py", new, old)
    assert worse.returncode == 1 and worse.stdout.endswith("**Fail:** worse on clips.\n")
    assert not worse.stderr
    passed = command("-m", "escoita", "gate", old, new, "--max-wer", "0.2")
    assert passed.returncode == 0 and passed.stdout.endswith("**Pass:** better on clips.\n")
    missing = command("-m", "escoita", "gate", old, str(tmp_path / "gone.json"))
    assert missing.returncode == 1 and not missing.stdout and len(missing.stderr.splitlines()) == 1


def test_a_new_adapter_that_writes_nothing_fails(pair: Pair) -> None:
    silent = [("bir ikki", "")] * CLIPS
    wordy = [("bir ikki", "besh olti yetti")] * CLIPS
    new, old = pair({"clips": silent, "more": rows(0)}, {"clips": wordy})
    for _ in range(2):
        found = gate(new, old)
        assert not found.passed and found.failed == ("clips",)
        assert found.compared[0].verdict == "not comparable" and not found.found("worse")
        assert "30 of 30 hypotheses" in found.markdown() and "**Fail:**" in last_line(found)
        without_predictions(new, old)


def test_a_corpus_that_only_the_new_one_has_is_looked_at_too(pair: Pair) -> None:
    new, old = pair({"clips": rows(0), "more": [("bir ikki", "")] * CLIPS}, {"clips": rows(0)})
    found = gate(new, old)
    assert not found.passed and found.failed == ("more",)


def test_an_old_adapter_that_writes_nothing_is_no_reason_to_fail(pair: Pair) -> None:
    new, old = pair({"clips": rows(3)}, {"clips": [("bir ikki", "")] * CLIPS})
    found = gate(new, old)
    assert found.passed and found.compared[0].verdict == "better" and "the old one" in found.markdown()


def test_wer_and_cer_that_disagree_are_named(pair: Pair) -> None:
    # Old: both words have a wrong letter. New: one word is right, the other one is another word of many letters.
    new, old = pair(
        {"clips": [("bir ikki", "bir sakkizinchi")] * CLIPS}, {"clips": [("bir ikki", "bar ikka")] * CLIPS}
    )
    row = gate(new, old).compared[0]
    assert row.verdict == "better" and row.disagree
    assert cells(gate(new, old).markdown())[0][6] == "better; WER and CER disagree"


def test_a_rate_over_one_carries_a_note(pair: Pair) -> None:
    many = [("bir", "bir ikki uch")] * CLIPS
    assert "inserts 60 words" in gate(*pair({"clips": many}, {"clips": many})).markdown()
