from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.loading import gather
from escoita.data.rows import Utterance, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Recipe, load_recipe
from escoita.training.preflight.checks import Finding
from escoita.training.preflight.model import DECODED, Sampled, find_corpora, spread
from tests.samples import RECIPE, tone, write_clip, write_manifest


GOOD: dict[str, Any] = {"audio_filepath": "good.wav", "text": "bir"}


def write(path: Path, rows: Sequence[dict[str, Any] | str]) -> None:
    write_manifest(path, list(rows))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_clip(tmp_path / "good.wav")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        RECIPE.replace("train.jsonl", f"{tmp_path}/train.jsonl").replace("test.jsonl", f"{tmp_path}/test.jsonl")
    )
    write(tmp_path / "test.jsonl", [GOOD] * 3)
    return load_recipe(path)


def looked_at(recipe: Recipe, sampled: Sampled | None = None) -> list[Finding]:
    return list(find_corpora(recipe, 30.0, ["<turn|>"], sampled or Sampled()))


def test_a_few_clips_of_many_are_decoded(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 500)
    sampled = Sampled()
    train, test = looked_at(recipe, sampled)
    assert (train.mark, train.about) == ("ok", "train clips")
    assert train.found == f"500 rows; {DECODED} of them decoded"
    assert test.found == "3 rows; 3 of them decoded"
    assert len(sampled.clips) == DECODED and not sampled.all_known and sampled.longest == 0.5


def test_lengths_that_the_corpus_claims_are_believed_up_to_the_limit(recipe: Recipe, tmp_path: Path) -> None:
    rows = [GOOD | {"duration": 1.0}] * 500 + [GOOD | {"duration": 20.0}, GOOD | {"duration": 90.0}]
    write(tmp_path / "train.jsonl", rows)
    sampled = Sampled()
    train, _ = looked_at(recipe, sampled)
    assert sampled.all_known and sampled.longest == 20.0
    assert "0.2 h by their own account" in train.found


def test_one_corpus_that_is_not_there_hides_no_other(recipe: Recipe) -> None:
    train, test = looked_at(recipe)
    assert train.mark == "refusal" and "train.jsonl: cannot be read" in train.found
    assert test.mark == "ok"


def test_what_training_does_not_read_is_no_reason_to_refuse_it(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 3)
    write(tmp_path / "test.jsonl", [])
    corpora = recipe.corpora.model_copy(update={"validation": recipe.corpora.test})
    for strategy, mark in {None: "refusal", "steps": "refusal", False: "warning"}.items():
        said = {} if strategy is None else {"eval_strategy": strategy}
        asked = recipe.model_copy(update={"corpora": corpora, "training": recipe.training | said})
        train, validation, test = looked_at(asked)
        assert (train.mark, validation.mark, test.mark) == ("ok", mark, "warning")
        assert "has no rows; training does not read it" in test.found


def test_rows_that_cannot_be_used_are_named(recipe: Recipe, tmp_path: Path) -> None:
    write_clip(tmp_path / "long.wav", tone(seconds=31))
    missing = GOOD | {"audio_filepath": "missing.wav"}
    write(tmp_path / "train.jsonl", [GOOD] * 99 + [missing])
    write(tmp_path / "test.jsonl", [GOOD] * 3 + [GOOD | {"audio_filepath": "long.wav"}])
    train, test = looked_at(recipe)
    assert train.mark == "warning" and "of which 1 cannot be used" in train.found
    assert "missing.wav: no such file" in train.details[0]
    assert test.mark == "ok", "in evaluation long recordings are cut"
    write(tmp_path / "train.jsonl", [GOOD] * 3 + [missing, GOOD | {"audio_filepath": "long.wav"}])
    train, _ = looked_at(recipe)
    assert train.mark == "refusal" and len(train.details) == 2 and "max_rejected_share" in train.advice


@pytest.mark.parametrize("good, malformed, share", [(4, 0, 0.01), (4, 0, 0.2), (98, 1, 0.01), (98, 1, 0.02)])
def test_a_corpus_that_is_heard_whole_is_judged_as_training_judges_it(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: int, malformed: int, share: float
) -> None:
    missing = GOOD | {"audio_filepath": "missing.wav"}
    write(tmp_path / "train.jsonl", [GOOD] * good + [missing] + ["{"] * malformed)
    corpora = recipe.corpora.model_copy(update={"max_rejected_share": share})
    monkeypatch.setattr("escoita.training.preflight.model.DECODED", 1000)
    train, _ = looked_at(recipe.model_copy(update={"corpora": corpora}))
    try:
        gather(corpora.train, "gl", 30.0, share)
        assert train.mark == "warning"
    except CorpusError:
        assert train.mark == "refusal"


def test_rows_without_a_text_are_counted_over_the_whole_corpus(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 300 + ["{"])
    train, _ = looked_at(recipe)
    assert train.mark == "warning" and "1 rows without recording or text" in train.found
    write(tmp_path / "train.jsonl", [GOOD] * 300 + ["{"] * 5)
    train, _ = looked_at(recipe)
    assert train.mark == "refusal"


@given(st.lists(st.one_of(st.none(), st.floats(0, 40)), max_size=60), st.integers(1, 20))
def test_a_sample_has_the_first_the_last_and_the_longest(claims: list[float | None], count: int) -> None:
    rows = Utterances.of(
        Utterance(f"{row}", "a.wav", "un", "c", "gl", "m", row, duration=claim) for row, claim in enumerate(claims)
    )
    chosen = spread(rows, count)
    assert len(np.unique(chosen)) == len(chosen) <= count + 1
    if claims:
        longest = max(claim or 0.0 for claim in claims)
        assert 0 in chosen and (count == 1 or len(claims) - 1 in chosen)
        assert any((claims[index] or 0.0) == longest for index in chosen)


def test_weights_that_leave_no_clip_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 10)
    (corpus,) = recipe.corpora.train
    corpora = recipe.corpora.model_copy(update={"train": [corpus.model_copy(update={"weight": 0.01})]})
    found = looked_at(recipe.model_copy(update={"corpora": corpora}))
    assert [finding.about for finding in found if finding.mark == "refusal"] == ["train"]


def test_silence_is_refused_and_some_of_it_is_counted(recipe: Recipe, tmp_path: Path) -> None:
    write_clip(tmp_path / "silent.wav", tone(level=0))
    write_clip(tmp_path / "inverted.wav", np.stack([tone(), -tone()], axis=1))
    silent, inverted = GOOD | {"audio_filepath": "silent.wav"}, GOOD | {"audio_filepath": "inverted.wav"}
    write(tmp_path / "train.jsonl", [silent] * 500)
    train, _ = looked_at(recipe)
    assert train.mark == "refusal" and "audible" in train.found
    write(tmp_path / "train.jsonl", [silent, inverted, inverted, GOOD])
    warned, counted, read, _ = looked_at(recipe)
    assert [each.mark for each in (warned, counted, read)] == ["warning", "warning", "ok"]
    assert "1 of 4" in warned.found and "2 of 4" in counted.found
