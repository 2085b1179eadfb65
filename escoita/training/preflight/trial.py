"""Whether SFTTrainer, PEFT and the model take what the recipe says, found by one step on a small copy of the base."""

from collections.abc import Iterator, Sequence
from typing import Any

from escoita.data.rows import Utterance, Utterances
from escoita.models.chat import ChatFamily
from escoita.recipe.recipe import Recipe
from escoita.training.preflight.finding import Finding


# They need several processes, and this is one.
OF_SEVERAL_PROCESSES = ("deepspeed", "fsdp", "fsdp_config", "parallelism_config")


def find_trial(
    recipe: Recipe, family: ChatFamily, processor: Any, clips: Sequence[Utterance], model: Any
) -> Iterator[Finding]:
    """
    Takes one training step on a small copy of the base.

    Args:
        recipe ([`Recipe`]): Base, method and training.
        family ([`ChatFamily`]): Of the base.
        processor: The family's processor.
        clips (`Sequence[Utterance]`): Of the training corpora; the shortest ones are trained on.
        model: Of [`~escoita.training.sft.untrained`].
    """
    from escoita.training.sft import table
    from escoita.training.trial import ROWS, check_by_trial

    if recipe.engine == "unsloth":
        yield Finding("warning", "trial", "engine: unsloth is not tried before training")
        return
    shortest = sorted(clips, key=lambda clip: clip.audio_seconds)[:ROWS]
    left_out = [field for field in OF_SEVERAL_PROCESSES if field in recipe.training]
    check_by_trial(recipe, family, processor, table(Utterances.of(shortest)), model, left_out)
    if left_out:
        advice = "start the training with --dry-run in all processes, which tries all but deepspeed"
        yield Finding("warning", "trial", f"training.{', training.'.join(left_out)}: not tried", advice)
    yield Finding("ok", "trial", "one step on a copy of the base with two layers and small widths succeeds")
