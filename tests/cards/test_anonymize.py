from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.cards.anonymize import (
    NO_TEXT,
    SpeakerMismatchError,
    anonymized_data,
    anonymized_evaluation,
    anonymized_row,
    anonymized_training,
    private_corpora,
)
from escoita.evaluation.aggregate import score
from escoita.evaluation.predictions import public_speakers
from escoita.recipe.schema import Recipe
from escoita.records.data import Clip, Pair
from escoita.records.evaluation import EvaluationRecord, Slice
from tests.cards.samples import data, evaluation, leak, recipe, result, training
from tests.evaluation.samples import write_rows


def withholding_recipe(split: str = "test") -> Recipe:
    """Return a recipe that withholds the transcripts of one split of its corpus."""
    document = recipe().model_dump(mode="json")
    document["corpora"][split][0]["publish_references"] = False
    return Recipe.model_validate(document)


def sliced(*values: str) -> EvaluationRecord:
    parts = [Slice(by="speaker", value=value, n=1, reference_words=1, wer={"adapter": 0.0}) for value in values]
    return evaluation(result(slices=[Slice(by="duration", value="0-2 s", n=1, reference_words=1, wer={}), *parts]))


def names(record: EvaluationRecord) -> list[str]:
    return [part.value for part in record.corpora[0].slices if part.by == "speaker"]


def redacted(record: EvaluationRecord, speakers: dict[str, str]) -> EvaluationRecord:
    return anonymized_evaluation(record, {"clips": speakers}, "user/base", "ab" * 32)


def test_private_corpora_by_split_and_name() -> None:
    assert private_corpora(recipe()) == set()
    assert private_corpora(withholding_recipe("train")) == {("train", "clips")}


def test_only_speakers_are_renamed() -> None:
    public = redacted(sliced("f3", "f1", "not stated"), {"": "", "f1": "s001", "f3": "s002"})
    assert names(public) == ["s002", "s001", "not stated"]
    assert public.corpora[0].slices[0].value == "0-2 s" and public.pooled == sliced().pooled


def test_speakers_with_the_name_of_the_rest_are_speakers() -> None:
    assert names(redacted(sliced("not stated", "not stated"), {"": "", "not stated": "s001"})) == [
        "s001",
        "not stated",
    ]
    many = {f"f{place:02}": f"s{place + 1:03}" for place in range(40)}
    public = redacted(sliced(*list(many)[:30], "others (10)"), many)
    assert names(public) == [*list(many.values())[:30], "others (10)"]
    public = redacted(sliced(*list(many)[:30], "others (10)", "not stated"), many | {"": ""})
    assert names(public)[-3:] == ["s030", "others (10)", "not stated"]


def test_speakers_of_other_predictions_are_not_published() -> None:
    for speakers in ({}, {"f1": "s001"}, {"f1": "s001", "f2": "s002", "": ""}):
        with pytest.raises(SpeakerMismatchError):
            redacted(sliced("maria"), speakers)


@given(st.lists(st.sampled_from(["", "f1", "not stated", "others (2)", *"abcdefghij"]), min_size=1, max_size=50))
def test_renamed_slices_equal_those_of_renamed_predictions(
    tmp_path_factory: pytest.TempPathFactory, speakers: list[str]
) -> None:
    folder: Path = tmp_path_factory.mktemp("predictions")
    public = public_speakers(speakers)
    rows = [(f"bir {'a ' * place}", "bir") for place in range(len(speakers))]
    write_rows(folder / "a", rows, systems=["adapter"], known=[{"speaker": who} for who in speakers])
    write_rows(folder / "b", rows, systems=["adapter"], known=[{"speaker": public[who]} for who in speakers])
    known = {who: name for who, name in public.items() if who in speakers}
    assert redacted(score(folder / "a", resamples=3), known).corpora == score(folder / "b", resamples=3).corpora


def test_a_base_has_its_published_name() -> None:
    public = redacted(evaluation(), {})
    assert {system.base for system in public.systems} == {"user/base"}
    other = anonymized_evaluation(evaluation(), {}, "user/base", "00" * 32)
    assert {system.base for system in other.systems} == {"./quickstart/gemma4"}


@pytest.mark.parametrize(
    "row, public, hide_text",
    [
        ("train.jsonl:3: maria/7.wav: no audio", "train.jsonl:3: no audio", "train.jsonl:3: not used"),
        ("t.csv:12: row: empty transcript", "t.csv:12: empty transcript", "t.csv:12: not used"),
        ("t.csv:3: 'a.wav': cannot: no", "t.csv:3: cannot: no", "t.csv:3: not used"),
        ("t.csv:3: no audio", "t.csv:3: no audio", "t.csv:3: not used"),
        ("nothing known", "a row: not used", "a row: not used"),
    ],
)
def test_rejected_rows_keep_their_position(row: str, public: str, hide_text: str) -> None:
    assert (anonymized_row(row, hide_text=False), anonymized_row(row, hide_text=True)) == (public, hide_text)


def test_reasons_are_kept_unless_they_can_contain_a_transcript() -> None:
    record = training(rejected=["t.csv:3: a.wav: language 'bir ikki' is no code"])
    assert anonymized_training(record, recipe(), "user/base").rejected == ["t.csv:3: language 'bir ikki' is no code"]
    assert anonymized_training(record, withholding_recipe("test"), "user/base").rejected[0].endswith("no code")
    assert anonymized_training(record, withholding_recipe("train"), "user/base").rejected == ["t.csv:3: not used"]
    assert anonymized_training(record, recipe(), "user/base").base == "user/base"


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_text_that_is_withheld_in_one_split_is_removed_from_both(split: str) -> None:
    record = data(leak("transcript", 2))
    assert anonymized_data(record, recipe()) == record
    public = anonymized_data(record, withholding_recipe(split))
    for pair in public.leaks[0].examples:
        assert (pair.clip.text, pair.like.text, pair.clip.id) == (NO_TEXT, NO_TEXT, "t-7")
    assert anonymized_data(public, withholding_recipe(split)) == public


def test_the_id_of_a_clip_names_no_speaker() -> None:
    clip = Clip(split="train", corpus="clips", id="maria_1", text="a", public_id="speaker_1")
    record = data(leak("speaker", 1, examples=[Pair(clip=clip, like=clip)]))
    public = anonymized_data(record, recipe())
    assert "maria" not in public.model_dump_json() and public.leaks[0].examples[0].clip.id == "speaker_1"
    assert anonymized_data(public, recipe()) == public
