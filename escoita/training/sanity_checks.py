"""Check before, during and after training that the adapter is trained."""

import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, reduce
from safetensors import safe_open
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from escoita.errors import TrainingError, UntrainedError
from escoita.models.chat import IGNORED, ChatFamily
from escoita.models.weight_files import non_finite_tensors
from escoita.recipe.schema import Expectation
from escoita.utils.processes import gathered


if TYPE_CHECKING:
    from torch import Tensor


def check_batch(family: ChatFamily, processor: Any, batch: dict[str, torch.Tensor], texts: Sequence[str]) -> None:
    """
    Checks that a batch holds audio, and labels on the transcripts and the end of the turn alone.

    Args:
        family ([`ChatFamily`]): Whose batch it is.
        processor: The family's processor.
        batch (`dict[str, torch.Tensor]`): As the collator made it.
        texts (`Sequence[str]`): The transcripts that went in.

    Raises:
        TrainingError: It does not.
    """
    features = batch.get(family.audio_features)
    if features is None or features.shape[0] != len(texts) or not features.any():
        raise TrainingError(f"the batch holds no audio for its {len(texts)} clips: the model would learn text alone")
    for row, text in enumerate(texts):
        labelled = batch["labels"][row] != IGNORED
        target = processor.tokenizer(text + family.end_of_target, add_special_tokens=False)["input_ids"]
        end = len(labelled) - len(target)
        if labelled[:end].any() or batch["labels"][row, end:].tolist() != target:
            raise TrainingError(f"labels of {text!r} are not on its transcript alone; the prompt would carry loss")
        if batch["input_ids"][row, end:].tolist() != target:
            raise TrainingError(f"the model does not see what it is asked to say of {text!r}")


def check_precision_of_steps(family: ChatFamily, fp16: bool) -> None:
    """
    Refuse fp16 for a family whose gradients it would make infinite.

    Raises:
        TrainingError: The family does not train in fp16.
    """
    if fp16 and not family.info.trains_in_fp16:
        raise TrainingError(
            f"training.fp16: {family.info.name} does not train under it; set training.bf16: true, or neither"
        )


def count_trainable(family: ChatFamily, model: torch.nn.Module) -> dict[str, int]:
    """Trainable parameters of each tower, zero included."""
    counts = Counter(dict.fromkeys(family.towers, 0))
    for name, parameter in model.named_parameters():
        counts[family.tower_of(name)] += parameter.numel() if parameter.requires_grad else 0
    return dict(counts)


def check_trainable(counts: dict[str, int], expected: dict[str, Expectation]) -> None:
    """
    Compares what trains with what the recipe says.

    Args:
        counts (`dict[str, int]`): Trainable parameters of each tower.
        expected (`dict[str, Expectation]`): A count, `"some"` or `"none"`; a tower that is not named is to be frozen.

    Raises:
        TrainingError: A tower holds more, fewer or other trainable parameters, or there is no such tower.
    """
    for tower in expected.keys() - counts.keys():
        raise TrainingError(f"method.trainable.{tower}: the model has no such tower, only {', '.join(counts)}")
    for tower, count in counts.items():
        wanted = expected.get(tower, "none")
        holds = {"none": count == 0, "some": count > 0}.get(wanted, count == wanted)  # type: ignore[arg-type]
        if not holds:
            raise TrainingError(
                f"method.trainable.{tower}: the recipe says {wanted}, but {count:,} parameters would be trained;"
                " the method reaches other layers than meant"
            )


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
                towers=wrong,
                step=step,
            )
        if whole and (wrong := tuple(tower for tower in towers if not sums[tower])):
            raise UntrainedError(
                f"{where}: the gradients of {_named(wrong)} are zero, so no weight of it is trained; give --restart"
                " with a method that trains layers which the audio passes through, and see method.trainable",
                towers=wrong,
                step=step,
            )
        if applied and (wrong := self._zero_towers(args)):
            raise UntrainedError(
                f"{where}: the LoRA matrices B of {_named(wrong)} are still zero; give --restart with a higher"
                " training.learning_rate",
                towers=wrong,
                step=step,
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
            towers=unchanged,
            step=step,
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
            towers=towers,
            step=step,
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
            towers=towers,
            step=step,
        )


def checksums(model: torch.nn.Module) -> dict[str, int]:
    """The sum of the bits of each trained parameter, read as integers of 32 bits, by its name."""
    trained = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
    local = [each.to_local() if hasattr(each, "to_local") else each for each in trained.values()]
    sums = [each.contiguous().view(torch.int32).sum(dtype=torch.int64) for each in local]
    return dict(zip(trained, torch.stack(sums).tolist() if sums else [], strict=True))
