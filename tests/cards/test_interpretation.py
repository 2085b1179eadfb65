from typing import Any

from escoita.cards.interpretation import (
    against_base,
    best_and_worst,
    by_duration,
    by_group,
    corpora_against_base,
    interpretation,
    kinds_of_edits,
    weight_of_the_pool,
    without_normalization,
)
from escoita.records.evaluation import CorpusResult, EvaluationRecord, Slice
from tests.cards.samples import difference, evaluation, heard, rates, result


TITLES = {"clips": "Some clips", "more": "More", "third": "A third", "pooled": "All"}
SAME = difference(wer=0.001, ci95=(-0.02, 0.0225), p_value=0.8, verdict="no measurable difference")
WORSE = difference(wer=0.05, ci95=(0.01, 0.09), p_value=0.002, verdict="worse")


def part(by: str, value: str, wer: float, n: int = 50, words: int = 400) -> Slice:
    return Slice.model_validate(
        {"by": by, "value": value, "n": n, "reference_words": words, "wer": {"adapter": wer, "base": 1.0}}
    )


def pooled(record: EvaluationRecord, **changes: Any) -> EvaluationRecord:
    return record.model_copy(update={"pooled": record.pooled.model_copy(update=changes)})


def three(**of_second: Any) -> tuple[CorpusResult, ...]:
    return result(), result("more", **of_second), result("third", [heard(normalized=rates(0.5)), heard("base")])


def test_better_than_the_base_is_said_with_both_rates_and_the_interval() -> None:
    assert against_base(evaluation(), TITLES) == (
        "On Some clips the WER goes from 125.17 % (the base) to 7.12 %, −118.05 points (95 %: −123.45 to −112.34):"
        " the interval leaves 0 out, and the adapter is better."
    )


def test_no_measurable_difference_is_called_none() -> None:
    said = against_base(evaluation(result(differences=[SAME])), TITLES)
    assert said.endswith(
        "+0.10 points (95 %: −2.00 to +2.25): the interval includes 0, so no difference was measured."
    )
    assert against_base(evaluation(result(differences=[WORSE])), TITLES).endswith("and the adapter is worse.")


def test_of_several_corpora_the_pool_is_compared() -> None:
    assert against_base(evaluation(*three()), TITLES).startswith("On all corpora pooled the WER goes from 125.17 %")


def test_without_a_base_nothing_is_compared() -> None:
    alone = evaluation(result(systems=[heard()]))
    assert against_base(alone, TITLES) == corpora_against_base(alone, TITLES) == ""


def test_corpora_on_which_it_is_not_better_are_named() -> None:
    assert corpora_against_base(evaluation(), TITLES) == ""
    assert corpora_against_base(evaluation(*three()), TITLES) == (
        "The adapter is better than the base on 3 of 3 corpora."
    )
    mixed = evaluation(result(differences=[WORSE]), *three(differences=[SAME])[1:])
    assert corpora_against_base(mixed, TITLES) == (
        "The adapter is better than the base on 1 of 3 corpora; worse on Some clips; without a measurable difference"
        " on More."
    )


def test_best_and_worst_corpus_are_named_with_their_rates() -> None:
    assert best_and_worst(evaluation(), TITLES) == ""
    assert best_and_worst(evaluation(*three()), TITLES) == (
        "Of 3 corpora the WER is lowest on Some clips, 7.12 % (95 %: 6.51 to 7.73 %), and highest on A third, 50.00 %"
        " (95 %: 6.51 to 7.73 %)."
    )


def test_a_corpus_that_outweighs_the_others_is_named() -> None:
    even = evaluation(result(word_share=0.5), result("more", word_share=0.5))
    assert weight_of_the_pool(even, TITLES) == weight_of_the_pool(evaluation(), TITLES) == ""
    heavy = evaluation(result(word_share=0.2), result("more", word_share=0.8))
    assert weight_of_the_pool(heavy, TITLES) == (
        "80.00 % of the pooled words are of More, so that the pooled WER of 10.99 % follows that corpus; with every"
        " corpus weighing the same it is 33.33 %."
    )


def test_kinds_of_edits_are_counted_with_their_shares() -> None:
    said = "200 substitutions (64.94 %), 60 deletions (19.48 %), 48 insertions (15.58 %)"
    assert kinds_of_edits(evaluation()) == f"Word edits of the adapter: {said}. Those of the base: {said}."
    right = rates(0.0, substitutions=0, deletions=0, insertions=0)
    perfect = evaluation(result(systems=[heard(normalized=right)]))
    assert kinds_of_edits(perfect) == "The adapter made no word edit in 4,321 words."


def test_what_the_length_of_clips_does() -> None:
    slices = [part("duration", "0-2 s", 0.02), part("duration", "2-5 s", 0.09), part("duration", "5-10 s", 0.04)]
    said = "From the shortest to the longest clips the WER goes from 2.00 % (0-2 s, 50 clips) to 4.00 % (5-10 s, 50"
    said += " clips)"
    assert by_duration(pooled(evaluation(*three()), slices=slices)) == (
        f"{said}, +2.00 points; it is highest at 9.00 % (2-5 s, 50 clips)."
    )
    assert by_duration(evaluation(result(slices=slices[::2]))) == f"{said}, +2.00 points."


def test_slices_of_few_words_say_nothing() -> None:
    slices = [part("duration", "0-2 s", 0.02, words=99), part("duration", "2-5 s", 0.09, words=100)]
    assert by_duration(evaluation(result(slices=slices))) == ""


def test_speakers_are_counted_and_never_named() -> None:
    slices = [part("speaker", name, wer) for name, wer in (("ana", 0.1), ("brais", 0.3), ("not stated", 0.9))]
    said = by_group(evaluation(result(slices=slices)), "speaker", TITLES)
    assert said == ("WER by speaker, lowest to highest: Some clips, 2 of at least 100 words: 10.00 % to 30.00 %.")


def test_genders_and_accents_are_named() -> None:
    slices = [part("gender", "f", 0.1, n=70), part("gender", "m", 0.05), part("gender", "others (3)", 0.9)]
    assert by_group(evaluation(result(slices=slices)), "gender", TITLES) == (
        "WER by gender, lowest to highest: Some clips, 2 of at least 100 words: 5.00 % (m, 50 clips) to 10.00 % (f, 70"
        " clips)."
    )
    assert by_group(evaluation(result(slices=slices)), "accent", TITLES) == ""


def test_what_the_normaliser_does_is_said_where_it_does_something() -> None:
    assert without_normalization(evaluation(normalizer="uzbek")) == ""
    systems = [heard(raw=rates(0.2)), heard("base")]
    assert without_normalization(evaluation(result(systems=systems), normalizer="uzbek")) == (
        "Of the texts as they are, not normalised, the WER is 20.00 %, +12.88 points."
    )


def test_every_sentence_has_a_figure() -> None:
    slices = [part("duration", "0-2 s", 0.02), part("duration", "2-5 s", 0.09)]
    for record in (evaluation(), pooled(evaluation(*three(), normalizer="uzbek"), slices=slices)):
        said = interpretation(record, TITLES)
        assert said and all(any(character.isdigit() for character in sentence) for sentence in said)
