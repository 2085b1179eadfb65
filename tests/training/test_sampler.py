import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.loading import Gathered, weighted
from escoita.data.rows import Utterance, Utterances
from escoita.errors import RecipeError
from escoita.recipe.schema import Corpus
from escoita.training.datasets import table
from escoita.training.sampler import STRATEGIES, Batches, data_seed, longest_first, padding_share
from tests.conftest import CORPUS


LENGTHS = np.random.default_rng(0).gamma(3.0, 2.0, 500)


def batches_of(epoch: int = 0, **options) -> list[list[int]]:
    batches = Batches(LENGTHS, **({"batch_size": 8} | options))
    batches.set_epoch(epoch)
    assert len(list(batches)) == len(batches)
    return list(batches)


def clips_of(batches: list[list[int]]) -> list[int]:
    return [clip for batch in batches for clip in batch]


@given(
    clips=st.integers(1, 200),
    batch_size=st.integers(1, 9),
    accumulation=st.integers(1, 5),
    processes=st.integers(1, 4),
    strategy=st.sampled_from(STRATEGIES),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_processes_share_the_clips_of_an_epoch_equally(
    clips: int, batch_size: int, accumulation: int, processes: int, strategy: str, epoch: int, seed: int
) -> None:
    lengths = np.random.default_rng(clips).integers(1, 3000, clips)
    shares = []
    for rank in range(processes):
        batches = Batches(lengths, batch_size, accumulation, strategy, seed, processes, rank)
        batches.set_epoch(epoch)
        shares.append(list(batches))
        assert len(shares[-1]) == len(batches)
        assert all(1 <= len(batch) <= batch_size for batch in shares[-1])
    single = Batches(lengths, batch_size * processes, accumulation, strategy, seed)
    single.set_epoch(epoch)
    for batches_of_step, batch in zip(zip(*shares, strict=True), single, strict=True):
        found = clips_of(list(batches_of_step))
        assert found == batch or (len(batch) < processes and set(found) == set(batch))
    assert sorted(clips_of(list(single))) == list(range(clips))


def test_an_epoch_does_not_depend_on_earlier_draws() -> None:
    np.random.seed(1)
    fresh = Batches(LENGTHS, 8, seed=7)
    fresh.set_epoch(2)
    used = Batches(LENGTHS, 8, seed=7)
    for epoch in range(3):
        used.set_epoch(epoch)
        np.random.random(epoch)
        batches = list(used)
    assert batches == list(fresh)


@pytest.mark.parametrize("strategy", ["group_by_length", "random"])
def test_epochs_and_seeds_differ(strategy: str) -> None:
    drawn = [batches_of(epoch, seed=seed, strategy=strategy) for epoch in (0, 1) for seed in (0, 1)]
    assert len({tuple(clips_of(batches)) for batches in drawn}) == 4


def test_sequential_is_the_order_of_the_corpora() -> None:
    assert clips_of(batches_of(3, strategy="sequential")) == list(range(500))


def test_only_the_first_epoch_begins_with_the_longest_clips() -> None:
    assert LENGTHS[batches_of()[0]].max() == LENGTHS.max()
    assert any(LENGTHS[batches_of(epoch)[0]].max() < LENGTHS.max() for epoch in range(1, 5))


def test_the_order_of_steps_does_not_depend_on_length() -> None:
    means = [LENGTHS[batch].mean() for batch in batches_of(1)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.35


def test_steps_hold_similar_lengths_for_any_number_of_processes() -> None:
    steps = batches_of(1, batch_size=64)
    shares = [batches_of(1, batch_size=8, accumulation=4, processes=2, rank=rank) for rank in (0, 1)]
    found = [clips_of([*first, *second]) for first, second in zip(fours(shares[0]), fours(shares[1]), strict=True)]
    assert [sorted(step) for step in found] == [sorted(step) for step in steps]
    assert padding_share(LENGTHS, [*shares[0], *shares[1]]) < 0.5 * padding_share(
        LENGTHS, batches_of(1, strategy="random")
    )


def fours(batches: list[list[int]]) -> list[list[list[int]]]:
    return [batches[start : start + 4] for start in range(0, len(batches), 4)]


def test_padding_of_the_quick_start_is_below_a_tenth() -> None:
    rows = (CORPUS / "train.jsonl").read_text("utf-8").splitlines()
    lengths = np.array([json.loads(row)["duration"] for row in rows])
    for epoch in range(4):
        batches = Batches(lengths, 16, seed=3407)
        batches.set_epoch(epoch)
        assert padding_share(lengths, list(batches)) < 0.10


def test_incomplete_batches_can_be_dropped() -> None:
    batches = batches_of(batch_size=8, processes=3, drop_last=True)
    assert len(batches) == 500 // 24 and {len(batch) for batch in batches} == {8}


def test_unknown_strategies_and_empty_epochs_are_refused() -> None:
    with pytest.raises(RecipeError) as error:
        Batches(LENGTHS, 8, strategy="by_luck")
    assert (error.value.key, error.value.value) == ("training.train_sampling_strategy", "by_luck")
    with pytest.raises(RecipeError) as error:
        Batches(LENGTHS, 600, drop_last=True)
    assert error.value.key == "training.dataloader_drop_last"


def test_evaluation_begins_with_the_longest() -> None:
    assert longest_first([3, 5, 5, 1]) == [1, 2, 0, 3]


def test_clips_are_repeated_by_the_weight_of_their_corpus() -> None:
    corpora = [Corpus(name="twice", path="a", weight=2), Corpus(name="half", path="b", weight=0.5)]
    gathered: Gathered = {
        corpus.name: (
            Utterances.of(
                Utterance(f"{row}", "a.wav", "un", corpus.name, "gl", "m", row, audio_seconds=1 + row / 7)
                for row in range(10)
            ),
            [],
        )
        for corpus in corpora
    }
    rows = table(weighted(gathered, corpora, seed=1))
    shares = [Batches(np.array(rows["length"][:]), 5, 2, processes=2, rank=rank) for rank in (0, 1)]
    drawn = [rows[clip]["corpus"] for share in shares for clip in clips_of(list(share))]
    assert (drawn.count("twice"), drawn.count("half")) == (20, 5)


def test_data_seed_takes_precedence_over_seed() -> None:
    assert data_seed(SimpleNamespace(seed=3, data_seed=None)) == 3
    assert data_seed(SimpleNamespace(seed=3, data_seed=0)) == 0
