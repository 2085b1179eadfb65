"""Test the tables and sentences of error rates."""

import pytest

from escoita.space.rates import sentences, tables
from escoita.space.texts import translate
from tests.cards.samples import difference, evaluation, rates, recipe, result, system_result


@pytest.mark.parametrize("language", ["en", "gl", "uz"])
def test_reasons_for_a_verdict_in_each_language(language: str) -> None:
    silent = system_result(normalized=rates(1.0, cer=1.0), empty=1234).model_copy(update={"unusable": 1234})
    base = system_result("base").model_copy(update={"unusable": 0})
    record = evaluation(result(systems=[silent, base], differences=[difference(verdict="not comparable")]))
    compared, failed, disagree, over = sentences(record, recipe(), language)
    assert "118.05" in compared and "1,234" in failed
    assert "100.00 %" in disagree and "81.24 %" in disagree
    assert "125.17 %" in over and "48" in over


def test_a_record_of_version_0_1_0_has_one_sentence() -> None:
    assert len(list(sentences(evaluation(), recipe(), "en"))) == 1


@pytest.mark.parametrize("language", ["en", "gl", "uz"])
def test_few_speakers_are_named_and_limit_a_verdict(language: str) -> None:
    limited = difference(verdict="better for these speakers", speaker_ci95=(-1.5, 0.5))
    record = evaluation(result(differences=[limited], speakers=5, few_speakers=True))
    few, better, limit = sentences(record, recipe(), language)
    assert "5" in few and "118.05" in better and "+" not in better
    assert translate("about.over_speakers", language, interval="−50.00 … 150.00") in better
    assert limit not in (few, better)


def test_normalized_rates_are_followed_by_raw_rates() -> None:
    systems = [system_result(raw=rates(0.25)), system_result("base", raw=rates(1.5))]
    first, second = tables(evaluation(result(systems=systems), normalizer="uzbek"), recipe(), "en")
    assert "uzbek" in first.note
    assert [each.rates.wer for each in first.rows[0].base_first] == [1.25167, 0.07118]
    assert [each.raw.wer for each in second.rows[0].base_first if each.raw] == [1.5, 0.25]


@pytest.mark.parametrize("language", ["en", "gl", "uz"])
def test_the_title_of_the_pool_names_the_tokens_of_the_primary_metric(language: str) -> None:
    record = evaluation(result(), result("more"))
    by_words, by_characters = (
        tables(each, recipe(), language)[0].rows[2].title
        for each in (record, record.model_copy(update={"primary": "cer"}))
    )
    assert by_words != by_characters
