from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.evaluation.aggregate import score
from escoita.evaluation.gate import gate
from escoita.evaluation.speakers import (
    degrees_of_freedom,
    difference_interval,
    pooled_interval,
    rate_interval,
    recovered,
    t_quantile,
)
from tests.evaluation.samples import Row, write_rows


@pytest.mark.parametrize(
    "freedom, expected", [(1, 12.7062), (2, 4.3027), (2.5, 3.5747), (4, 2.7764), (9, 2.2622), (1000, 1.9623)]
)
def test_quantiles_of_t_are_those_of_tables(freedom: float, expected: float) -> None:
    assert t_quantile(freedom) == pytest.approx(expected, abs=5e-5)


@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=12))
def test_degrees_of_freedom_are_those_of_the_matrix(words: list[float]) -> None:
    share = np.array(words) / sum(words)
    centered = np.eye(len(share)) - np.outer(share, np.ones(len(share)))
    form = np.sqrt(np.diag(share)) @ centered.T @ np.diag(1 / (1 - share) ** 2) @ centered @ np.sqrt(np.diag(share))
    expected = np.trace(form) ** 2 / np.trace(form @ form)
    assert degrees_of_freedom(share) == pytest.approx(expected, rel=1e-6)
    assert 1 - 1e-6 <= expected <= len(share) - 1 + 1e-6


def test_equal_speakers_give_the_t_interval_of_their_mean() -> None:
    edits, words = np.array([2.0, 5, 8, 1]), np.full(4, 100.0)
    rates = edits / words
    half = t_quantile(3) * rates.std(ddof=1) / 2
    assert difference_interval(edits, words) == pytest.approx((rates.mean() - half, rates.mean() + half))
    low, high = rate_interval(edits, words) or (0, 0)
    assert low * high == pytest.approx(rates.mean() ** 2) and high / rates.mean() == pytest.approx(
        np.exp(half / rates.mean())
    )


@pytest.mark.parametrize(
    "edits, words",
    [
        ([3, 5], [100, 90]),
        ([0, 0, 0], [100, 90, 80]),
        ([10, 9, 8], [100, 90, 80]),
        ([3, 5, 0], [100, 0, 0]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_there_is_no_interval_without_differences_of_three_speakers(edits: list[int], words: list[int]) -> None:
    counts = np.array(edits), np.array(words)
    assert rate_interval(*counts) is None or edits == [10, 9, 8]
    assert pooled_interval([None]) is None and pooled_interval([(*counts, lambda *_: None)]) is None


def test_a_pool_needs_intervals_of_all_corpora() -> None:
    part = np.array([2, 5, 8]), np.full(3, 100), rate_interval
    low, high = pooled_interval([part, part]) or (0, 0)
    alone = pooled_interval([part]) or (0, 0)
    assert alone == rate_interval(*part[:2]) and alone[0] < low < 0.05 < high < alone[1]
    assert pooled_interval([part, None]) is None


def speakers(wrong: list[int]) -> tuple[list[Row], list[dict[str, str]]]:
    """Return 20 clips of one word of each speaker; the adapter is right, the base has the given numbers of errors."""
    rows: list[Row] = []
    known = []
    for speaker, errors in enumerate(wrong):
        rows += [("bir", "bir", "uch" if place < errors else "bir") for place in range(20)]
        known += [{"speaker": f"speaker {speaker}"}] * 20
    return rows, known


@pytest.mark.parametrize(
    "wrong, verdict",
    [
        ([10, 11, 9, 10], "better"),
        ([20, 0, 0, 0], "better for these speakers"),
        ([10, 11], "better for these speakers"),
        ([0, 0, 0, 0], "no measurable difference"),
        ([20] * 3 + [0] * 9, "no measurable difference"),
        ([10, 11] * 6, "better"),
    ],
)
def test_a_verdict_claims_no_more_than_the_interval_over_speakers(
    tmp_path: Path, wrong: list[int], verdict: str
) -> None:
    rows, known = speakers(wrong)
    write_rows(tmp_path, rows, known=known)
    found = score(tmp_path).corpora[0]
    assert found.speakers == len(wrong) and found.few_speakers == (len(wrong) < 10)
    difference = found.differences[0]
    assert difference.verdict == verdict
    assert (difference.speaker_ci95 is None) == (len(wrong) < 3 or len(wrong) >= 10 or not any(wrong))


def test_the_gate_fails_for_a_system_that_is_worse_for_the_speakers_of_the_test_set(tmp_path: Path) -> None:
    rows, known = speakers([20, 0, 0, 0])
    for name, column in (("new", 2), ("old", 1)):
        write_rows(tmp_path / name, [(row[0], row[column]) for row in rows], systems=["adapter"], known=known)
        score(tmp_path / name).write(tmp_path / name / "results.json")
    found = gate(tmp_path / "new", tmp_path / "old")
    assert [row.verdict for row in found.compared] == ["worse for these speakers"] and not found.passed
    for path in tmp_path.rglob("*.parquet"):
        path.unlink()
    found = gate(tmp_path / "new", tmp_path / "old")
    assert found.compared[0].p_value is None and found.compared[0].verdict == "worse for these speakers"


def test_a_clip_without_a_speaker_leaves_the_number_unknown(tmp_path: Path) -> None:
    rows, known = speakers([10, 11, 9])
    write_rows(tmp_path, rows, known=[*known[:-1], {"speaker": ""}])
    found = score(tmp_path).corpora[0]
    assert found.speakers is None and not found.few_speakers and found.differences[0].verdict == "better"


def test_the_interval_of_a_sum_by_hand() -> None:
    value, (low, high) = recovered([(1, 0.10, (0.08, 0.13)), (-1, 0.20, (0.15, 0.22))])
    assert value == pytest.approx(-0.10)
    assert low == pytest.approx(-0.10 - sqrt(0.02**2 + 0.02**2))
    assert high == pytest.approx(-0.10 + sqrt(0.03**2 + 0.05**2))
    assert recovered([(0.5, 0.2, (0.1, 0.4)), (0.5, 0.6, (0.6, 0.6))]) == (0.4, pytest.approx((0.35, 0.5)))


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_a_recovered_interval_contains_its_estimate(parts: list[tuple[float, float, float, float]]) -> None:
    value, (low, high) = recovered(
        [(weight, rate, (rate - below, rate + above)) for weight, rate, below, above in parts]
    )
    assert low <= value <= high
