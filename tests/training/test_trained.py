import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from escoita.errors import UntrainedError
from escoita.training.sanity_checks import InitialWeights, check_trained, checksums


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


def begun(trained: nn.Module) -> InitialWeights:
    initial = InitialWeights()
    initial.on_train_begin(None, SimpleNamespace(global_step=0), None, trained)
    return initial


def test_every_trained_tower_must_have_changed() -> None:
    trained = model()
    initial = begun(trained)
    with pytest.raises(UntrainedError) as refused:
        check_trained(ended(trained, initial), tower_of)
    assert refused.value.towers == ("audio", "language") and refused.value.step == 4
    with torch.no_grad():
        trained["language"].weight[0, 0] += 1e-6
    with pytest.raises(UntrainedError) as refused:
        check_trained(ended(trained, initial), tower_of)
    assert refused.value.towers == ("audio",)
    with torch.no_grad():
        trained["audio"].bias[2] = 7.0
    check_trained(ended(trained, initial), tower_of)


def test_a_training_without_a_step_is_refused() -> None:
    trained = model()
    with pytest.raises(UntrainedError) as refused:
        check_trained(ended(trained, begun(trained), step=0), tower_of)
    assert refused.value.towers == () and refused.value.step == 0


def test_the_weights_of_the_start_travel_in_the_checkpoints() -> None:
    trained = model()
    state = json.loads(json.dumps(begun(trained).state()))
    for parameter in trained.parameters():
        nn.init.ones_(parameter)
    # A run that resumes at its last step takes none, and is trained nevertheless.
    again = InitialWeights()
    for name, value in state["attributes"].items():
        setattr(again, name, value)
    again.on_train_begin(None, SimpleNamespace(global_step=4), None, trained)
    check_trained(ended(trained, again), tower_of)


def test_a_checkpoint_of_an_earlier_version_does_not_know_them() -> None:
    trained = model()
    initial = InitialWeights()
    initial.on_train_begin(None, SimpleNamespace(global_step=4), None, trained)
    check_trained(ended(trained, initial), tower_of)


def test_checksums_are_of_trained_parameters_and_tell_single_bits_apart() -> None:
    trained = model()
    before = checksums(trained)
    assert set(before) == {"audio.weight", "audio.bias", "language.weight", "language.bias"}
    with torch.no_grad():
        trained["audio"].weight[1, 1] = torch.nextafter(trained["audio"].weight[1, 1], torch.tensor(9.0))
    assert {name for name, value in checksums(trained).items() if value != before[name]} == {"audio.weight"}
