from pathlib import Path

import pytest

from escoita.errors import RecordError
from escoita.records import EvaluationRecord
from eval.results import score
from tests.eval.samples import Row, write_rows


UZBEK: list[Row] = [
    ("chiroqni yoq", "chiroqni yoq", "a b c"),  # base: 2 substitutions, 1 insertion
    ("oshxonada chiroqni yoq", "chiroqni och", ""),  # 1 deletion, 1 substitution; base: 3 deletions
]
GALICIAN: list[Row] = [("un", "un dous", "un")]  # 1 insertion


@pytest.fixture
def record(tmp_path: Path) -> EvaluationRecord:
    paths = [
        write_rows(tmp_path, UZBEK, "uz-clips", rejected=2),
        write_rows(tmp_path, GALICIAN, "gl-clips", "gl", rejected=1),
    ]
    return score(paths, resamples=50)


def test_one_corpus_by_hand(record: EvaluationRecord) -> None:
    uzbek, galician = record.corpora
    assert (uzbek.name, uzbek.language, uzbek.n, uzbek.rejected) == ("uz-clips", "uz", 2, 2)
    assert (uzbek.reference_words, uzbek.wer) == (5, 2 / 5)
    assert (uzbek.substitutions, uzbek.deletions, uzbek.insertions) == (1, 1, 0)
    # "oshxonada " is 10 characters gone, yoq to och 3 others, of 12 and 22
    assert uzbek.cer == 13 / 34
    assert uzbek.wer_ci95[0] <= uzbek.wer <= uzbek.wer_ci95[1]
    assert (galician.reference_words, galician.wer, galician.insertions) == (1, 1.0, 1)
    assert galician.wer_ci95 == (1.0, 1.0)


def test_the_base_beside_it(record: EvaluationRecord) -> None:
    uzbek, galician = record.corpora
    assert uzbek.base_wer == 6 / 5 and uzbek.base_wer_ci95 == (1.0, 1.5)
    assert galician.base_wer == galician.base_cer == 0


def test_speed_is_audio_over_computing(record: EvaluationRecord) -> None:
    assert {result.rtfx for result in record.corpora} == {record.pooled.rtfx} == {4.0}
    assert record.pooled.base_rtfx == 2.0
    assert record.pooled.audio_seconds == 6.0


def test_the_pool_is_by_words_not_by_corpora(record: EvaluationRecord) -> None:
    pooled = record.pooled
    assert (pooled.name, pooled.language, pooled.n, pooled.rejected) == ("pooled", "gl, uz", 3, 3)
    assert pooled.wer == 3 / 6 != sum(result.wer for result in record.corpora) / 2
    assert pooled.base_wer == 6 / 6


def test_the_record_says_whose_it_is_and_round_trips(record: EvaluationRecord, tmp_path: Path) -> None:
    assert (record.base, record.adapter, record.normalizer, record.resamples) == ("user/base", "adapter", "raw", 50)
    record.write(tmp_path / "results.json")
    assert EvaluationRecord.read(tmp_path / "results.json") == record


def test_scoring_again_gives_the_same_record(record: EvaluationRecord, tmp_path: Path) -> None:
    paths = [tmp_path / name / "predictions.parquet" for name in ("uz-clips", "gl-clips")]
    assert score(paths, resamples=50) == record


def test_without_the_base_its_figures_are_absent(tmp_path: Path) -> None:
    (result,) = score([write_rows(tmp_path, [("un", "un", None)])], resamples=5).corpora
    assert result.base_wer is result.base_cer is result.base_wer_ci95 is result.base_rtfx is None


@pytest.mark.parametrize("name, wer, base_wer", [("raw", 1.0, 1.0), ("basic", 0.0, 0.5)])
def test_the_normaliser_is_for_both_sides(tmp_path: Path, name: str, wer: float, base_wer: float) -> None:
    path = write_rows(tmp_path, [("¡Mañá, Antón!", "mañá antón", "Mañá: Anton")])
    record = score([path], name, resamples=5)
    assert (record.normalizer, record.pooled.wer, record.pooled.base_wer) == (name, wer, base_wer)


def test_predictions_of_different_models_are_refused(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path, GALICIAN, "one"), write_rows(tmp_path, GALICIAN, "two", adapter="another")]
    with pytest.raises(RecordError, match="the predictions are of 2 different models$"):
        score(paths)
