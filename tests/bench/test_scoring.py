import random

import jiwer

from bench.quickstart import with_errors
from bench.scoring import SIZES, corpora_with_errors, measure_scoring, scored


FEW = {"large": 148, "small": 52}


def test_the_corpora_have_the_sizes_of_the_galician_card() -> None:
    assert sum(SIZES.values()) == 64_527
    assert round(max(SIZES.values()) / sum(SIZES.values()), 2) == 0.74


def test_texts_are_reproducible_and_contain_errors() -> None:
    texts = corpora_with_errors(FEW)
    assert texts == corpora_with_errors(FEW)
    assert {name: len(references) for name, (references, _) in texts.items()} == FEW
    for references, hypotheses in texts.values():
        assert 0.05 < jiwer.wer(references, hypotheses) < 0.15


def test_words_have_errors_of_each_kind() -> None:
    draw = random.Random(0)  # noqa: S311 - draws need no secrecy
    assert {with_errors("luz", 0, ["non"], draw) for _ in range(100)} == {"luz"}
    variants = {with_errors("luz", 1, ["non"], draw) for _ in range(100)}
    assert {"luz non", "non", ""} < variants and "luz" not in variants
    assert {len(text) for text in variants - {"luz non", "non", ""}} == {3}


def test_rates_are_those_of_jiwer_for_each_corpus_and_the_pool() -> None:
    texts = corpora_with_errors(FEW)
    *corpora, pool = scored(texts)
    for rates, (references, hypotheses) in zip(corpora, texts.values(), strict=True):
        words = jiwer.process_words(references, hypotheses)
        assert (rates.wer, rates.cer) == (words.wer, jiwer.cer(references, hypotheses))
        assert (rates.substitutions, rates.deletions, rates.insertions) == (
            words.substitutions,
            words.deletions,
            words.insertions,
        )
        assert rates.wer_ci95[0] < rates.wer < rates.wer_ci95[1]
    all_references, all_hypotheses = ([text for corpus in texts.values() for text in corpus[side]] for side in (0, 1))
    assert (pool.wer, pool.cer) == (
        jiwer.wer(all_references, all_hypotheses),
        jiwer.cer(all_references, all_hypotheses),
    )


def test_the_measurements() -> None:
    faster, ours, everything, different = measure_scoring(FEW, rounds=1)
    assert faster.name.startswith("Scoring 200 utterances") and faster.goal == "at least 2"
    assert 0 < ours.value < everything.value and ours.met is everything.met is None
    assert (different.value, different.met) == (0, True)
