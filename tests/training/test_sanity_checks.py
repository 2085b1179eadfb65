from types import SimpleNamespace
from typing import Any

import pytest
import torch

from escoita.errors import TrainingError
from escoita.models.chat import IGNORED, ChatFamily
from escoita.models.gemma4 import Gemma4Family
from escoita.models.phi4 import Phi4Family
from escoita.recipe.schema import Expectation
from escoita.training.sanity_checks import check_batch, check_precision_of_steps, check_trainable, count_trainable


class LetterFamily(ChatFamily):
    """Each letter is a token, `.` ends the turn."""

    end_of_target = "."


def letters(text: str, add_special_tokens: bool) -> dict[str, list[int]]:
    assert not add_special_tokens
    return {"input_ids": [ord(letter) for letter in text]}


PROCESSOR: Any = SimpleNamespace(tokenizer=letters)
TEXTS = ["un", "dous"]


def good_batch() -> dict[str, torch.Tensor]:
    rows = [f"prompt{text}." for text in TEXTS]
    length = max(map(len, rows))
    ids = torch.tensor([[0] * (length - len(row)) + [ord(letter) for letter in row] for row in rows])
    labels = torch.full_like(ids, IGNORED)
    for row, text in enumerate(TEXTS):
        labels[row, -len(text) - 1 :] = ids[row, -len(text) - 1 :]
    return {"input_ids": ids, "labels": labels, "input_features": torch.ones(2, 5, 3)}


def refusal(batch: dict[str, torch.Tensor]) -> str:
    with pytest.raises(TrainingError) as error:
        check_batch(LetterFamily(), PROCESSOR, batch, TEXTS)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_good_batch_passes() -> None:
    assert check_batch(LetterFamily(), PROCESSOR, good_batch(), TEXTS) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "features", [None, torch.zeros(2, 5, 3), torch.ones(1, 5, 3), torch.ones(0, 5, 3), torch.ones(2, 0, 3)]
)
def test_a_batch_without_audio(features: torch.Tensor | None) -> None:
    batch = good_batch()
    del batch["input_features"]
    if features is not None:
        batch["input_features"] = features
    assert refusal(batch) == "the batch holds no audio for its 2 clips: the model would learn text alone"


@pytest.mark.parametrize(
    "row, column, label",
    [
        (0, -4, ord("t")),  # the prompt's last letter carries loss
        (1, 0, ord("p")),  # its first
        (1, -1, IGNORED),  # the end of the turn carries none
        (1, -3, IGNORED),  # a letter of the transcript carries none
        (0, -2, ord("x")),  # another letter is asked for
    ],
)
def test_labels_that_are_not_on_the_transcript(row: int, column: int, label: int) -> None:
    batch = good_batch()
    batch["labels"][row, column] = label
    assert refusal(batch).startswith(f"labels of {TEXTS[row]!r} are not on its transcript alone")


def test_labels_that_the_model_does_not_see() -> None:
    batch = good_batch()
    batch["input_ids"][0, -2] = ord("x")
    assert refusal(batch) == "the model does not see what it is asked to say of 'un'"


def test_the_prompt_alone() -> None:
    batch = good_batch()
    batch["labels"][:] = IGNORED
    assert refusal(batch).startswith("labels of 'un'")


def test_trainable_parameters_are_counted_by_tower() -> None:
    model = torch.nn.ModuleDict(
        {"audio_tower": torch.nn.Linear(3, 4), "text": torch.nn.Linear(2, 2), "lm_head": torch.nn.Linear(5, 1)}
    )
    model["audio_tower"].bias.requires_grad = False
    model["lm_head"].requires_grad_(False)
    assert count_trainable(LetterFamily(), model) == {"audio": 12, "language": 6}
    model["audio_tower"].requires_grad_(False)
    assert count_trainable(LetterFamily(), model) == {"audio": 0, "language": 6}


COUNTS = {"audio": 0, "vision": 0, "language": 1234}


@pytest.mark.parametrize(
    "expected",
    [
        {"language": "some"},
        {"language": 1234},
        {"language": "some", "audio": "none", "vision": 0},
    ],
)
def test_what_trains_is_as_the_recipe_says(expected: dict[str, Expectation]) -> None:
    assert check_trainable(COUNTS, expected) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "expected, said",
    [
        ({}, "method.trainable.language: the recipe says none, but 1,234 parameters would be trained; the method"),
        ({"language": "none"}, "method.trainable.language: the recipe says none, but 1,234"),
        ({"language": 1235}, "method.trainable.language: the recipe says 1235, but 1,234"),
        ({"language": 0}, "method.trainable.language: the recipe says 0, but 1,234"),
        ({"language": "some", "audio": "some"}, "method.trainable.audio: the recipe says some, but 0 parameters"),
        ({"language": "some", "audio": 7}, "method.trainable.audio: the recipe says 7, but 0 parameters"),
        ({"language": "some", "speech": "some"}, "method.trainable.speech: the model has no such tower, only audio,"),
    ],
)
def test_what_trains_is_not_as_the_recipe_says(expected: dict[str, Expectation], said: str) -> None:
    with pytest.raises(TrainingError) as error:
        check_trainable(COUNTS, expected)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_fp16_is_refused_where_it_trains_nothing() -> None:
    check_precision_of_steps(Gemma4Family(), fp16=False)
    check_precision_of_steps(Phi4Family(), fp16=True)
    with pytest.raises(TrainingError, match=r"^training\.fp16: gemma4 does not train under it; set training\.bf16"):
        check_precision_of_steps(Gemma4Family(), fp16=True)
