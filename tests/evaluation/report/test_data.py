import jiwer
from hypothesis import given
from hypothesis import strategies as st

from escoita.evaluation.report.data import confusions


WORDS = st.lists(st.sampled_from(["oʻn", "besh", "yuz", "uch", "\u202emen", "a\tb", "-"]), max_size=8).map(" ".join)


def test_confusions_are_counted() -> None:
    counted = confusions(["bir ikki", "bir ikki", "uch", "toʻrt"], ["bir yetti", "bir yetti", "uch", "a toʻrt"])
    assert counted.substituted == {("ikki", "yetti"): 2}
    assert counted.deleted == {}
    assert counted.inserted == {("a",): 1}


@given(st.lists(st.tuples(WORDS, WORDS), max_size=6))
def test_the_numbers_of_confusions_are_those_of_jiwer(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = [reference for reference, _ in pairs], [hypothesis for _, hypothesis in pairs]
    counted, output = confusions(references, hypotheses), jiwer.process_words(references, hypotheses)
    assert counted.substituted.total() == output.substitutions
    assert counted.deleted.total() == output.deletions
    assert counted.inserted.total() == output.insertions
