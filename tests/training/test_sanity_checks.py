import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from escoita.errors import TrainingError, UntrainedError
from escoita.models.chat import ChatFamily
from escoita.models.gemma4 import Gemma4Family
from escoita.models.phi4 import Phi4Family
from escoita.models.trainable import IGNORED
from escoita.recipe.schema import Expectation
from escoita.training.sanity_checks import (
    MAX_SKIPPED,
    DivergedError,
    GradientWatch,
    InitialWeights,
    LabelError,
    MissingAudioError,
    TrainableError,
    ZeroGradientError,
    ZeroMatrixError,
    check_batch,
    check_precision_of_steps,
    check_trainable,
    check_trained,
    checksums,
    count_trainable,
    is_zero_at_first,
)


class LetterFamily(ChatFamily):
    """Use each letter as a token, and `.` as the end of the turn."""

    end_of_target = "."


def letters(texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
    assert not add_special_tokens
    return {"input_ids": [[ord(letter) for letter in text] for text in texts]}


PROCESSOR: Any = SimpleNamespace(tokenizer=letters)
TEXTS = ["un", "dous"]


def good_batch() -> dict[str, torch.Tensor]:
    rows = [f"prompt{text}." for text in TEXTS]
    length = max(map(len, rows))
    ids = torch.tensor([[0] * (length - len(row)) + [ord(letter) for letter in row] for row in rows])
    labels = torch.full_like(ids, IGNORED)
    for row, text in enumerate(TEXTS):
        labels[row, -len(text) - 1 :] = ids[row, -len(text) - 1 :]
    return {"input_ids": ids, "attention_mask": ids.ne(0), "labels": labels, "input_features": torch.ones(2, 5, 3)}


def refused(batch: dict[str, torch.Tensor]) -> tuple[str, str]:
    """Return transcript and tensor of the error."""
    with pytest.raises(LabelError) as error:
        check_batch(LetterFamily(), PROCESSOR, batch, TEXTS)
    assert "\n" not in str(error.value)
    return error.value.value, error.value.field


def test_a_good_batch_passes() -> None:
    assert check_batch(LetterFamily(), PROCESSOR, good_batch(), TEXTS) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "features", [None, torch.zeros(2, 5, 3), torch.ones(1, 5, 3), torch.ones(0, 5, 3), torch.ones(2, 0, 3)]
)
def test_a_batch_without_audio_is_refused(features: torch.Tensor | None) -> None:
    batch = good_batch()
    del batch["input_features"]
    if features is not None:
        batch["input_features"] = features
    with pytest.raises(MissingAudioError) as error:
        check_batch(LetterFamily(), PROCESSOR, batch, TEXTS)
    assert error.value.clips == 2


@pytest.mark.parametrize(
    "row, column, label",
    [
        (0, -4, ord("t")),  # the last letter of the prompt carries loss
        (1, 0, ord("p")),  # the first letter of the prompt carries loss
        (0, 0, ord("p")),  # padding carries loss
        (1, -1, IGNORED),  # the end of the turn carries no loss
        (1, -3, IGNORED),  # a letter of the transcript carries no loss
        (0, -2, ord("x")),  # the label is another letter
    ],
)
def test_labels_that_do_not_match_the_transcript_are_refused(row: int, column: int, label: int) -> None:
    batch = good_batch()
    batch["labels"][row, column] = label
    assert refused(batch) == (TEXTS[row], "labels")


def test_inputs_that_do_not_match_the_transcript_are_refused() -> None:
    batch = good_batch()
    batch["input_ids"][0, -2] = ord("x")
    assert refused(batch) == ("un", "tokens")


def test_a_batch_without_labels_is_refused() -> None:
    batch = good_batch()
    batch["labels"][:] = IGNORED
    assert refused(batch) == ("un", "labels")


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
def test_expected_trainable_parameters_are_accepted(expected: dict[str, Expectation]) -> None:
    assert check_trainable(COUNTS, expected) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "expected, tower, value, count",
    [
        ({}, "language", "none", 1234),
        ({"language": "none"}, "language", "none", 1234),
        ({"language": 1235}, "language", 1235, 1234),
        ({"language": 0}, "language", 0, 1234),
        ({"language": "some", "audio": "some"}, "audio", "some", 0),
        ({"language": "some", "audio": 7}, "audio", 7, 0),
        ({"language": "some", "speech": "some"}, "speech", None, None),
    ],
)
def test_unexpected_trainable_parameters_are_refused(
    expected: dict[str, Expectation], tower: str, value: Expectation | None, count: int | None
) -> None:
    with pytest.raises(TrainableError) as error:
        check_trainable(COUNTS, expected)
    assert (error.value.key, error.value.value) == (f"method.trainable.{tower}", value)
    assert error.value.count == count and "\n" not in str(error.value)


