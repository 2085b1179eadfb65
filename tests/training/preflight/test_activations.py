import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model

from escoita.models import family_of
from escoita.recipe.schema import Recipe
from escoita.training.arguments import peft_config
from escoita.training.backends import untrained
from escoita.training.preflight.memory import Activations, _Ledger, count_activations
from escoita.training.preflight.model import Longest, encode_longest


def kept_by_autograd(model: Any, batch: dict[str, torch.Tensor]) -> Activations:
    """The same count over a model with weights, whose tensors are there."""
    ledger = _Ledger(model)
    hook = model.get_input_embeddings().register_forward_hook(lambda module, args, output: output.requires_grad_(True))
    with ledger.watching():
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        kept = model.get_base_model().base_model(**inputs, use_cache=False)
    hook.remove()
    total = ledger.total()
    del kept
    return total


@pytest.mark.parametrize("clips, seconds", [(1, 3.0), (4, 1.0), (3, 6.0)])
def test_shapes_alone_tell_what_autograd_keeps(
    short_recipe: Callable[..., Recipe], clips: int, seconds: float
) -> None:
    recipe = short_recipe()
    family = family_of(recipe.base)
    processor = family.load_processor(recipe.base)
    batch = encode_longest(recipe, family, processor, Longest(seconds, "chiroqni yoq", True), clips)
    told = count_activations(untrained(recipe), batch, torch.float32)
    model = get_peft_model(family.load_model(recipe.base, dtype="float32"), peft_config(recipe)).train()
    real = kept_by_autograd(model, batch)
    assert told.kept(False) == pytest.approx(real.kept(False), rel=0.03)
    assert told.kept(True) == pytest.approx(real.kept(True), rel=0.03)
    assert told.kept(True) < told.kept(False)


def test_half_precision_keeps_less_and_leaves_no_switch_behind(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSFORMERS_DISABLE_TORCH_CHECK", "0")
    recipe = short_recipe()
    family = family_of(recipe.base)
    batch = encode_longest(recipe, family, family.load_processor(recipe.base), Longest(1.0, "un", True), 2)
    whole, half = (count_activations(untrained(recipe), batch, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert half.kept(False) < whole.kept(False)
    assert os.environ["TRANSFORMERS_DISABLE_TORCH_CHECK"] == "0"
    with pytest.raises(NotImplementedError):
        torch.ones(3, device="meta").nonzero()
