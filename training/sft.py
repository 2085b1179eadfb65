"""
Trains a speech adapter with TRL's SFTTrainer, as a recipe says.

    python training/sft.py --recipe recipes/quickstart-uzbek.yaml
    python training/sft.py --recipe recipes/quickstart-uzbek.yaml --set training.learning_rate=1e-3
    python training/sft.py --recipe recipes/quickstart-uzbek.yaml --set hub.repo=user/name --push

A run that was killed goes on from its last checkpoint when the command is given again. With `--push` the token, the
repository and the card are checked before training starts, and evaluation, card and upload follow it; without it
nothing touches the network, unless the base is a repository that is not in the cache yet.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from escoita.corpora.gather import Gathered, gather, weighted
from escoita.corpora.rows import Utterances
from escoita.progress import say
from escoita.recipe import Recipe
from escoita.records import TrainingRecord
from escoita.rundir import RunDirectory


if TYPE_CHECKING:
    from datasets import Dataset


def train(recipe: Recipe, dry_run: bool = False) -> TrainingRecord | None:
    """
    Trains the adapter of a recipe; does nothing when the run is already finished.

    Args:
        recipe ([`Recipe`]): What to train on what.
        dry_run (`bool`, *optional*, defaults to `False`): Do everything but load weights and take steps.

    Returns:
        [`TrainingRecord`]: What happened, also written to `training.json`; `None` after a dry run.

    Raises:
        EscoitaError: The recipe, a corpus or the base is not what it should be.
    """
    from transformers import set_seed
    from trl import SFTTrainer

    from escoita.families import family_of
    from training.arguments import lora_config, sft_config
    from training.checks import check_batch, check_trainable, count_trainable
    from training.collator import SpeechCollator
    from training.outcome import save_adapter, training_record, write_settings
    from training.session import Clock, last_checkpoint, refuse_other_recipe

    run = RunDirectory(recipe.run_path)
    family = family_of(recipe.base, recipe.base_revision)
    arguments = sft_config(recipe, run)
    refuse_other_recipe(run, recipe)
    if run.training.exists() and not dry_run:
        recipe.write(run.recipe)  # what only evaluation, card, Hub and page read may have changed
        write_settings(recipe, run.adapter)
        say(f"Already trained: {run.training} (remove {run.path} to train again)")
        return TrainingRecord.read(run.training)

    processor = family.load_processor(recipe.base, recipe.base_revision)
    splits = ["train"] if arguments.eval_strategy == "no" else ["train", "validation"]
    marks = processor.tokenizer.all_special_tokens
    clips = clips_by_split(recipe, splits, family.max_audio_seconds, marks)
    train_rows = table(weighted(clips["train"], recipe.corpora.train, arguments.seed))

    collator = SpeechCollator(family, processor, recipe.prompt)
    rows = train_rows.select(range(min(len(train_rows), arguments.per_device_train_batch_size)))
    check_batch(family, processor, collator(rows.to_list()), rows["text"])

    set_seed(arguments.seed)  # before the adapter is initialised
    if dry_run:
        counts = count_trainable(family, untrained(recipe))
        check_trainable(counts, recipe.method.trainable)
        say(f"{trained_parameters(counts)}\nDry run: everything but weights and steps is in order")
        return None

    recipe.write(run.recipe)
    trainer = SFTTrainer(
        model=family.load_model(recipe.base, recipe.base_revision, recipe.dtype),
        args=arguments,
        train_dataset=train_rows,
        eval_dataset=table(everything(clips["validation"])) if "validation" in splits else None,
        data_collator=collator,
        processing_class=processor,
        peft_config=lora_config(recipe),
        callbacks=[Clock()],
    )
    counts = count_trainable(family, trainer.model)
    check_trainable(counts, recipe.method.trainable)
    say(trained_parameters(counts))

    checkpoint = last_checkpoint(run.checkpoints)
    if checkpoint:
        say(f"Going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    save_adapter(trainer, family, recipe, run.adapter)
    # Not the clock that went in: going on from a checkpoint puts the one from there in its place.
    clock = trainer.pop_callback(Clock)
    record = training_record(trainer, family, recipe, run.adapter, clock, counts, clips)
    record.write(run.training)
    return record


def clips_by_split(
    recipe: Recipe, splits: list[str], max_audio_seconds: float, marks: list[str]
) -> dict[str, Gathered]:
    """Usable and rejected rows of each split."""
    share = recipe.corpora.max_rejected_share
    return {
        split: gather(getattr(recipe.corpora, split), recipe.language, max_audio_seconds, share, marks)
        for split in splits
    }


def everything(gathered: Gathered) -> Utterances:
    """All usable rows of a split."""
    return Utterances.concatenated([utterances for utterances, _ in gathered.values()])


def table(clips: Utterances) -> "Dataset":
    """The rows, never decoded audio; `length` lets the sampler group clips of like length."""
    import pyarrow.compute as pc
    from datasets import Dataset
    from datasets.fingerprint import generate_random_fingerprint

    lengths = pc.round(pc.multiply(clips.table["audio_seconds"], 100.0)).cast("int64")
    rows = clips.table.append_column("length", lengths)
    # Unless it is given one, a dataset pickles all of its recordings to make a fingerprint, which nobody asks for.
    return Dataset(rows, fingerprint=generate_random_fingerprint()).select(clips.order)


def untrained(recipe: Recipe) -> Any:
    """The model with its adapter, without weights: for counting."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForMultimodalLM

    from training.arguments import lora_config

    config = AutoConfig.from_pretrained(recipe.base, revision=recipe.base_revision)
    with torch.device("meta"):
        return get_peft_model(AutoModelForMultimodalLM.from_config(config), lora_config(recipe))


def trained_parameters(counts: dict[str, int]) -> str:
    """One line: what trains, by tower."""
    towers = ", ".join(f"{tower} {count:,}" for tower, count in counts.items())
    return f"Trainable parameters: {sum(counts.values()):,} ({towers})"


def main(
    recipe: Annotated[Path, typer.Option(help="YAML file of the adapter.")],
    push: Annotated[bool, typer.Option("--push", help="Evaluate and publish afterwards; checked before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Everything but weights and steps.")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
) -> None:
    """Trains the adapter of a recipe; a killed run goes on from its last checkpoint."""
    from escoita.cli import train as command

    command(recipe, push, dry_run, overrides)


if __name__ == "__main__":
    from escoita.cli import script

    script(main)
