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
EvaluatedRunOption = Annotated[
    Path | None, typer.Option("--run", help="Run directory, evaluated on its test corpora.")
]
AdapterOption = Annotated[
    str | None,
    typer.Option("--adapter", help="Folder or repository of an adapter, user/name or user/name@revision."),
]
CorpusOption = Annotated[list[Path] | None, typer.Option("--corpus", help="Manifest, repeatable.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the results.", file_okay=False)]
LanguageOption = Annotated[
    str | None, typer.Option("--language", help="ISO code of the clips, where no adapter tells it.")
]
BaselineOption = Annotated[
    list[str] | None,
    typer.Option("--baseline", help="Whisper or CTC model to stand beside: folder or repository, repeatable."),
]
AgainstOption = Annotated[
    str | None,
    typer.Option("--against", help="Earlier run directory, or user/name@revision, to compare with."),
]
NormalizerOption = Annotated[
    str | None,
    typer.Option(
        "--normalizer",
        help="Text normalizer used for scoring (default: the recipe's, else that of the language).",
    ),
]
ShardOption = Annotated[
    str | None, typer.Option("--shard", help="3/64: hear the third of 64 parts alone, score nothing.")
]
MergeOption = Annotated[bool, typer.Option("--merge", help="Hear nothing; score what all parts heard.")]
