"""Define options and arguments that several commands and the top-level scripts use."""

from pathlib import Path
from typing import Annotated, Any

import typer


def repository(value: Any) -> Any:
    """Return the names of repositories that are given by name or address; the callback of options."""
    if not value:
        return value
    from escoita.hub.files import repository_name

    return [repository_name(each) for each in value] if isinstance(value, list) else repository_name(value)


RecipeArgument = Annotated[Path, typer.Argument(help="Recipe of the adapter, a YAML file.")]
RecipeOption = Annotated[Path, typer.Option("--recipe", help="Recipe of the adapter, a YAML file.")]
RunOption = Annotated[Path, typer.Option("--run", help="Run directory, runs/<name>.")]
BaseOption = Annotated[
    str | None, typer.Option("--base", help="Folder or repository of a base model.", callback=repository)
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override of a recipe key, section.key=value; repeatable.")
]
PushOption = Annotated[
    bool, typer.Option("--push", help="Evaluate and publish after training; access is checked before training.")
]
PublishBaseOption = Annotated[
    bool,
    typer.Option(
        "--publish-base", help="Publish the base too, if it is a local folder (hub.publish_base_as names it)."
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, but load no weights and train no step.")
]
RestartOption = Annotated[
    bool,
    typer.Option(
        "--restart", help="Remove the checkpoints and the adapter of the run, and train from the first step."
    ),
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
    Path | None,
    typer.Option("--run", help="Run directory; the adapter is evaluated on the test corpora of its recipe."),
]
AdapterOption = Annotated[
    str | None,
    typer.Option(
        "--adapter", help="Folder or repository of an adapter, user/name or user/name@revision.", callback=repository
    ),
]
CorpusOption = Annotated[list[Path] | None, typer.Option("--corpus", help="Manifest of a test corpus; repeatable.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder for the results.", file_okay=False)]
LanguageOption = Annotated[
    str | None, typer.Option("--language", help="Language of the clips, an ISO 639 code, if no adapter defines it.")
]
BaselineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline",
        help="Whisper or CTC model to compare with, a folder or repository; repeatable.",
        callback=repository,
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against", help="Earlier run directory, or user/name@revision, to compare with.", callback=repository
    ),
]
NormalizerOption = Annotated[
    str | None,
    typer.Option(
        "--normalizer",
        help="Text normalizer used for scoring (default: the recipe's, else that of the language).",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", help="Transcribe only one part, such as 3/64 for the third of 64, and compute no scores."),
]
MergeOption = Annotated[
    bool, typer.Option("--merge", help="Transcribe nothing; merge the predictions of all parts and score them.")
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", help="User prompt (default: the prompt that the adapter stores).")
]
SystemOption = Annotated[
    str | None, typer.Option("--system", help="System prompt (default: the prompt that the adapter stores).")
]
