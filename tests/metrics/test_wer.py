import sys
from collections.abc import Callable
from itertools import product

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.metrics.wer import Edits, character_edits, word_edits


# Few letters, so that words repeat and alignments tie; every kind of space; apostrophes, marks and astral characters.
TEXT = st.text(st.sampled_from(list("aab oʻñ\u0301é'’٣字😀  \t\n\r\x0b\u00a0\u2028\u3000"))) | st.text()
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


@given(PAIRS)
def test_words_are_counted_as_jiwer_does(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = map(list, zip(*pairs, strict=True))
    ours, theirs = word_edits(references, hypotheses), jiwer.process_words(references, hypotheses)
    assert ours.rate == theirs.wer
    assert ours.substitutions.sum() == theirs.substitutions
    assert ours.deletions.sum() == theirs.deletions
    assert ours.insertions.sum() == theirs.insertions
    assert ours.reference.sum() == theirs.hits + theirs.substitutions + theirs.deletions


@given(PAIRS)
def test_characters_are_counted_as_jiwer_does(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = map(list, zip(*pairs, strict=True))
    assert character_edits(references, hypotheses).rate == jiwer.cer(references, hypotheses)


SPACES = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]


@given(st.lists(st.tuples(*[st.text(st.sampled_from([*SPACES, " ", "a", "ʻ"]))] * 2), min_size=1, max_size=4))
def test_every_kind_of_space_is_counted_as_jiwer_does(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = map(list, zip(*pairs, strict=True))
    assert word_edits(references, hypotheses).rate == jiwer.wer(references, hypotheses)
    assert character_edits(references, hypotheses).rate == jiwer.cer(references, hypotheses)


def test_each_space_alone_doubled_and_at_the_edges() -> None:
    for space in SPACES:
        texts = ["a b", f"a{space}b", f"a{space}{space}b", f"{space}a b", f"a b{space}", f"a {space}b", space, ""]
        for reference, hypothesis in product(texts, repeat=2):
            words = jiwer.process_words(reference, hypothesis)
            edits = word_edits([reference], [hypothesis])
            assert edits.reference[0] == words.hits + words.substitutions + words.deletions
            assert edits.total[0] == words.substitutions + words.deletions + words.insertions
            assert character_edits([reference], [hypothesis]).rate == jiwer.cer(reference, hypothesis)


@given(PAIRS)
def test_each_utterance_is_counted_apart(pairs: list[tuple[str, str]]) -> None:
    edits = word_edits(*map(list, zip(*pairs, strict=True)))
    for index, (reference, hypothesis) in enumerate(pairs):
        alone = word_edits([reference], [hypothesis])
        assert (edits.total[index], edits.reference[index]) == (alone.total[0], alone.reference[0])


@pytest.mark.parametrize(
    "reference, hypothesis, substitutions, deletions, insertions, words",
    [
        ("chiroqni yoq", "chiroqni yoq", 0, 0, 0, 2),
        ("chiroqni yoq", "chiroqni och", 1, 0, 0, 2),
        ("oshxonada chiroqni yoq", "chiroqni yoq", 0, 1, 0, 3),
        ("chiroqni yoq", "chiroqni yoq hozir", 0, 0, 1, 2),
        ("oʻn bir", "o n bir", 1, 0, 1, 2),
        ("bir ikki", "", 0, 2, 0, 2),
        ("", "bir ikki", 0, 0, 2, 0),
        ("", "", 0, 0, 0, 0),
    ],
)
def test_by_hand(
    reference: str, hypothesis: str, substitutions: int, deletions: int, insertions: int, words: int
) -> None:
    edits = word_edits([reference], [hypothesis])
    counts = (edits.substitutions[0], edits.deletions[0], edits.insertions[0], edits.reference[0])
    assert counts == (substitutions, deletions, insertions, words)
    assert edits.rate == (substitutions + deletions + insertions) / max(1, words)


def test_characters_by_hand() -> None:
    edits = character_edits([" a luz ", "un"], ["a lus", "u n"])
    np.testing.assert_array_equal(edits.reference, [5, 2])  # the inner space is a character
    np.testing.assert_array_equal(edits.total, [1, 1])
    assert edits.rate == 2 / 7


def test_the_corpus_rate_is_not_the_mean_of_its_utterances() -> None:
    edits = word_edits(["un", "un dous tres catro"], ["dous", "un dous tres catro"])
    assert edits.rate == 1 / 5
    assert np.mean(edits.total / edits.reference) == 1 / 2


def test_counts_are_integers_of_one_kind_even_of_no_utterance() -> None:
    for edits in (
        word_edits([], []),
        word_edits(["un"], [""]),
        character_edits([], []),
        character_edits(["un"], [""]),
    ):
        assert {values.dtype for values in vars(edits).values()} == {np.dtype(np.int64)}
    assert word_edits([], []).rate == 0.0


@pytest.mark.parametrize("count", [word_edits, character_edits])
def test_references_and_hypotheses_must_pair(count: Callable[[list[str], list[str]], Edits]) -> None:
    with pytest.raises(ValueError, match="zip"):
        count(["un"], ["un", "dous"])
    with pytest.raises(ValueError, match="zip"):
        count(["un", "dous"], ["un"])
