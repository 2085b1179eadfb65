"""Make the rows of a training from the corpora of its recipe."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from escoita.data.loading import Gathered, gather
from escoita.data.rows import Utterances
from escoita.data.transcripts import composed
from escoita.recipe.schema import Recipe
from escoita.utils.processes import say


if TYPE_CHECKING:
    from datasets import Dataset

    from escoita.models.trainable import TrainableFamily


@dataclass(frozen=True)
class Datasets:
    """
    Hold the rows of a training; see [`~escoita.training.sft.make_datasets`].

    Args:
        train (`Dataset`): The training rows; recordings are decoded when they are needed.
        validation ([`Utterances`], *optional*): The clips for the validation during training.
        gathered (`dict[str, Gathered]`): The usable and rejected rows of each split.
    """

    train: "Dataset"
    validation: Utterances | None
    gathered: dict[str, Gathered]


def clips_by_split(
    recipe: Recipe,
    splits: list[str],
    max_audio_seconds: float,
    marks: list[str],
    row_problem: Callable[[str, float], str] | None = None,
) -> dict[str, Gathered]:
    """Return the usable and rejected rows of each split."""
    share = recipe.corpora.max_rejected_share
    found = {
        split: gather(getattr(recipe.corpora, split), recipe.language, max_audio_seconds, share, marks, row_problem)
        for split in splits
    }
    return {split: in_one_form(gathered) for split, gathered in found.items()} if recipe.corpora.compose else found


def in_one_form(gathered: Gathered) -> Gathered:
    """Return the rows with composed characters (Unicode NFC), and print how many transcripts that changes."""
    result: Gathered = {}
    for name, (rows, rejected) in gathered.items():
        usable, changed = composed(rows)
        if changed:
            say(f"{name}: the characters of {changed:,} of {len(rows):,} transcripts were composed (Unicode NFC)")
        result[name] = (usable, rejected)
    return result


def row_problem(family: "TrainableFamily", processor: Any, name: str) -> Callable[[str, float], str]:
    """
    Return the function that returns why a clip with a transcript and a length cannot be trained on.

    Args:
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        name (`str`): The name of the normalizer, which is applied if adapters have their own vocabulary.
    """
    if not family.own_vocabulary:
        return partial(family.row_problem, processor)
    from escoita.metrics.normalizers import normalizer
    from escoita.models.ctc_vocabulary import training_text

    normalize = training_text(normalizer(name))
    return lambda text, seconds: family.row_problem(processor, normalize(text), seconds)


def with_texts(gathered: Gathered, change: Callable[[str], str]) -> Gathered:
    """Return the rows with changed transcripts."""
    return {
        name: (rows.with_texts({index: change(text) for index, text in enumerate(rows.each("text"))}), rejected)
        for name, (rows, rejected) in gathered.items()
    }


def everything(gathered: Gathered) -> Utterances:
    """Return all usable rows of a split."""
    return Utterances.concatenated([utterances for utterances, _ in gathered.values()])


def table(clips: Utterances) -> "Dataset":
    """Return the rows as a dataset, without decoded audio; the sampler groups clips by the column `length`."""
    import pyarrow.compute as pc
    from datasets import Dataset
    from datasets.fingerprint import generate_random_fingerprint

    lengths = pc.round(pc.multiply(clips.table["audio_seconds"], 100.0)).cast("int64")
    rows = clips.table.append_column("length", lengths)
    # Without a given fingerprint, a dataset pickles all of its recordings to compute one, which is not needed.
    return Dataset(rows, fingerprint=generate_random_fingerprint()).select(clips.order)
