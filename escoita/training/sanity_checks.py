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
from escoita.models.trainable import IGNORED, TrainableFamily
from escoita.models.weight_files import non_finite_tensors
from escoita.recipe.schema import Expectation
from escoita.utils.processes import gathered


if TYPE_CHECKING:
    from torch import Tensor


class MissingAudioError(TrainingError):
    """
    Report a batch without audio.

    Args:
        clips (`int`): The number of clips of the batch.
    """

    clips: int
    problem = "the batch holds no audio for its {clips} clips, so the model would learn only text"


class LabelError(TrainingError):
    """
    Report a batch whose labels or inputs do not match a transcript, which is the `value`.

    Args:
        field (`str`): The field of [`~escoita.models.trainable.Row`] concerned, `labels` or `tokens`.
    """

    field: str


def check_batch(family: TrainableFamily, processor: Any, batch: dict[str, torch.Tensor], texts: Sequence[str]) -> None:
    """
    Check that a batch holds audio, and that its labels cover only the transcripts and the end of the turn.

    Args:
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        batch (`dict[str, torch.Tensor]`): The batch from the collator.
        texts (`Sequence[str]`): The transcripts.

    Raises:
        MissingAudioError: The batch holds no audio.
        LabelError: The labels, or the tokens that they belong to, are not those of the transcript.
    """
    features = batch.get(family.audio_features)
    if features is None or features.shape[0] != len(texts) or not features.any():
        raise MissingAudioError(clips=len(texts))
    for text, target, row in zip(texts, family.targets(processor, texts), family.rows(batch), strict=True):
        start = len(row.labels) - len(target)
        if row.labels != [IGNORED] * start + target:
            raise LabelError("the labels cover more or other tokens than the transcript", value=text, field="labels")
        if row.tokens[start:] != target:
            raise LabelError("the input does not end with the transcript", value=text, field="tokens")


def check_precision_of_steps(family: TrainableFamily, fp16: bool) -> None:
    """
    Refuse fp16 for a family whose gradients are infinite in fp16.

    Raises:
        TrainingError: The family does not support fp16.
    """
    if fp16 and not family.info.trains_in_fp16:
        hint = "set training.bf16: true, or neither of them"
        raise TrainingError(f"{family.info.name} does not support fp16", key="training.fp16", value=True, hint=hint)


def count_trainable(family: TrainableFamily, model: torch.nn.Module) -> dict[str, int]:
    """Return the number of trainable parameters of each tower, including towers with none."""
    counts = Counter(dict.fromkeys(family.towers, 0))
    for name, parameter in model.named_parameters():
        counts[family.tower_of(name)] += parameter.numel() if parameter.requires_grad else 0
    return dict(counts)


class TrainableError(TrainingError):
    """
    Report a tower with another number of trainable parameters than the recipe expects, which is the `value`.

    Args:
        count (`int`, *optional*): The number of trainable parameters; `None` if the tower does not exist.
    """

    count: int | None = None


def check_trainable(counts: dict[str, int], expected: dict[str, Expectation]) -> None:
    """
    Compare the trainable parameters with those that the recipe expects.

    Args:
        counts (`dict[str, int]`): The number of trainable parameters of each tower.
        expected (`dict[str, Expectation]`): A number, `"some"` or `"none"` for each tower; a tower that is not named
            must be frozen.

    Raises:
        TrainableError: A tower has another number of trainable parameters, or does not exist.
    """
    for tower in expected.keys() - counts.keys():
        hint = f"use one of {', '.join(counts)}"
        raise TrainableError("the model does not have this tower", key=f"method.trainable.{tower}", hint=hint)
    for tower, count in counts.items():
        expectation = expected.get(tower, "none")
        holds = {"none": count == 0, "some": count > 0}.get(expectation, count == expectation)  # type: ignore[arg-type]
        if not holds:
            raise TrainableError(
                f"{count:,} parameters would be trained",
                key=f"method.trainable.{tower}",
                value=expectation,
                hint="correct this number, or the layers that the method selects",
                count=count,
            )


# Parameters of LoRA that PEFT initializes with zeros, in linear layers and in embeddings.
ZERO_AT_FIRST = ("lora_B", "lora_embedding_A")
# Optimizers that update the weights in the backward pass and keep no gradients, and the suffix of further ones.
WITHOUT_GRADIENTS, LAYERWISE = {"lomo", "adalomo"}, "layerwise"
# The number of consecutive steps that the gradient scaler of fp16 may skip. Its scale begins at 2^16 and is halved
# each time.
MAX_SKIPPED = 24


MORE_TRAINING = "give --restart with a higher training.learning_rate or more steps"


class DivergedError(UntrainedError):
    """
    Report gradients or weights that are not finite.

    Args:
        first_step (`int`): The first of the checked steps; `step` is the last one.
    """

    first_step: int


class ZeroGradientError(UntrainedError):
    """
    Report towers whose gradients are zero.

    Args:
        first_step (`int`): The first of the checked steps; `step` is the last one.
    """

    first_step: int
    hint = (
        "give --restart with a method that trains layers through which the audio passes, and correct method.trainable"
    )


