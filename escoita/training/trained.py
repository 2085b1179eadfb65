"""Refuse an adapter that was not trained: weights that did not change, are zero or are not finite."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import safe_open
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from escoita.errors import UntrainedError
from escoita.utils.processes import gathered
from escoita.models.weight_files import non_finite_tensors
from escoita.training.gradients import is_zero_at_first


ADAPTER = "adapter_model.safetensors"


class InitialWeights(TrainerCallback, ExportableState):
    """
    Holds a checksum of each trained tensor as it was before the first step of the run; travels inside the checkpoints.

    The checksum is the sum of the bits of all numbers as integers: exact in any order, and fast on a GPU.
    """

    def __init__(self) -> None:
        self.checksums: dict[str, int] = {}

    def state(self) -> dict[str, Any]:
        """As it is written into a checkpoint."""
        return {"args": {}, "attributes": {"checksums": self.checksums}}

    def on_train_begin(self, args, state, control, model, **kwargs):
        """Computes the checksums, unless a checkpoint of the run holds them."""
        if not state.global_step:
            self.checksums = checksums(model)


def check_trained(trainer: Any, tower_of: Callable[[str], str]) -> None:
    """
    Refuses a training that took no step, or changed no weight of a tower; every process must call it.

    Args:
        trainer ([`SpeechTrainer`]): After training.
        tower_of (`Callable[[str], str]`): Gives the tower of a parameter's name.

    Raises:
        UntrainedError: Names the towers; on every process.
    """
    step = trainer.state.global_step
    if not step:
        raise UntrainedError("training: no step was taken; see training.num_train_epochs and training.max_steps")
    callbacks = trainer.callback_handler.callbacks  # a checkpoint puts its own in the place of the one that went in
    before = next(each for each in callbacks if isinstance(each, InitialWeights)).checksums
    if not before:  # of a checkpoint that an earlier version wrote
        return
    now = checksums(trainer.model)
    changed = {tower_of(name) for name in now if now[name] != before.get(name)}
    changed = set().union(*gathered(changed, PartialState()))  # with FSDP each process holds a share
    if unchanged := tuple(sorted({tower_of(name) for name in now} - changed)):
        raise UntrainedError(
            f"after step {step}, no weight of {' and '.join(unchanged)} has changed; no adapter is saved. Give"
            " --restart with a higher training.learning_rate or more steps",
            unchanged,
            step,
        )


def check_saved(adapter: Path, tower_of: Callable[[str], str], step: int) -> None:
    """
    Refuses the file of an adapter whose weights are not finite, or whose LoRA matrices are zero in a tower.

    Args:
        adapter (`Path`): Its folder, which is removed if it is refused.
        tower_of (`Callable[[str], str]`): Gives the tower of a parameter's name.
        step (`int`): After which it was kept.

    Raises:
        UntrainedError: Names the towers.
    """
    try:
        _check_saved(adapter / ADAPTER, tower_of, step)
    except UntrainedError:
        shutil.rmtree(adapter, ignore_errors=True)
        raise


def _check_saved(path: Path, tower_of: Callable[[str], str], step: int) -> None:
    if wrong := non_finite_tensors(path, "adapter"):
        towers = tuple(sorted({tower_of(name) for name in wrong}))
        raise UntrainedError(
            f"the adapter of step {step}: {len(wrong)} tensors ({', '.join(towers)}) contain NaN or infinity; training"
            " has diverged, and no adapter is saved. Give --restart with a lower training.learning_rate",
            towers,
            step,
        )
    matrices, moved = set(), set()
    with safe_open(path, "pt") as weights:
        for name in filter(is_zero_at_first, weights.keys()):
            matrices.add(tower_of(name))
            if tower_of(name) not in moved and weights.get_tensor(name).any():
                moved.add(tower_of(name))
    if towers := tuple(sorted(matrices - moved)):
        raise UntrainedError(
            f"the adapter of step {step}: the LoRA matrices B of {' and '.join(towers)} are zero, as before training;"
            " no adapter is saved. Give --restart with a higher training.learning_rate or more steps",
            towers,
            step,
        )


def checksums(model: torch.nn.Module) -> dict[str, int]:
    """The sum of the bits of each trained parameter, read as integers of 32 bits, by its name."""
    trained = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
    local = [each.to_local() if hasattr(each, "to_local") else each for each in trained.values()]
    sums = [each.contiguous().view(torch.int32).sum(dtype=torch.int64) for each in local]
    return dict(zip(trained, torch.stack(sums).tolist() if sums else [], strict=True))
