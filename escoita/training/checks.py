"""What must hold before step 1: audio that is silently dropped trains a text model, and nobody would notice."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from escoita.errors import TrainingError
from escoita.models.chat import IGNORED, ChatFamily
from escoita.recipe.method import Expectation


# Families whose numbers do not fit.
NOT_IN_FP16 = ("gemma4",)


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
    Refuses fp16 with a family that it does not train.

    Raises:
        TrainingError: Of Gemma 4: a limit in its audio tower is no number of 16 bits, and gradients are not numbers.
    """
    if fp16 and family.model_types[0] in NOT_IN_FP16:
        raise TrainingError(
            f"training.fp16: {family.model_types[0]} does not train under it; set training.bf16: true, or neither"
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