class ZeroMatrixError(UntrainedError):
    """
    Report towers whose LoRA matrices are still zero.

    Args:
        first_step (`int`): The first of the checked steps; `step` is the last one.
    """

    first_step: int


class GradientWatch(TrainerCallback):
    """
    Measure the gradients of each trained tower at every step, and check them when the loss is logged.

    The measurements stay on the device until then, because each transfer would wait for the GPU.

    Args:
        tower_of (`Callable[[str], str]`): The function that returns the tower of a parameter's name.
    """

    def __init__(self, tower_of: Callable[[str], str]):
        self.tower_of = tower_of
        self.parameters: dict[str, list[Tensor]] = {}
        self.matrices: dict[str, list[Tensor]] = {}  # those that were zero at the last check
        self.first_step = 0  # of the window, counted from 1

    def on_train_begin(self, args, state, control, model, **kwargs):
        """Collect the trained parameters of each tower."""
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
        """Measure the gradients, which are unscaled and clipped."""
        if PartialState().distributed_type == DistributedType.DEEPSPEED:  # DeepSpeed stores the gradients itself
            return
        if args.optim in WITHOUT_GRADIENTS or args.optim.endswith(LAYERWISE):
            return
        norms = torch.stack([_norm(parameters, args.device) for parameters in self.parameters.values()])
        finite = norms.isfinite()
        self._sums += torch.where(finite, norms, 0.0)
        self._not_finite += ~finite
        self._finite_steps += finite.all()
        self._skipped = torch.where(finite.all(), 0.0, self._skipped + 1)
        if any(group["lr"] > 0 for group in optimizer.param_groups):
            self._applied += finite.all()
        self._scaled = getattr(optimizer, "scaler", None) is not None

    def on_log(self, args, state, control, logs=None, **kwargs):
        """
        Check the gradients since the previous log entry.

        Raises:
            UntrainedError: The gradients or weights of towers are zero or not finite; raised on every process.
        """
        if "loss" in (logs or {}):
            self.check(args, state)

    def on_train_end(self, args, state, control, **kwargs):
        """Check the gradients after the last log entry; see [`on_log`]."""
        self.check(args, state)

    def check(self, args: Any, state: Any) -> None:
        """Check the steps of the window, and begin the next window; see [`on_log`]."""
        step, first = state.global_step, self.first_step
        if step < first:
            return
        # With FSDP each process holds a shard of each gradient; otherwise all processes hold the same.
        counts = torch.stack([self._finite_steps, self._skipped, self._applied])
        *values, finite_steps, skipped, applied = reduce(
            torch.cat([self._sums, self._not_finite, counts]), "sum"
        ).tolist()
        towers = list(self.parameters)
        sums = dict(zip(towers, values, strict=False))
        not_finite = dict(zip(towers, values[len(towers) :], strict=True))
        if any(not_finite.values()) and (not self._scaled or skipped >= MAX_SKIPPED * args.world_size):
            wrong = tuple(tower for tower in towers if not_finite[tower])
            raise DivergedError(
                f"{_steps(first, step)}: the gradients of {_named(wrong)} are not finite; training has diverged",
                hint="give --restart with a lower training.learning_rate, with training.bf16 instead of training.fp16"
                " or, with Unsloth, with UNSLOTH_COMPILE_DISABLE=1",
                towers=wrong,
                step=step,
                first_step=first,
            )
        if finite_steps and (wrong := tuple(tower for tower in towers if not sums[tower])):
            raise ZeroGradientError(
                f"{_steps(first, step)}: the gradients of {_named(wrong)} are zero, so none of its weights is trained",
                towers=wrong,
                step=step,
                first_step=first,
            )
        if applied and (wrong := self._zero_towers(args)):
            raise ZeroMatrixError(
                f"{_steps(first, step)}: the LoRA matrices B of {_named(wrong)} are still zero",
                hint="give --restart with a higher training.learning_rate",
                towers=wrong,
                step=step,
                first_step=first,
            )
        self._begin_window(args, step)

    def _begin_window(self, args: Any, step: int) -> None:
        self.first_step = step + 1
        self._sums = torch.zeros(len(self.parameters), device=args.device)
        self._not_finite = torch.zeros_like(self._sums)
        self._finite_steps = torch.zeros_like(self._skipped)  # steps with finite gradients in all towers
        self._scaled = False

    def _zero_towers(self, args: Any) -> tuple[str, ...]:
        """Return the towers whose matrices are all still zero; the other towers are not checked again."""
        if not self.matrices:
            return ()
        norms = torch.stack([_norm(matrices, args.device, weights=True) for matrices in self.matrices.values()])
        pairs = zip(self.matrices.items(), reduce(norms, "sum").tolist(), strict=True)
        self.matrices = {tower: matrices for (tower, matrices), norm in pairs if norm == 0}
        return tuple(self.matrices)


def is_zero_at_first(name: str) -> bool:
    """Return whether PEFT initializes the parameter of this name with zeros."""
    return any(part in ZERO_AT_FIRST for part in name.split("."))


