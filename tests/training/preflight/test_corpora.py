import re
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
from escoita.training.preflight.corpora import DECODED, Sampled, find_corpora, known_seconds, spread
from tests.samples import RECIPE, melody, tone, write_clip, write_manifest


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


def findings(recipe: Recipe, sampled: Sampled | None = None) -> list[Finding]:
    return list(find_corpora(recipe, 30.0, ["<turn|>"], sampled or Sampled()))


def test_a_few_clips_of_many_are_decoded(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 500)
    sampled = Sampled()
    train, test = findings(recipe, sampled)
    assert (train.mark, train.about) == ("ok", "train clips")
    assert re.findall(r"\d+", train.found) == ["500", str(DECODED)] and re.findall(r"\d+", test.found) == ["3", "3"]
    assert len(sampled.clips) == DECODED and not sampled.all_known and sampled.longest == 0.5


def test_stated_durations_are_used_up_to_the_limit(recipe: Recipe, tmp_path: Path) -> None:
    rows = [GOOD | {"duration": 1.0}] * 500 + [GOOD | {"duration": 20.0}, GOOD | {"duration": 90.0}]
    write(tmp_path / "train.jsonl", rows)
    sampled = Sampled()
    train, _ = findings(recipe, sampled)
    assert sampled.all_known and sampled.longest == 20.0
    assert "0.2 h" in train.found


def test_lengths_that_an_earlier_command_measured_are_known(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 500)
    findings(recipe, Sampled())  # decodes the clip, whose length is then in the cache
    sampled = Sampled()
    findings(recipe, sampled)
    assert sampled.all_known and sampled.longest == 0.5
    assert known_seconds(sampled.rows[0]).tolist() == [0.5] * 500


def test_a_missing_corpus_does_not_hide_the_others(recipe: Recipe) -> None:
    train, test = findings(recipe)
    assert train.mark == "refusal" and isinstance(train.error, CorpusError)
    assert test.mark == "ok"


def test_corpora_that_training_does_not_read_are_warnings(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 3)
    write(tmp_path / "test.jsonl", [])
    corpora = recipe.corpora.model_copy(update={"validation": recipe.corpora.test})
    for strategy, mark in {None: "refusal", "steps": "refusal", False: "warning"}.items():
        fields = {} if strategy is None else {"eval_strategy": strategy}
        changed = recipe.model_copy(update={"corpora": corpora, "training": recipe.training | fields})
        train, validation, test = findings(changed)
        assert (train.mark, validation.mark, test.mark) == ("ok", mark, "warning")


def test_unusable_rows_are_listed(recipe: Recipe, tmp_path: Path) -> None:
    write_clip(tmp_path / "long.wav", melody(31))
    missing = GOOD | {"audio_filepath": "missing.wav"}
    write(tmp_path / "train.jsonl", [GOOD] * 99 + [missing])
    write(tmp_path / "test.jsonl", [GOOD] * 3 + [GOOD | {"audio_filepath": "long.wav"}])
    train, test = findings(recipe)
    assert train.mark == "warning" and "missing.wav" in train.details[0]
    assert test.mark == "ok", "evaluation splits long recordings"
    write(tmp_path / "train.jsonl", [GOOD] * 3 + [missing, GOOD | {"audio_filepath": "long.wav"}])
    train, _ = findings(recipe)
    assert train.mark == "refusal" and len(train.details) == 2 and "max_rejected_share" in train.advice


@pytest.mark.parametrize("good, malformed, share", [(4, 0, 0.01), (4, 0, 0.2), (98, 1, 0.01), (98, 1, 0.02)])
def test_a_fully_decoded_corpus_is_checked_as_in_training(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: int, malformed: int, share: float
) -> None:
    missing = GOOD | {"audio_filepath": "missing.wav"}
    write(tmp_path / "train.jsonl", [GOOD] * good + [missing] + ["{"] * malformed)
    corpora = recipe.corpora.model_copy(update={"max_rejected_share": share})
    monkeypatch.setattr("escoita.training.preflight.corpora.DECODED", 1000)
    train, _ = findings(recipe.model_copy(update={"corpora": corpora}))
    try:
        gather(corpora.train, "gl", 30.0, share)
        assert train.mark == "warning"
    except CorpusError:
        assert train.mark == "refusal"


def test_rows_without_text_count_in_the_entire_corpus(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 300 + ["{"])
    train, _ = findings(recipe)
    assert train.mark == "warning" and re.findall(r"\d+", train.found) == ["300", str(DECODED), "1"]
    write(tmp_path / "train.jsonl", [GOOD] * 300 + ["{"] * 5)
    train, _ = findings(recipe)
    assert train.mark == "refusal"


@given(st.lists(st.one_of(st.none(), st.floats(0, 40)), max_size=60), st.integers(1, 20))
def test_a_sample_has_the_first_the_last_and_the_longest_row(claims: list[float | None], count: int) -> None:
    rows = Utterances.of(
        Utterance(f"{row}", "a.wav", "un", "c", "gl", "m", row, duration=claim) for row, claim in enumerate(claims)
    )
    chosen = spread(rows, count)
    assert len(np.unique(chosen)) == len(chosen) <= count + 1
    if claims:
        longest = max(claim or 0.0 for claim in claims)
        assert 0 in chosen and (count == 1 or len(claims) - 1 in chosen)
        assert any((claims[index] or 0.0) == longest for index in chosen)


def test_weights_without_a_clip_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD] * 10)
    (corpus,) = recipe.corpora.train
    corpora = recipe.corpora.model_copy(update={"train": [corpus.model_copy(update={"weight": 0.01})]})
    found = findings(recipe.model_copy(update={"corpora": corpora}))
    assert [finding.about for finding in found if finding.mark == "refusal"] == ["train"]


def test_silent_corpora_are_refused_and_silent_clips_counted(recipe: Recipe, tmp_path: Path) -> None:
    write_clip(tmp_path / "silent.wav", tone(level=0))
    write_clip(tmp_path / "inverted.wav", np.stack([tone(), -tone()], axis=1))
    silent, inverted = GOOD | {"audio_filepath": "silent.wav"}, GOOD | {"audio_filepath": "inverted.wav"}
    write(tmp_path / "train.jsonl", [silent] * 500)
    train, _ = findings(recipe)
    assert train.mark == "refusal" and isinstance(train.error, CorpusError)
    write(tmp_path / "train.jsonl", [silent, inverted, inverted, GOOD])
    warned, counted, read, _ = findings(recipe)
    assert [each.mark for each in (warned, counted, read)] == ["warning", "warning", "ok"]
    assert "1 of 4" in warned.found and "2 of 4" in counted.found
