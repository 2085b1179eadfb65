"""Fields of SFTConfig that a training of speech cannot have, and those that have no effect on it."""

from collections.abc import Iterator
from typing import Any

from escoita.recipe.recipe import Recipe


# TRL would do these to rows of text. A row here is a clip, and its prompt is made by the family of the base.
UNSUPPORTED = {
    "packing": "clips cannot be joined into blocks of a fixed length; train_sampling_strategy groups them by length",
    "padding_free": "the clips of a batch are padded; train_sampling_strategy groups them by length",
    "assistant_only_loss": "the loss is on the transcript and the end of its turn alone already",
    "chat_template_path": "the prompt is rendered by the chat template of the base, at training and afterwards",
    "eos_token": "the transcript ends with the end of a turn that the base knows, at training and afterwards",
}
# Newer names of Transformers for fields that are looked at, in several places, by the name that TRL has for them.
RENAMED = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
_NOT_PREPARED = "TRL does not prepare the rows"
_NOT_A_SCRIPT = "escoita train always trains, and evaluates as eval_strategy says"
NO_EFFECT = {
    "completion_only_loss": "the loss is on the transcript and the end of its turn alone",
    "dataset_num_proc": _NOT_PREPARED,
    "dataset_text_field": _NOT_PREPARED,
    "do_eval": _NOT_A_SCRIPT,
    "do_predict": _NOT_A_SCRIPT,
    "do_train": _NOT_A_SCRIPT,
    "eval_packing": _NOT_PREPARED,
    "local_rank": "the launcher of the processes sets it",
    "model_init_kwargs": "base, base_revision, dtype and load_in_4bit say how the base is loaded",
    "packing_strategy": _NOT_PREPARED,
    "pad_to_multiple_of": "a batch is padded to its longest row",
    "pad_token": "the processor of the base names it",
    "prediction_loss_only": "the evaluation of a batch yields its loss alone; validation.clips are transcribed apart",
    "resume_from_checkpoint": "the last checkpoint of the run is resumed from; --restart trains from the first step",
    "shuffle_dataset": "train_sampling_strategy orders the rows",
    "truncation_mode": "no row is truncated; one over max_length stops the training",
    "trust_remote_code": "code of a repository is never run",
}
# Fields that have an effect only together with another field: the other field, and the prefixes of its values.
ONLY_WITH: dict[str, tuple[str, tuple[Any, ...]]] = {
    "liger_kernel_config": ("use_liger_kernel", (True,)),
    "optim_target_modules": ("optim", ("galore", "apollo")),
    "project": ("report_to", ("trackio",)),
    "trackio_bucket_id": ("report_to", ("trackio",)),
    "trackio_space_id": ("report_to", ("trackio",)),
    "trackio_static_space_id": ("report_to", ("trackio",)),
    "fsdp_config": ("fsdp", ()),
}


def without_effect(recipe: Recipe) -> Iterator[str]:
    """
    Yield a line for each field that the recipe sets and that changes nothing.

    Args:
        recipe ([`Recipe`]): Its `training` section.
    """
    for field, value in recipe.training.items():
        if field in NO_EFFECT and value is not None:
            yield f"training.{field}: has no effect, because {NO_EFFECT[field]}"
        elif field in ONLY_WITH:
            other, beginnings = ONLY_WITH[field]
            if not any(_begins(each, beginnings) for each in _listed(recipe.training.get(other))):
                wanted = f" {' or '.join(map(str, beginnings))}" if beginnings else ""
                yield f"training.{field}: has no effect without training.{other}{wanted}"


def _begins(value: Any, beginnings: tuple[Any, ...]) -> bool:
    if not beginnings:
        return bool(value)
    return any(value is each or (isinstance(each, str) and str(value).startswith(each)) for each in beginnings)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
