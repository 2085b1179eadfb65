"""Options and arguments that several commands, and the scripts of the top-level folders, share."""

from pathlib import Path
from typing import Annotated

import typer


RecipeArgument = Annotated[Path, typer.Argument(help="YAML file of the adapter.")]
RecipeOption = Annotated[Path, typer.Option("--recipe", help="YAML file of the adapter.")]
RunOption = Annotated[Path, typer.Option("--run", help="Run directory, runs/<name>.")]
BaseOption = Annotated[str | None, typer.Option("--base", help="Folder or repository of a base model.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")]
PushOption = Annotated[bool, typer.Option("--push", help="Evaluate and publish afterwards; checked before.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Everything but weights and steps.")]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Remove checkpoints and adapter of the run, and train from the first step.")
]
AcceptChangedDataOption = Annotated[
    bool, typer.Option("--accept-changed-data", help="Resume a run although its training rows have changed.")
]
BaseRevisionOption = Annotated[
    str | None,
    typer.Option(
        "--base-revision",
        help="Branch, tag or commit of the base (default: the commit that the adapter was trained on).",
    ),
]
AllowOtherBaseOption = Annotated[
    bool,
    typer.Option(
        "--allow-other-base", help="Accept a base with other weights than the adapter was trained on; it is recorded."
    ),
]
