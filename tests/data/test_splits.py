"""Check that training shares no speaker and no sentence with the test, in every corpus that can be divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.splits import SplitError, divide, divide_training


CLIPS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["", "x", "y", "z"])), min_size=2, max_size=60)


@given(CLIPS, st.integers(0, 5))
def test_splits_share_no_sentence_and_no_speaker(clips: list[tuple[str, str]], seed: int) -> None:
    texts, speakers = [text for text, _ in clips], [speaker for _, speaker in clips]
    if len(set(texts)) < 2:
        with pytest.raises(SplitError):
            divide(texts, speakers, seed)
        return
    splits = divide(texts, speakers, seed)
    sentences, people = (
        {
            name: {value for value, split in zip(values, splits.names, strict=True) if split == name} - {""}
            for name in ("train", "validation", "test")
        }
        for values in (texts, speakers)
    )
    assert splits.count("train") and splits.count("test")
    for held_out in ("validation", "test"):
        assert not sentences[held_out] & sentences["train"]
    assert not sentences["validation"] & sentences["test"]
    if splits.by == "speaker":
        assert not people["test"] & (people["train"] | people["validation"]) and people["test"]
    else:
        assert splits.count(None) == 0 or len(set(speakers) - {""}) > 1
    if len(set(speakers) - {""}) < 2:
        assert splits.by == "clip" and splits.count(None) == 0
    assert divide(texts, speakers, seed) == splits


def test_whole_speakers_are_held_out() -> None:
    speakers = [f"s{index % 10}" for index in range(400)]
    splits = divide([f"sentence {index}" for index in range(400)], speakers)
    assert splits.by == "speaker"
    assert (splits.count("test"), splits.count("validation"), splits.count(None)) == (40, 40, 0)


def test_prompts_that_all_speakers_read_are_divided_too() -> None:
    speakers = [f"s{index // 20}" for index in range(200)]
    splits = divide([f"prompt {index % 20}" for index in range(200)], speakers)
    assert splits.by == "speaker" and splits.count("test") >= 10 and splits.count("train") >= 50


def test_sentences_differ_by_letters_and_digits_only() -> None:
    splits = divide(["Bo día!", "bo día", "ata mañá", "Ata mañá."], [""] * 4)
    assert splits.by == "clip" and splits.names[0] == splits.names[1] and splits.names[2] == splits.names[3]


def test_the_seed_decides() -> None:
    texts, speakers = [f"sentence {index}" for index in range(100)], [""] * 100
    assert divide(texts, speakers, 1) != divide(texts, speakers, 2)


def test_training_data_with_a_test_gets_validation_clips() -> None:
    names = divide_training([f"sentence {index}" for index in range(50)], ["a", "b"] * 25)
    assert set(names) == {"train", "validation"}
    assert divide_training(["bo"], [""]) == ["train"]
