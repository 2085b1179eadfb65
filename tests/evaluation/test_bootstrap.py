import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.evaluation.bootstrap import difference, interval, rates, resampled, resampling_unit, seed_of


EDITS, REFERENCE = [0, 1, 2, 0, 5, 1], [3, 4, 2, 6, 5, 10]
COUNTS = np.array([EDITS, REFERENCE]).T


def interval_of(edits: list[int], reference: list[int], resamples: int = 1000, **named: object) -> tuple[float, float]:
    sums = resampled(np.array([edits, reference]).T, resamples, **named)  # type: ignore[arg-type]
    return interval(rates(sums[:, 0], sums[:, 1]))


def width(bounds: tuple[float, float]) -> float:
    return bounds[1] - bounds[0]


@pytest.mark.parametrize(
    "edits, reference, expected",
    [
        ([1, 1, 1], [4, 4, 4], (0.25, 0.25)),  # every draw is the same
        ([0, 0], [3, 5], (0.0, 0.0)),
        ([7], [2], (3.5, 3.5)),  # over 1: insertions
        ([0, 1], [1, 1], (0.0, 1.0)),  # draws of two: 0, 1/2 and 1, each end with 25 %
        ([2, 0], [0, 0], (0.0, 4.0)),  # no reference words: the edits themselves, as jiwer has it
        ([9, 0], [9, 1], (0.0, 1.0)),  # rates of 0, 9/10 and 1, never the mean of 0 and 1
    ],
)
def test_by_hand(edits: list[int], reference: list[int], expected: tuple[float, float]) -> None:
    assert interval_of(edits, reference) == expected


def test_sums_equal_those_of_corpora_built_row_by_row() -> None:
    draw = np.random.default_rng(7)
    gathered = [COUNTS[draw.integers(6, size=6)].sum(axis=0) for _ in range(20)]
    np.testing.assert_array_equal(resampled(COUNTS, 20, seed=7), gathered)


def test_large_counts_stay_exact() -> None:
    counts = np.full((3, 1), 2**50 + 1)
    np.testing.assert_array_equal(resampled(counts, 5), np.full((5, 1), 3 * (2**50 + 1)))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from("abc")), min_size=1, max_size=20),
    st.booleans(),
)
def test_every_resample_has_as_many_units_as_the_corpus(rows: list[tuple[int, int, str]], by_group: bool) -> None:
    groups = [group for _, _, group in rows]
    ones = [1 / groups.count(group) for group in groups] if by_group else [1.0] * len(rows)
    counts = np.array([[edits, reference, one] for (edits, reference, _), one in zip(rows, ones, strict=True)])
    sums = resampled(counts, 10, groups if by_group else None)
    np.testing.assert_allclose(sums[:, 2], len(set(groups)) if by_group else len(rows))


def test_the_same_seed_gives_the_same_sums() -> None:
    np.testing.assert_array_equal(resampled(COUNTS, 50, seed=1), resampled(COUNTS, 50, seed=1))
    assert (resampled(COUNTS, 50, seed=1) != resampled(COUNTS, 50, seed=2)).any()


def test_the_seed_depends_only_on_the_name_of_the_corpus() -> None:
    assert seed_of("fleurs-gl") == 1200365731198059589  # another seed would change published intervals
    assert seed_of("a") != seed_of("b")


def test_the_sums_of_a_system_do_not_depend_on_other_systems() -> None:
    both = resampled(np.hstack([COUNTS, COUNTS[::-1]]), 50)
    np.testing.assert_array_equal(both[:, :2], resampled(COUNTS, 50))


def test_the_interval_is_about_the_corpus_rate() -> None:
    low, high = interval_of(EDITS, REFERENCE)
    assert 0 <= low < sum(EDITS) / sum(REFERENCE) < high <= 1


def test_more_utterances_give_a_narrower_interval() -> None:
    assert width(interval_of(EDITS * 50, REFERENCE * 50)) < width(interval_of(EDITS, REFERENCE)) / 3


def test_the_interval_covers_the_true_rate_in_95_percent_of_cases() -> None:
    draw, held = np.random.default_rng(0), 0
    for seed in range(300):
        reference = draw.integers(1, 20, size=100)
        low, high = interval_of(draw.binomial(reference, 0.1), reference, 200, seed=seed)
        held += low <= 0.1 <= high
    assert 0.9 < held / 300 < 0.98


def test_a_pool_keeps_the_share_of_each_corpus() -> None:
    parts = [np.tile([0, 10], (90, 1)), np.tile([5, 10], (10, 1))]
    pooled = sum(resampled(part, 200, seed=seed_of(str(index))) for index, part in enumerate(parts))
    assert interval(rates(pooled[:, 0], pooled[:, 1])) == (0.05, 0.05)  # without strata, it would be 4 to 16
    assert width(interval_of([0] * 90 + [5] * 10, [10] * 100)) > 0.04


def test_groups_are_resampled_completely() -> None:
    sums = resampled(np.array([[1], [10], [2], [20]]), 100, ["anna", "brais", "anna", "brais"])
    assert set(sums[:, 0]) == {6, 33, 60}


def test_groups_of_one_are_utterances() -> None:
    np.testing.assert_array_equal(resampled(COUNTS, 50, np.arange(6)), resampled(COUNTS, 50))


