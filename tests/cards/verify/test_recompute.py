"""Test the comparison of documents."""

from hypothesis import given
from hypothesis import strategies as st

from escoita.cards.verify.recompute import differences


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_equal_documents_have_no_differences(document: object) -> None:
    assert not list(differences(document, document))


@given(st.integers(-999, 999), st.integers(-999, 999))
def test_another_number_is_one_difference(one: int, other: int) -> None:
    found = list(differences({"corpora": [{"name": "a", "wer": one}]}, {"corpora": [{"name": "a", "wer": other}]}))
    assert found == ([] if one == other else [f"corpora.a.wer: {one} published, {other} recomputed"])


def test_rounding_errors_are_ignored_and_true_is_not_one() -> None:
    assert not list(differences(0.1 + 0.2, 0.3))
    assert list(differences(0.1000001, 0.1)) and list(differences(True, 1.5)) and list(differences([1], [1, 2]))
    assert list(differences({"a": 1}, {})) == ["a: 1 published, nothing recomputed"]
