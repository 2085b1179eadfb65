"""Test the choice of the primary metric, and that it decides verdicts, tables and sentences."""

import re
from pathlib import Path

import pytest

from escoita.cards.context import evaluation_card
from escoita.cards.interpretation import interpretation
from escoita.cards.metadata import expected_index
from escoita.cards.verify.recompute import check_rates, recomputed
from escoita.cli.tables import print_evaluation
from escoita.evaluation.aggregate import score
from escoita.evaluation.gate import gate
from escoita.evaluation.report.render import write_report
from escoita.evaluation.verdict_texts import verdicts
from escoita.metrics.primary import PrimaryMetric, metric_name, metrics_by_rank, primary_metric
from escoita.records.evaluation import EvaluationRecord
from tests.cards.samples import recipe
from tests.evaluation.samples import write_rows


THAI = "ภาษาไทยเป็นภาษาราชการ"


@pytest.mark.parametrize(
    "setting, language, metric",
    [
        ("auto", "gl", "wer"),
        ("auto", "ko", "wer"),
        ("auto", "th", "cer"),
        ("auto", "km", "cer"),
        ("auto", "ja", "cer"),
        ("auto", "yue", "cer"),
        ("auto", "zh-Latn", "wer"),
        ("auto", "", "wer"),
        ("wer", "th", "wer"),
        ("cer", "gl", "cer"),
    ],
)
def test_the_language_decides(setting: PrimaryMetric, language: str, metric: str) -> None:
    assert primary_metric(setting, language) == metric


def test_names_and_order() -> None:
    assert (metric_name("wer"), metric_name("cer")) == ("WER", "CER")
    assert (metrics_by_rank("wer"), metrics_by_rank("cer")) == (["wer", "cer"], ["cer", "wer"])


@pytest.fixture
def record(tmp_path: Path) -> EvaluationRecord:
    """Return the evaluation of 40 clips that both systems transcribe with errors, the base with more of them."""
    write_rows(tmp_path, [(THAI, THAI[:-1], THAI[:-6])] * 40, language="th")
    found = score(tmp_path, "unicode", 100, primary="cer")
    found.write(tmp_path / "results.json")
    return EvaluationRecord.read(tmp_path / "results.json")


def test_the_cer_decides_the_verdict(record: EvaluationRecord, tmp_path: Path) -> None:
    (result,) = record.corpora
    assert [each.normalized.wer for each in result.systems] == [1.0, 1.0]
    (found,) = result.differences
    assert (found.wer, found.verdict) == (0.0, "better")
    assert found.value == found.cer == pytest.approx(-5 / len(THAI))
    assert all(part.cer and part.rates == part.cer for part in result.slices)
    assert score(tmp_path, "unicode", 100).corpora[0].differences[0].verdict == "no measurable difference"


@pytest.fixture
def pool(tmp_path: Path) -> EvaluationRecord:
    """Return the evaluation of two corpora with as many words, of which one has ten times as many characters."""
    write_rows(tmp_path, [("ภา", "ภ", "")] * 10, "short", "th")
    write_rows(tmp_path, [(THAI[:20], THAI[:19], THAI[:10])] * 10, "long", "th")
    found = score(tmp_path, "unicode", 100, ["short", "long"], primary="cer")
    found.write(tmp_path / "results.json")
    return EvaluationRecord.read(tmp_path / "results.json")


def test_the_cer_is_pooled_by_characters(pool: EvaluationRecord, tmp_path: Path) -> None:
    rates = pool.pooled.main_system.normalized
    assert (rates.cer, rates.reference_characters, rates.reference_words) == (20 / 220, 220, 20)
    assert pool.pooled.differences[0].value == pytest.approx((20 - 120) / 220)
    assert [each.word_share for each in pool.corpora] == [0.5, 0.5]
    assert [each.share for each in pool.corpora] == [20 / 220, 200 / 220] and pool.pooled.share == 1.0
    words = score(tmp_path, "unicode", 100, ["short", "long"])
    assert [each.share for each in words.corpora] == [0.5, 0.5]
    assert "character_share" not in words.corpora[0].model_dump()


def test_texts_state_the_shares_of_the_characters(
    pool: EvaluationRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_evaluation(tmp_path)
    card = evaluation_card(pool, tmp_path, "user/adapter")
    page = write_report(tmp_path, pool).read_text("utf-8")
    for text in (capsys.readouterr().out, card, page):
        assert "by characters" in text and "by words" not in text
        assert "short 9.09 %, long 90.91 %" in text
    (sentence,) = (each for each in interpretation(pool, {"short": "short", "long": "long"}) if "dominates" in each)
    assert sentence.startswith("90.91 % of the pooled characters are from long")
    compositions = [(each.dataset_args or {}).get("composition") for each in expected_index(recipe(), pool)]
    assert {"short": 0.0909, "long": 0.9091} in compositions


def test_the_shares_of_the_characters_are_recomputed(pool: EvaluationRecord, tmp_path: Path) -> None:
    counted = recomputed(tmp_path, pool, score)
    assert check_rates(tmp_path, pool, counted).verdict == "holds"
    short, long = pool.corpora
    forged = pool.model_copy(update={"corpora": [short.model_copy(update={"character_share": 0.5}), long]})
    (found,) = check_rates(tmp_path, forged, counted).lines
    assert "character_share" in found


def test_texts_name_the_cer(record: EvaluationRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ((_, sentence),) = verdicts(record)
    assert "CER" in sentence and "WER" not in sentence
    assert not any("WER" in sentence for sentence in interpretation(record, {"clips": "Clips"}))
    index = expected_index(recipe(), record)
    assert [entry.metric_type for entry in index[:2]] == ["cer", "wer"]
    print_evaluation(tmp_path)
    printed = capsys.readouterr().out
    assert printed.index("CER") < printed.index("WER") and "raw CER" in " ".join(printed.split())
    page = write_report(tmp_path, record).read_text("utf-8")
    assert "CER by corpus" in page and "WER by corpus" not in page and "character error" in page
    assert not re.search(r", WER \d", page) and "most word errors" not in page


def test_the_intervals_over_speakers_are_those_of_the_primary_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(THAI, THAI[row % 4 :], THAI[: -1 - row % 3]) for row in range(12)]
    write_rows(tmp_path, rows, language="th", known=[{"speaker": f"s{row % 4}"} for row in range(12)])
    record = score(tmp_path, "unicode", 100, primary="cer")
    record.write(tmp_path / "results.json")
    print_evaluation(tmp_path)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "interval of the" in line)
    low, _ = record.corpora[0].main_system.normalized.cer_speaker_ci95 or (0, 0)
    assert "CER" in line and f"{low:.3f}" in line


def test_the_gate_compares_the_cer(record: EvaluationRecord, tmp_path: Path) -> None:
    old = tmp_path / "old"
    write_rows(old, [(THAI, THAI)] * 40, language="th", systems=["adapter"])
    score(old, "unicode", 100, primary="cer").write(old / "results.json")
    found = gate(tmp_path / "results.json", old / "results.json")
    assert not found.passed and found.found("worse") == ["clips"]
    assert found.compared[0].rates == (pytest.approx(1 / len(THAI)), 0.0)
    assert found.metric == "cer" and "New CER" in found.markdown()
    assert gate(tmp_path / "results.json", tmp_path / "results.json", 0.01).over == ["clips"]