def test_a_single_group_gives_no_variance() -> None:
    np.testing.assert_array_equal(resampled(COUNTS, 3, ["anna"] * 6), [[9, 30]] * 3)


def test_differences_between_speakers_widen_the_interval() -> None:
    draw, speakers = np.random.default_rng(0), [f"speaker {index % 20}" for index in range(1000)]
    share = np.tile(draw.uniform(0.02, 0.4, size=20), 50)  # utterances 0, 20, 40, … have one speaker
    differ, equal = draw.binomial(10, share), draw.binomial(10, 0.2, size=1000)
    for edits, low, high in [(differ, 2.0, 6.0), (equal, 0.6, 1.5)]:
        ratio = width(interval_of(edits, [10] * 1000, groups=speakers)) / width(interval_of(edits, [10] * 1000))
        assert low < ratio < high


@pytest.mark.parametrize(
    "speakers, expected",
    [
        ([f"s{index % 10}" for index in range(30)], ("speaker", 10)),
        ([f"s{index % 9}" for index in range(30)], ("utterance", 30)),
        ([*(f"s{index}" for index in range(30)), ""], ("utterance", 31)),
        (["", ""], ("utterance", 2)),
    ],
)
def test_speakers_are_resampled_if_all_are_known_and_enough(speakers: list[str], expected: tuple[str, int]) -> None:
    assert resampling_unit(speakers) == expected


def test_utterances_and_a_group_for_each_are_required() -> None:
    with pytest.raises(ValueError, match="utterances"):
        resampled(np.zeros((0, 2)), 10)
    with pytest.raises(ValueError, match="2 groups for 6 utterances"):
        resampled(COUNTS, 10, ["anna", "brais"])


def test_rates_divide_by_reference_words_or_by_one() -> None:
    np.testing.assert_array_equal(rates(np.array([1.0, 3.0, 0.0]), np.array([4.0, 0.0, 0.0])), [0.25, 3.0, 0.0])


def test_identical_systems_have_no_difference() -> None:
    drawn = np.array([0.1, 0.2, 0.3])
    same = difference(0.2, 0.2, drawn, drawn)
    assert (same.value, same.ci95, same.p_value, same.verdict) == (0.0, (0.0, 0.0), 1.0, "no measurable difference")


@pytest.mark.parametrize(
    "first, p_value, verdict",
    [
        ([0.1] * 99, 2 / 100, "better"),  # never 0: the observed difference counts as one draw
        ([0.3] * 99, 2 / 100, "worse"),
        ([0.1] * 98 + [0.3], 4 / 100, "better"),
        ([0.3] * 98 + [0.1], 4 / 100, "worse"),
        ([0.1] * 90 + [0.3] * 9, 20 / 100, "no measurable difference"),
        ([0.1] * 50 + [0.3] * 49, 1.0, "no measurable difference"),
        ([0.1] * 90 + [0.2] * 9, 20 / 100, "no measurable difference"),  # the interval ends in 0
    ],
)
def test_differences_by_hand(first: list[float], p_value: float, verdict: str) -> None:
    found = difference(0.1, 0.2, np.array(first), np.full(99, 0.2))
    assert (found.p_value, found.verdict) == (pytest.approx(p_value), verdict)
    assert found.value == pytest.approx(-0.1)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=1, max_size=50))
def test_swapping_the_systems_swaps_the_verdict(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    ahead, back = difference(0.1, 0.2, first, second), difference(0.2, 0.1, second, first)
    opposite = {"better": "worse", "worse": "better"}
    assert back.verdict == opposite.get(ahead.verdict, ahead.verdict)
    assert back.p_value == ahead.p_value
    np.testing.assert_allclose(back.ci95, [-bound for bound in reversed(ahead.ci95)], atol=1e-12)


def test_pairing_detects_small_differences_on_the_same_utterances() -> None:
    draw = np.random.default_rng(0)
    reference = draw.integers(5, 15, size=400)
    hard = draw.binomial(reference, draw.choice([0.02, 0.6], size=400))
    easier = np.maximum(0, hard - (draw.random(400) < 0.1))  # one edit less in a tenth of the utterances
    sums = resampled(np.stack([easier, reference, hard, reference], axis=1), 1000)
    ours, theirs = rates(sums[:, 0], sums[:, 1]), rates(sums[:, 2], sums[:, 3])
    apart = resampled(np.stack([hard, reference], axis=1), 1000, seed=1)
    observed = easier.sum() / reference.sum(), hard.sum() / reference.sum()
    paired = difference(*observed, ours, theirs)
    unpaired = difference(*observed, ours, rates(apart[:, 0], apart[:, 1]))
    assert width(paired.ci95) < width(unpaired.ci95) / 5
    assert (paired.verdict, unpaired.verdict) == ("better", "no measurable difference")


def test_false_positives_are_rare() -> None:
    draw, called = np.random.default_rng(0), 0
    for seed in range(300):
        reference = draw.integers(1, 20, size=100)
        first, second = draw.binomial(reference, 0.1), draw.binomial(reference, 0.1)
        sums = resampled(np.stack([first, reference, second, reference], axis=1), 200, seed=seed)
        found = difference(0.0, 0.0, rates(sums[:, 0], sums[:, 1]), rates(sums[:, 2], sums[:, 3]))
        called += found.verdict != "no measurable difference"
    assert called / 300 < 0.1
