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
from escoita.cards.verify.text import figures_of
from escoita.records.evaluation import CorpusResult, EvaluationRecord, Slice
from tests.cards.samples import difference, evaluation, rates, result, system_result


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
    return (
        result(),
        result("more", **of_second),
        result("third", [system_result(normalized=rates(0.5)), system_result("base")]),
    )


def test_comparison_with_the_base_has_both_rates_the_interval_and_the_verdict() -> None:
    sentence = against_base(evaluation(), TITLES)
    change = ["−118.05", "95 %", "−123.45", "−112.34"]
    assert figures_of(sentence) == ["125.17 %", "7.12 %", *change, "0", "better"] and "Some clips" in sentence


def test_difference_that_is_not_significant_has_no_verdict() -> None:
    same = figures_of(against_base(evaluation(result(differences=[SAME])), TITLES))
    assert same[2:] == ["+0.10", "95 %", "−2.00", "+2.25", "0"]
    assert figures_of(against_base(evaluation(result(differences=[WORSE])), TITLES))[-1] == "worse"


def test_several_corpora_are_compared_pooled() -> None:
    sentence = against_base(evaluation(*three()), TITLES)
    assert "Some clips" not in sentence and figures_of(sentence)[0] == "125.17 %"


def test_no_comparison_without_a_base() -> None:
    alone = evaluation(result(systems=[system_result()]))
    assert against_base(alone, TITLES) == corpora_against_base(alone, TITLES) == ""


def test_corpora_on_which_the_adapter_is_not_better_are_named() -> None:
    assert corpora_against_base(evaluation(), TITLES) == ""
    assert figures_of(corpora_against_base(evaluation(*three()), TITLES)) == ["better", "3", "3"]
    mixed = corpora_against_base(evaluation(result(differences=[WORSE]), *three(differences=[SAME])[1:]), TITLES)
    assert figures_of(mixed) == ["better", "1", "3", "worse"]
    assert mixed.index("worse on Some clips") < mixed.index("on More")


def test_best_and_worst_corpus_have_their_rates() -> None:
    assert best_and_worst(evaluation(), TITLES) == ""
    sentence, interval = best_and_worst(evaluation(*three()), TITLES), ["95 %", "6.51", "7.73 %"]
    assert figures_of(sentence) == ["3", "7.12 %", *interval, "50.00 %", *interval]
    assert sentence.index("Some clips, 7.12 %") < sentence.index("A third, 50.00 %")


def test_corpus_with_most_of_the_words_is_named() -> None:
    even = evaluation(result(word_share=0.5), result("more", word_share=0.5))
    assert weight_of_the_pool(even, TITLES) == weight_of_the_pool(evaluation(), TITLES) == ""
    heavy = evaluation(result(word_share=0.2), result("more", word_share=0.8))
    sentence = weight_of_the_pool(heavy, TITLES)
    assert figures_of(sentence) == ["80.00 %", "10.99 %", "33.33 %"] and "More" in sentence


def test_types_of_edits_are_counted_with_their_shares() -> None:
    edits = "200 substitutions (64.94 %), 60 deletions (19.48 %), 48 insertions (15.58 %)"
    assert kinds_of_edits(evaluation()).count(edits) == 2
    right = rates(0.0, substitutions=0, deletions=0, insertions=0)
    perfect = evaluation(result(systems=[system_result(normalized=right)]))
    assert figures_of(kinds_of_edits(perfect)) == ["4,321"]


def test_shortest_and_longest_clips_are_compared() -> None:
    slices = [part("duration", "0-2 s", 0.02), part("duration", "2-5 s", 0.09), part("duration", "5-10 s", 0.04)]
    ends = ["2.00 % (0-2 s, 50 clips)", "4.00 % (5-10 s, 50 clips)"]
    three_slices = by_duration(pooled(evaluation(*three()), slices=slices))
    two_slices = by_duration(evaluation(result(slices=slices[::2])))
    for sentence in (three_slices, two_slices):
        assert sentence.index(ends[0]) < sentence.index(ends[1]) < sentence.index("+2.00")
    assert "9.00 % (2-5 s, 50 clips)" in three_slices and "2-5 s" not in two_slices


def test_slices_with_few_words_are_left_out() -> None:
    slices = [part("duration", "0-2 s", 0.02, words=99), part("duration", "2-5 s", 0.09, words=100)]
    assert by_duration(evaluation(result(slices=slices))) == ""


def test_speakers_are_counted_and_never_named() -> None:
    slices = [part("speaker", name, wer) for name, wer in (("ana", 0.1), ("brais", 0.3), ("not stated", 0.9))]
    sentence = by_group(evaluation(result(slices=slices)), "speaker", TITLES)
    assert figures_of(sentence) == ["2", "100", "10.00 %", "30.00 %"] and "Some clips" in sentence
    assert "ana" not in sentence and "brais" not in sentence


def test_genders_are_named() -> None:
    slices = [part("gender", "f", 0.1, n=70), part("gender", "m", 0.05), part("gender", "others (3)", 0.9)]
    sentence = by_group(evaluation(result(slices=slices)), "gender", TITLES)
    assert sentence.index("5.00 % (m, 50 clips)") < sentence.index("10.00 % (f, 70 clips)")
    assert by_group(evaluation(result(slices=slices)), "accent", TITLES) == ""


def test_wer_without_normalization_is_given_if_it_differs() -> None:
    assert without_normalization(evaluation(normalizer="uzbek")) == ""
    systems = [system_result(raw=rates(0.2)), system_result("base")]
    sentence = without_normalization(evaluation(result(systems=systems), normalizer="uzbek"))
    assert figures_of(sentence) == ["20.00 %", "+12.88"]


def test_every_sentence_has_a_figure() -> None:
    slices = [part("duration", "0-2 s", 0.02), part("duration", "2-5 s", 0.09)]
    for record in (evaluation(), pooled(evaluation(*three(), normalizer="uzbek"), slices=slices)):
        shown = interpretation(record, TITLES)
        assert shown and all(any(character.isdigit() for character in sentence) for sentence in shown)
