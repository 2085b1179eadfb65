from dataclasses import dataclass
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from escoita.inference.batching import batches_by_language, batches_by_seconds, next_batch


@dataclass(frozen=True, eq=False)
class RequestSegment:
    seconds: float
    batch_key: str = "a"


SEGMENTS = st.lists(st.builds(RequestSegment, st.floats(0.05, 30), st.sampled_from("ab")), min_size=1, max_size=60)


@given(st.lists(st.floats(0, 40)), st.floats(0.5, 200))
def test_batches_contain_every_clip_once_the_longest_first(lengths: list[float], budget: float) -> None:
    batches = list(batches_by_seconds(lengths, budget))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths, reverse=True)
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget for batch in batches)
    # No batch has room for the next clip.
    assert all((len(batch) + 1) * lengths[batch[0]] > budget for batch in batches[:-1])


@given(SEGMENTS, st.floats(1, 200), st.integers(1, 40))
def test_a_batch_has_one_key_similar_lengths_and_its_limits(
    segments: list[RequestSegment], budget: float, max_rows: int
) -> None:
    batch = next_batch(segments, budget, max_rows)
    lengths = [segment.seconds for segment in batch]
    assert len({id(segment) for segment in batch}) == len(batch) <= max_rows
    assert len({segment.batch_key for segment in batch}) == 1
    assert max(lengths) <= max(2 * min(lengths), min(lengths) + 4)
    assert len(batch) == 1 or len(batch) * max(lengths) <= budget


@given(SEGMENTS, st.floats(1, 200))
def test_the_first_segment_is_in_the_next_batch(segments: list[RequestSegment], budget: float) -> None:
    assert next_batch(segments, budget)[0] is segments[0]


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["gl", "uz", "es"]))), st.floats(0.5, 200))
def test_a_batch_has_one_language_and_batches_are_grouped_by_language(
    clips: list[tuple[float, str]], budget: float
) -> None:
    lengths, languages = [length for length, _ in clips], [language for _, language in clips]
    batches = list(batches_by_language(lengths, languages, budget))
    assert sorted(index for _, batch in batches for index in batch) == list(range(len(clips)))
    assert all({languages[index] for index in batch} == {language} for language, batch in batches)
    order = [language for language, _ in batches]
    assert [language for language, _ in groupby(order)] == list(dict.fromkeys(order))
    if len(set(languages)) == 1:
        assert [batch for _, batch in batches] == list(batches_by_seconds(lengths, budget))
