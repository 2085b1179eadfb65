import sys
from collections.abc import Callable
from itertools import product

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.metrics.wer import Chunk, Edits, align, align_all, character_edits, word_edits


# Few letters, so that words repeat and several alignments are possible; spaces, apostrophes, marks, emoji.
TEXT = st.text(st.sampled_from(list("aab oʻñ\u0301é'’٣字😀  \t\n\r\x0b\u00a0\u2028\u3000"))) | st.text()
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


@given(PAIRS)
def test_word_edits_are_those_of_jiwer(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = map(list, zip(*pairs, strict=True))
    ours, theirs = word_edits(references, hypotheses), jiwer.process_words(references, hypotheses)
    assert ours.rate == theirs.wer
    assert ours.substitutions.sum() == theirs.substitutions
    assert ours.deletions.sum() == theirs.deletions
    assert ours.insertions.sum() == theirs.insertions
    assert ours.reference.sum() == theirs.hits + theirs.substitutions + theirs.deletions


@given(PAIRS)
def test_character_edits_are_those_of_jiwer(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = map(list, zip(*pairs, strict=True))
    assert character_edits(references, hypotheses).rate == jiwer.cer(references, hypotheses)


SPACES = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]


@given(st.lists(st.tuples(*[st.text(st.sampled_from([*SPACES, " ", "a", "ʻ"]))] * 2), min_size=1, max_size=4))
def test_every_kind_of_space_is_treated_as_by_jiwer(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = map(list, zip(*pairs, strict=True))
    assert word_edits(references, hypotheses).rate == jiwer.wer(references, hypotheses)
    assert character_edits(references, hypotheses).rate == jiwer.cer(references, hypotheses)


def test_single_double_and_edge_spaces_of_every_kind() -> None:
    for space in SPACES:
        texts = ["a b", f"a{space}b", f"a{space}{space}b", f"{space}a b", f"a b{space}", f"a {space}b", space, ""]
        for reference, hypothesis in product(texts, repeat=2):
            words = jiwer.process_words(reference, hypothesis)
            edits = word_edits([reference], [hypothesis])
            assert edits.reference[0] == words.hits + words.substitutions + words.deletions
            assert edits.total[0] == words.substitutions + words.deletions + words.insertions
            assert character_edits([reference], [hypothesis]).rate == jiwer.cer(reference, hypothesis)


@given(PAIRS)
def test_each_utterance_is_counted_separately(pairs: list[tuple[str, str]]) -> None:
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
def test_word_edits_of_examples(
    reference: str, hypothesis: str, substitutions: int, deletions: int, insertions: int, words: int
) -> None:
    edits = word_edits([reference], [hypothesis])
    counts = (edits.substitutions[0], edits.deletions[0], edits.insertions[0], edits.reference[0])
    assert counts == (substitutions, deletions, insertions, words)
    assert edits.rate == (substitutions + deletions + insertions) / max(1, words)


def test_character_edits_of_examples() -> None:
    edits = character_edits([" a luz ", "un"], ["a lus", "u n"])
    np.testing.assert_array_equal(edits.reference, [5, 2])  # the inner space is a character
    np.testing.assert_array_equal(edits.total, [1, 1])
    assert edits.rate == 2 / 7


def test_the_corpus_rate_is_not_the_mean_of_its_utterances() -> None:
    edits = word_edits(["un", "un dous tres catro"], ["dous", "un dous tres catro"])
    assert edits.rate == 1 / 5
    assert np.mean(edits.total / edits.reference) == 1 / 2


def test_counts_are_int64_arrays_even_if_empty() -> None:
    for edits in (
        word_edits([], []),
        word_edits(["un"], [""]),
        character_edits([], []),
        character_edits(["un"], [""]),
    ):
        assert {values.dtype for values in vars(edits).values()} == {np.dtype(np.int64)}
    assert word_edits([], []).rate == 0.0


@pytest.mark.parametrize("count", [word_edits, character_edits])
def test_references_and_hypotheses_must_have_one_length(count: Callable[[list[str], list[str]], Edits]) -> None:
    with pytest.raises(ValueError):
        count(["un"], ["un", "dous"])
    with pytest.raises(ValueError):
        count(["un", "dous"], ["un"])


ALIGNED = st.lists(st.sampled_from(["oʻn", "besh", "yuz", "uch", "\u202emen", "a\tb", "-"]), max_size=8).map(
    " ".join
) | st.text(max_size=20)


def test_a_hypothesis_is_aligned_with_its_reference() -> None:
    assert align("chiroqni yoq hozir eshikni yop", "pardani yoq eshikni yop iltimos") == [
        Chunk("substitute", ("chiroqni",), ("pardani",)),
        Chunk("equal", ("yoq",), ("yoq",)),
        Chunk("delete", ("hozir",), ()),
        Chunk("equal", ("eshikni", "yop"), ("eshikni", "yop")),
        Chunk("insert", (), ("iltimos",)),
    ]


def test_empty_texts_are_aligned() -> None:
    assert align("", "") == []
    assert align("", "thank you") == [Chunk("insert", (), ("thank", "you"))]
    assert align("rahmat", " ") == [Chunk("delete", ("rahmat",), ())]


@given(ALIGNED, ALIGNED)
def test_chunks_contain_every_word_and_as_many_edits_as_jiwer_counts(reference: str, hypothesis: str) -> None:
    chunks = align(reference, hypothesis)
    output = jiwer.process_words(reference, hypothesis)
    assert [word for chunk in chunks for word in chunk.reference] == output.references[0]
    assert [word for chunk in chunks for word in chunk.hypothesis] == output.hypotheses[0]
    edits = sum(max(len(chunk.reference), len(chunk.hypothesis)) for chunk in chunks if chunk.kind != "equal")
    assert edits == output.substitutions + output.deletions + output.insertions
    assert all(
        len(chunk.reference) == len(chunk.hypothesis) for chunk in chunks if chunk.kind in ("equal", "substitute")
    )


def test_blocks_are_aligned_like_single_pairs() -> None:
    references = [f"{number} ta olma" for number in range(5000)]
    hypotheses = [f"{number // 2 * 2} ta" for number in range(5000)]
    pairs = zip(references[4000:4200], hypotheses[4000:4200], strict=True)
    assert list(align_all(references, hypotheses))[4000:4200] == [align(*pair) for pair in pairs]
