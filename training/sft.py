"""
Train a speech adapter with TRL's SFTTrainer from a recipe.

    python training/sft.py --recipe recipes/quickstart-uzbek.yaml
    python training/sft.py --recipe recipes/quickstart-uzbek.yaml --set training.learning_rate=1e-3
    python training/sft.py --recipe recipes/quickstart-uzbek.yaml --set hub.repo=user/name --push

An interrupted run resumes from its last checkpoint if the command is run again; on SIGTERM and SIGINT it writes a
checkpoint first. `--restart` trains from the first step. With `--push` the token, the repository and the card are
checked before training, and evaluation, card and upload follow it.

`escoita train` and [`escoita.training.train`] run the same steps; copy this file to change them.
"""

from escoita.cards.preflight import check_publishing
from escoita.cli.main import script
from escoita.cli.options import (
    AcceptChangedDataOption,
    DryRunOption,
    JsonLogsOption,
    PublishBaseOption,
    PushOption,
    RecipeOption,
    RestartOption,
    ResumeOption,
    SetOption,
)
from escoita.cli.training import evaluate_and_push, refuse_both
from escoita.recipe.files import files_of_training, refuse_missing_files
from escoita.recipe.schema import load_recipe
from escoita.training import sft


def main(
    recipe: RecipeOption,
    push: PushOption = False,
    dry_run: DryRunOption = False,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    restart: RestartOption = False,
    accept_changed_data: AcceptChangedDataOption = False,
    json_logs: JsonLogsOption = False,
    publish_base: PublishBaseOption = False,
) -> None:
    """Train the adapter of a recipe; an interrupted run resumes from its last checkpoint."""
    ################
    # The recipe
    ################
    refuse_both(resume, restart)
    loaded = load_recipe(recipe, overrides)
    refuse_missing_files(loaded, recipe, *files_of_training(loaded, push))
    check_publishing(loaded, push, dry_run, publish_base)
    if dry_run or restart or not sft.finished(loaded):
        ################
        # The base, without its weights
        ################
        setup = sft.prepare(loaded, restart, accept_changed_data, resume)
        processor = sft.load_processor(setup)

        ################
        # The corpora
        ################
        datasets = sft.make_datasets(setup, processor)
        collator = sft.make_collator(setup, processor)
        counts = sft.check_before_training(setup, collator, datasets)
        if dry_run:
            sft.end_dry_run(setup, datasets, counts)
            return

        ################
        # The training
        ################
        with sft.training_lock(setup) as checkpoint:
            trainer = sft.make_trainer(setup, collator, datasets, checkpoint, json_logs)
            with trainer.request.deferring():
                sft.take_steps(trainer, checkpoint)
                sft.save_adapter(setup, trainer, datasets, checkpoint)
            sft.result(setup, trainer)

    ################
    # Evaluation, card and upload
    ################
    if push and not dry_run:
        evaluate_and_push(loaded.run_path, publish_base)


if __name__ == "__main__":
    script(main)
