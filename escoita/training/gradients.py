"""Stop a training that does not train: gradients that are not finite or zero, LoRA matrices that stay zero."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, reduce
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback

from escoita.errors import UntrainedError


if TYPE_CHECKING:
    from torch import Tensor

# Parameters of LoRA that PEFT initializes with zeros, in linear layers and in embeddings.
ZERO_AT_FIRST = ("lora_B", "lora_embedding_A")
# Optimizers that change the weights in the backward pass and keep no gradients, and how the names of others end.
WITHOUT_GRADIENTS, LAYERWISE = {"lomo", "adalomo"}, "layerwise"
# Steps in succession that the gradient scaler of fp16 may skip. Its scale begins at 2^16 and is halved each time.
MOST_SKIPPED = 24


class GradientWatch(TrainerCallback):
    """
    Measures the gradients of each trained tower at every step, and looks at them whenever the loss is logged.

    The measurements stay on the device until then, because each transfer would wait for the GPU.

    Args:
        tower_of (`Callable[[str], str]`): Gives the tower of a parameter's name.
    """

    def __init__(self, tower_of: Callable[[str], str]):
        self.tower_of = tower_of
        self.parameters: dict[str, list[Tensor]] = {}
        self.matrices: dict[str, list[Tensor]] = {}  # those that were zero when they were last looked at
        self.first_step = 0  # of the window, counted from 1

    def on_train_begin(self, args, state, control, model, **kwargs):
        """Finds the trained parameters of each tower."""
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                tower = self.tower_of(name)
                self.parameters.setdefault(tower, []).append(parameter)
                if is_zero_at_first(name):
                    self.matrices.setdefault(tower, []).append(parameter)
        self._skipped = torch.zeros((), device=args.device)
        self._applied = torch.zeros((), device=args.device)
        self._begin_window(args, state.global_step)

    def on_pre_optimizer_step(self, args, state, control, optimizer, **kwargs):
        """Measures the gradients, which are unscaled and clipped."""
        if PartialState().distributed_type == DistributedType.DEEPSPEED:  # it holds the gradients elsewhere
            return
        if args.optim in WITHOUT_GRADIENTS or args.optim.endswith(LAYERWISE):
            return
        norms = torch.stack([_norm(parameters, args.device) for parameters in self.parameters.values()])
        finite = norms.isfinite()
        self._sums += torch.where(finite, norms, 0.0)
        self._not_finite += ~finite
        self._whole += finite.all()
        self._skipped = torch.where(finite.all(), 0.0, self._skipped + 1)
        if any(group["lr"] > 0 for group in optimizer.param_groups):
            self._applied += finite.all()
        self._scaled = getattr(optimizer, "scaler", None) is not None

    def on_log(self, args, state, control, logs=None, **kwargs):
        """
        Looks at the gradients since the log entry before.

        Raises:
            UntrainedError: Names the towers; on every process.
        """
        if "loss" in (logs or {}):
            self.check(args, state)

    def on_train_end(self, args, state, control, **kwargs):
        """Looks at the gradients after the last log entry; see [`on_log`]."""
        self.check(args, state)

    def check(self, args: Any, state: Any) -> None:
        """Looks at the steps of the window, and begins the next one; see [`on_log`]."""
        step, first = state.global_step, self.first_step
        if step < first:
            return
        # With FSDP each process holds a share of each gradient; otherwise all processes hold the same.
        counts = torch.stack([self._whole, self._skipped, self._applied])
        *values, whole, skipped, applied = reduce(torch.cat([self._sums, self._not_finite, counts]), "sum").tolist()
        towers = list(self.parameters)
        sums = dict(zip(towers, values, strict=False))
        not_finite = dict(zip(towers, values[len(towers) :], strict=True))
        where = f"steps {first} to {step}" if first < step else f"step {step}"
        if any(not_finite.values()) and (not self._scaled or skipped >= MOST_SKIPPED * args.world_size):
            wrong = tuple(tower for tower in towers if not_finite[tower])
            raise UntrainedError(
                f"{where}: the gradients of {_named(wrong)} are not finite, and training has diverged; give --restart"
                " with a lower training.learning_rate, with training.bf16 instead of training.fp16 or, with Unsloth,"
                " with UNSLOTH_COMPILE_DISABLE=1",
                wrong,
                step,
            )
        if whole and (wrong := tuple(tower for tower in towers if not sums[tower])):
            raise UntrainedError(
                f"{where}: the gradients of {_named(wrong)} are zero, so no weight of it is trained; give --restart"
                " with a method that trains layers which the audio passes through, and see method.trainable",
                wrong,
                step,
            )
        if applied and (wrong := self._zero_towers(args)):
            raise UntrainedError(
                f"{where}: the LoRA matrices B of {_named(wrong)} are still zero; give --restart with a higher"
                " training.learning_rate",
                wrong,
                step,
            )
        self._begin_window(args, step)

    def _begin_window(self, args: Any, step: int) -> None:
        self.first_step = step + 1
        self._sums = torch.zeros(len(self.parameters), device=args.device)
        self._not_finite = torch.zeros_like(self._sums)
        self._whole = torch.zeros_like(self._skipped)  # steps with finite gradients in all towers
        self._scaled = False

    def _zero_towers(self, args: Any) -> tuple[str, ...]:
        """The towers all of whose matrices are still zero; the others are not looked at again."""
        if not self.matrices:
            return ()
        norms = torch.stack([_norm(matrices, args.device, weights=True) for matrices in self.matrices.values()])
        pairs = zip(self.matrices.items(), reduce(norms, "sum").tolist(), strict=True)
        self.matrices = {tower: matrices for (tower, matrices), norm in pairs if norm == 0}
        return tuple(self.matrices)


def is_zero_at_first(name: str) -> bool:
    """Whether PEFT initializes the parameter of this name with zeros."""
    return any(part in ZERO_AT_FIRST for part in name.split("."))


def _norm(parameters: list["Tensor"], device: torch.device, weights: bool = False) -> "Tensor":
    """
    The largest gradient of some parameters, or weight: of the share of this process (FSDP).

    Unlike a sum of squares it is zero or infinite only if a number is.
    """
    found = [each.detach() if weights else each.grad for each in parameters if weights or each.grad is not None]
    local = [each.to_local() if hasattr(each, "to_local") else each for each in found]
    return get_total_norm([each for each in local if each.numel()], math.inf).to(device)


def _named(towers: tuple[str, ...]) -> str:
    return f"the {' and the '.join(towers)} tower{'s' * (len(towers) > 1)}"
