"""Test the comparison of front matters."""

import pytest

from escoita.cards.verify.front_matter import check_front, index_entries


def test_entries_of_an_index_are_distinguished() -> None:
    metric = {"type": "wer", "value": 1, "name": "WER"}
    result = {"dataset": {"type": "a", "args": {"n": [1]}}, "metrics": [metric, metric, metric | {"verified": True}]}
    assert len(index_entries({"model-index": [{"results": [result]}]})) == 3
    assert index_entries({}) == {}


@pytest.mark.parametrize("dataset", ["abc", "7", "[1]", "null", "{}"])
def test_an_invalid_model_index_is_one_difference(dataset: str) -> None:
    """Regression, found by Atheris: a text instead of a dataset raised an unexpected error."""
    results = f"[{{dataset: {dataset}, metrics: [{{type: wer, value: 3}}]}}]"
    card = f"---\nmodel-index: [{{name: x, results: {results}}}]\n---\n\n# Title\n"
    checks = check_front(card, "---\nlanguage: uz\n---\n\n# Title\n")
    (found,) = [check for check in checks if check.what == "model-index"]
    assert found.verdict == "differs"