def test_fp16_is_refused_for_families_that_do_not_support_it() -> None:
    check_precision_of_steps(Gemma4Family(), fp16=False)
    check_precision_of_steps(Phi4Family(), fp16=True)
    with pytest.raises(TrainingError) as error:
        check_precision_of_steps(Gemma4Family(), fp16=True)
    assert error.value.key == "training.fp16"


ARGUMENTS: Any = SimpleNamespace(device=torch.device("cpu"), world_size=1, optim="adamw_torch")


class Watched:
    """Hold two towers with a pair of LoRA matrices each, and a callback that watches them."""

    def __init__(self, scaled: bool = False, learning_rate: float = 0.1, step: int = 0, **arguments: Any):
        self.model = nn.ModuleDict(
            {
                tower: nn.ModuleDict({name: nn.ModuleDict({"default": nn.Linear(2, 2, bias=False)}) for name in LORA})
                for tower in ("audio", "language", "vision")
            }
        )
        self.model["vision"].requires_grad_(False)
        for tower in ("audio", "language"):
            nn.init.zeros_(self.model[tower]["lora_B"]["default"].weight)
        self.optimizer = SimpleNamespace(
            param_groups=[{"lr": learning_rate}], scaler=torch.amp.GradScaler("cpu") if scaled else None
        )
        self.state = SimpleNamespace(global_step=step)
        self.watch = GradientWatch(lambda name: name.partition(".")[0])
        self.arguments = SimpleNamespace(**vars(ARGUMENTS) | arguments)
        self.watch.on_train_begin(self.arguments, self.state, None, self.model)

    def step(self, audio: float | None = 1.0, language: float | None = 1.0, updates: bool = True) -> None:
        """Take a step with these gradients, of which `None` is missing."""
        for tower, value in (("audio", audio), ("language", language)):
            for parameter in self.model[tower].parameters():
                parameter.grad = None if value is None else torch.full_like(parameter, value)
        self.watch.on_pre_optimizer_step(self.arguments, self.state, None, self.optimizer)
        if updates:
            for tower in ("audio", "language"):
                nn.init.ones_(self.model[tower]["lora_B"]["default"].weight)
        self.state.global_step += 1

    def log(self, **logs: float) -> None:
        self.watch.on_log(self.arguments, self.state, None, logs=logs or {"loss": 1.0})


LORA = ("lora_A", "lora_B")


