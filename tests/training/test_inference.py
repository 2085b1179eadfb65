from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from escoita.errors import TrainingError
from escoita.training.validation import STEPS_BETWEEN_CHECKS, CheckpointingCheck, inference_state, inference_undone
from escoita.utils.interruption import StopRequest
from tests.training.test_listening import adapted, clips, listening


def switch_to_inference(model: Any) -> None:
    """Change the model as Unsloth does before it generates, and some more."""
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = False
        module.training = False
        module._flag_for_generation = True
        if "_saved_temp_tokenizer" in vars(module):
            module._saved_temp_tokenizer.padding_side = "right"
    model.config.use_cache = model.config.text_config.use_cache = True
    model.generation_config.use_cache, model.generation_config.cache_implementation = True, "dynamic"
    model.disable_input_require_grads()
    model.base_model.model.lm_head.register_forward_pre_hook(lambda module, inputs: None)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.bfloat16().float()


def generate_as_unsloth(model: Any) -> None:
    """Nothing changes the model back after it has generated."""
    original = model.generate

    def generate(*args: Any, **kwargs: Any) -> Any:
        switch_to_inference(model)
        return original(*args, **kwargs)

    model.generate = generate


def test_validation_leaves_every_flag_as_it_was(tmp_path: Path) -> None:
    model, ours = adapted(), listening(clips(tmp_path, 2))
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    model.config.use_cache = model.config.text_config.use_cache = False
    model.base_model.model.model.audio_tower.eval()
    ours.processor.tokenizer.padding_side = "left"
    model.base_model.model._saved_temp_tokenizer = ours.processor.tokenizer
    generate_as_unsloth(model)
    before = inference_state(model, ours.processor)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert any(before[key] is True for key in before if key.endswith(".gradient_checkpointing"))
    ours.rates(model, StopRequest())
    after = inference_state(model, ours.processor)
    assert {
        key: (before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)
    } == {}
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_the_state_shows_what_inference_changes() -> None:
    """Without the context manager the same model differs afterwards, or the test above would prove nothing."""
    model = adapted()
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    before = inference_state(model)
    switch_to_inference(model)
    changed = {key.rpartition(".")[2] for key, value in inference_state(model).items() if before.get(key) != value}
    assert {"gradient_checkpointing", "training", "_flag_for_generation", "_forward_pre_hooks"} <= changed


def test_a_cast_of_weights_is_undone_exactly_and_random_numbers_are_those_before() -> None:
    model = torch.nn.Linear(3, 3)
    model.device = torch.device("cpu")
    weight = model.weight.detach().clone()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with pytest.raises(KeyError), inference_undone(model):
        torch.rand(5)
        model.eval().half()
        raise KeyError
    assert torch.equal(torch.rand(2), expected) and model.training
    assert model.weight.dtype == torch.float32 and torch.equal(model.weight, weight)


def test_an_attribute_that_was_no_flag_is_restored_and_a_new_one_removed() -> None:
    model: Any = torch.nn.Linear(3, 3)
    model.device, model.compute = torch.device("cpu"), len
    with inference_undone(model):
        model.compute, model.ready = None, True
    assert model.compute is len and not hasattr(model, "ready")


def step(check: CheckpointingCheck, model: Any, asked: bool, number: int = 0) -> None:
    check.on_step_begin(
        SimpleNamespace(gradient_checkpointing=asked), SimpleNamespace(global_step=number), None, model
    )


def test_checkpointing_that_was_switched_off_stops_training_with_the_name_of_the_module() -> None:
    model, check = adapted(), CheckpointingCheck()
    model.gradient_checkpointing_enable()
    step(check, model, True)
    layer = "base_model.model.model.language_model.layers.1"
    model.get_submodule(layer).gradient_checkpointing = False
    step(check, model, True, STEPS_BETWEEN_CHECKS - 1)
    with pytest.raises(TrainingError, match=f"gradient checkpointing is off in {layer}"):
        step(check, model, True, STEPS_BETWEEN_CHECKS)


@pytest.mark.parametrize("asked", [True, False])
def test_checkpointing_is_as_the_recipe_says_from_the_first_step(asked: bool) -> None:
    model = adapted()
    step(CheckpointingCheck(), model, False)
    if not asked:
        model.gradient_checkpointing_enable()
    with pytest.raises(TrainingError, match="gradient checkpointing is"):
        step(CheckpointingCheck(), model, asked)
