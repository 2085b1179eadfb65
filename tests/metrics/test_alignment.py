import jiwer
from hypothesis import given
from hypothesis import strategies as st

from escoita.metrics.wer import Chunk, align, align_all


WORDS = st.lists(st.sampled_from(["oʻn", "besh", "yuz", "uch", "\u202emen", "a\tb", "-"]), max_size=8).map(" ".join)
TEXTS = st.one_of(WORDS, st.text(max_size=20))


def test_words_that_were_heard_stand_beside_those_that_were_said() -> None:
    assert align("chiroqni yoq hozir eshikni yop", "pardani yoq eshikni yop iltimos") == [
        Chunk("substitute", ("chiroqni",), ("pardani",)),
        Chunk("equal", ("yoq",), ("yoq",)),
        Chunk("delete", ("hozir",), ()),
        Chunk("equal", ("eshikni", "yop"), ("eshikni", "yop")),
        Chunk("insert", (), ("iltimos",)),
    ]


def test_nothing_said_and_nothing_heard() -> None:
    assert align("", "") == []
    assert align("", "thank you") == [Chunk("insert", (), ("thank", "you"))]
    assert align("rahmat", " ") == [Chunk("delete", ("rahmat",), ())]


@given(TEXTS, TEXTS)
def test_chunks_hold_every_word_and_as_many_edits_as_jiwer_counts(reference: str, hypothesis: str) -> None:
    chunks = align(reference, hypothesis)
    output = jiwer.process_words(reference, hypothesis)
    assert [word for chunk in chunks for word in chunk.reference] == output.references[0]
    assert [word for chunk in chunks for word in chunk.hypothesis] == output.hypotheses[0]
    edits = sum(max(len(chunk.reference), len(chunk.hypothesis)) for chunk in chunks if chunk.kind != "equal")
    assert edits == output.substitutions + output.deletions + output.insertions
    assert all(
        len(chunk.reference) == len(chunk.hypothesis) for chunk in chunks if chunk.kind in ("equal", "substitute")
    )


def test_many_are_aligned_as_one_by_one() -> None:
    references = [f"{number} ta olma" for number in range(5000)]
    hypotheses = [f"{number // 2 * 2} ta" for number in range(5000)]
    pairs = zip(references[4000:4200], hypotheses[4000:4200], strict=True)
    assert list(align_all(references, hypotheses))[4000:4200] == [align(*pair) for pair in pairs]