def test_a_training_with_gradients_is_accepted() -> None:
    watched = Watched()
    for _ in range(3):
        watched.step()
        watched.step(audio=0.0)  # one step of a window
        watched.log()
    watched.watch.on_train_end(ARGUMENTS, watched.state, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_step_with_non_finite_gradients_stops_the_training(value: float) -> None:
    watched = Watched()
    watched.step()
    watched.log()
    watched.step()
    watched.step(audio=value)
    watched.step()
    with pytest.raises(DivergedError) as error:
        watched.log()
    assert (error.value.towers, error.value.first_step, error.value.step) == (("audio",), 2, 4)


def test_evaluation_logs_are_ignored() -> None:
    watched = Watched()
    watched.step(audio=math.nan)
    watched.log(eval_loss=1.0)
    with pytest.raises(UntrainedError):
        watched.watch.on_train_end(ARGUMENTS, watched.state, None)


def test_the_scaler_of_fp16_may_skip_a_limited_number_of_steps() -> None:
    watched = Watched(scaled=True)
    for _ in range(MAX_SKIPPED - 1):
        watched.step(audio=math.inf, updates=False)
        watched.log()
    watched.step()
    watched.log()
    for _ in range(MAX_SKIPPED):
        watched.step(audio=math.inf)
    with pytest.raises(DivergedError) as error:
        watched.log()
    assert error.value.towers == ("audio",)


@pytest.mark.parametrize("value", [0.0, None])
def test_a_tower_without_gradients_stops_the_training(value: float | None) -> None:
    watched = Watched()
    watched.step(audio=value)
    watched.step(audio=value)
    with pytest.raises(ZeroGradientError) as error:
        watched.log()
    assert error.value.towers == ("audio",)


def test_zero_gradients_in_all_towers_stop_the_training() -> None:
    watched = Watched()
    watched.step(0.0, 0.0)
    with pytest.raises(ZeroGradientError) as error:
        watched.log()
    assert error.value.towers == ("audio", "language")


@pytest.mark.parametrize("optim", ["lomo", "adalomo", "galore_adamw_layerwise"])
def test_optimizers_without_gradients_are_not_measured(optim: str) -> None:
    watched = Watched(optim=optim)
    watched.step(audio=None, language=None)
    watched.log()


def test_zero_matrices_stop_the_training_after_a_step_with_a_learning_rate() -> None:
    watched = Watched(learning_rate=0.0)
    watched.step(updates=False)
    watched.log()  # the first step of a warm-up
    watched.optimizer.param_groups[0]["lr"] = 1e-3
    watched.step(updates=False)
    with pytest.raises(ZeroMatrixError) as error:
        watched.log()
    assert error.value.towers == ("audio", "language")


def test_a_run_that_resumes_at_its_last_step_has_no_window() -> None:
    watched = Watched(step=600)
    watched.watch.on_train_end(ARGUMENTS, watched.state, None)
    watched.log()


def test_tiny_and_huge_gradients_are_neither_zero_nor_infinite() -> None:
    watched = Watched()
    watched.step(audio=1e-30, language=1e30)
    watched.log()


def test_names_of_parameters_that_are_zero_at_first() -> None:
    assert is_zero_at_first("base_model.model.a.q_proj.lora_B.default.weight")
    assert is_zero_at_first("base_model.model.embed.lora_embedding_A.default")
    assert not is_zero_at_first("base_model.model.a.lora_A.default.weight")


def tower_of(name: str) -> str:
    return name.partition(".")[0]


def model() -> nn.Module:
    made = nn.ModuleDict({tower: nn.Linear(3, 3) for tower in ("audio", "language", "vision")})
    made["vision"].requires_grad_(False)
    return made


def ended(trained: nn.Module, initial: InitialWeights, step: int = 4) -> Any:
    return SimpleNamespace(
        state=SimpleNamespace(global_step=step),
        callback_handler=SimpleNamespace(callbacks=[object(), initial]),
        model=trained,
    )


def recorded(trained: nn.Module) -> InitialWeights:
    initial = InitialWeights()
    initial.on_train_begin(None, SimpleNamespace(global_step=0), None, trained)
    return initial


def test_every_trained_tower_must_have_changed() -> None:
    trained = model()
    initial = recorded(trained)
    with pytest.raises(UntrainedError) as error:
        check_trained(ended(trained, initial), tower_of)
    assert error.value.towers == ("audio", "language") and error.value.step == 4
    with torch.no_grad():
        trained["language"].weight[0, 0] += 1e-6
    with pytest.raises(UntrainedError) as error:
        check_trained(ended(trained, initial), tower_of)
    assert error.value.towers == ("audio",)
    with torch.no_grad():
        trained["audio"].bias[2] = 7.0
    check_trained(ended(trained, initial), tower_of)


def test_a_training_without_a_step_is_refused() -> None:
    trained = model()
    with pytest.raises(UntrainedError) as error:
        check_trained(ended(trained, recorded(trained), step=0), tower_of)
    assert error.value.towers == () and error.value.step == 0


def test_initial_weights_are_resumed_from_a_checkpoint() -> None:
    trained = model()
    state = json.loads(json.dumps(recorded(trained).state()))
    for parameter in trained.parameters():
        nn.init.ones_(parameter)
    # A run that resumes at its last step takes no further step, but it is trained.
    resumed = InitialWeights()
    for name, value in state["attributes"].items():
        setattr(resumed, name, value)
    resumed.on_train_begin(None, SimpleNamespace(global_step=4), None, trained)
    check_trained(ended(trained, resumed), tower_of)


def test_a_checkpoint_of_an_earlier_version_is_accepted() -> None:
    trained = model()
    initial = InitialWeights()
    initial.on_train_begin(None, SimpleNamespace(global_step=4), None, trained)
    check_trained(ended(trained, initial), tower_of)


def test_checksums_differ_for_single_bits_of_trained_parameters() -> None:
    trained = model()
    before = checksums(trained)
    assert set(before) == {"audio.weight", "audio.bias", "language.weight", "language.bias"}
    with torch.no_grad():
        trained["audio"].weight[1, 1] = torch.nextafter(trained["audio"].weight[1, 1], torch.tensor(9.0))
    assert {name for name, value in checksums(trained).items() if value != before[name]} == {"audio.weight"}