def _norm(parameters: list["Tensor"], device: torch.device, weights: bool = False) -> "Tensor":
    """
    Return the largest absolute gradient or weight of some parameters, in the shard of this process (FSDP).

    Unlike a sum of squares, it can neither underflow nor overflow.
    """
    found = [each.detach() if weights else each.grad for each in parameters if weights or each.grad is not None]
    local = [each.to_local() if hasattr(each, "to_local") else each for each in found]
    return get_total_norm([each for each in local if each.numel()], math.inf).to(device)


def _steps(first: int, last: int) -> str:
    return f"steps {first} to {last}" if first < last else f"step {last}"


def _named(towers: tuple[str, ...]) -> str:
    return f"the {' and the '.join(towers)} tower{'s' * (len(towers) > 1)}"


ADAPTER = "adapter_model.safetensors"


class InitialWeights(TrainerCallback, ExportableState):
    """
    Hold a checksum of each trained tensor before the first step of the run; checkpoints hold the state.

    The checksum is the sum of the bits of all numbers as integers, which is exact in any order and fast on a GPU.
    """

    def __init__(self) -> None:
        self.checksums: dict[str, int] = {}

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint holds."""
        return {"args": {}, "attributes": {"checksums": self.checksums}}

    def on_train_begin(self, args, state, control, model, **kwargs):
        """Compute the checksums, unless a checkpoint of the run holds them."""
        if not state.global_step:
            self.checksums = checksums(model)


def check_trained(trainer: Any, tower_of: Callable[[str], str]) -> None:
    """
    Refuse a training that took no step or changed no weight of a tower; every process must call this.

    Args:
        trainer ([`SpeechTrainer`]): The trainer after training.
        tower_of (`Callable[[str], str]`): The function that returns the tower of a parameter's name.

    Raises:
        UntrainedError: No step was taken, or the weights of towers did not change; raised on every process.
    """
    step = trainer.state.global_step
    if not step:
        hint = "raise training.num_train_epochs or training.max_steps"
        raise UntrainedError("no step was taken", key="training", hint=hint)
    callbacks = trainer.callback_handler.callbacks  # a checkpoint replaces the callback that was passed
    before = next(each for each in callbacks if isinstance(each, InitialWeights)).checksums
    if not before:  # the checkpoint of an earlier version
        return
    now = checksums(trainer.model)
    changed = {tower_of(name) for name in now if now[name] != before.get(name)}
    changed = set().union(*gathered(changed, PartialState()))  # with FSDP each process holds a shard
    if unchanged := tuple(sorted({tower_of(name) for name in now} - changed)):
        raise UntrainedError(
            f"after step {step} no weight of {_named(unchanged)} has changed; no adapter is saved",
            hint=MORE_TRAINING,
            towers=unchanged,
            step=step,
        )


def check_saved(adapter: Path, tower_of: Callable[[str], str], step: int) -> None:
    """
    Refuse the file of an adapter whose weights are not finite, or whose LoRA matrices are zero in a tower.

    Args:
        adapter (`Path`): The folder of the adapter, which is removed if it is refused.
        tower_of (`Callable[[str], str]`): The function that returns the tower of a parameter's name.
        step (`int`): The step after which the adapter was saved.

    Raises:
        UntrainedError: The weights of towers are not finite or zero.
    """
    try:
        _check_saved(adapter / ADAPTER, tower_of, step)
    except UntrainedError:
        shutil.rmtree(adapter, ignore_errors=True)
        raise


def _check_saved(path: Path, tower_of: Callable[[str], str], step: int) -> None:
    if wrong := non_finite_tensors(path, "adapter"):
        towers = tuple(sorted({tower_of(name) for name in wrong}))
        raise DivergedError(
            f"the adapter of step {step} has {len(wrong)} tensors ({', '.join(towers)}) with NaN or infinity; training"
            " has diverged, and no adapter is saved",
            hint="give --restart with a lower training.learning_rate",
            towers=towers,
            step=step,
            first_step=step,
        )
    matrices, moved = set(), set()
    with safe_open(path, "pt") as weights:
        for name in filter(is_zero_at_first, weights.keys()):
            matrices.add(tower_of(name))
            if tower_of(name) not in moved and weights.get_tensor(name).any():
                moved.add(tower_of(name))
    if towers := tuple(sorted(matrices - moved)):
        raise ZeroMatrixError(
            f"the LoRA matrices B of {_named(towers)} are zero after step {step}, as before training; no adapter is"
            " saved",
            hint=MORE_TRAINING,
            towers=towers,
            step=step,
            first_step=step,
        )


def checksums(model: torch.nn.Module) -> dict[str, int]:
    """Return the sum of the bits of each trained parameter, read as 32-bit integers, by its name."""
    trained = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
    local = [each.to_local() if hasattr(each, "to_local") else each for each in trained.values()]
    sums = [each.contiguous().view(torch.int32).sum(dtype=torch.int64) for each in local]
    return dict(zip(trained, torch.stack(sums).tolist() if sums else [], strict=True))
