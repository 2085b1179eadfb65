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
    list[str] | None, typer.Option("--set", help="Override of a recipe key, as section.key=value; repeatable.")
]
RunSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override of a key of the run's recipe that training does not read, card.key=value; repeatable."
    ),
]
PushOption = Annotated[
    bool,
    typer.Option(
        "--push", help="Evaluate and publish after training; the access to the Hub is checked before training."
    ),
]
PublishBaseOption = Annotated[
    bool,
    typer.Option(
        "--publish-base", help="Publish the base too, if it is a local folder (hub.publish_base_as names it)."
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, but load no weights and run no training step.")
]
ReportOption = Annotated[
    bool,
    typer.Option("--report", help="Print a report as JSON to share: no tokens, paths, names or transcripts."),
]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Refuse to train from the first step; a run with a checkpoint resumes in any case."),
]
RestartOption = Annotated[
    bool,
    typer.Option(
        "--restart", help="Remove the checkpoints and the adapter of the run, and train from the first step."
    ),
]
JsonLogsOption = Annotated[
    bool,
    typer.Option(
        "--json-logs", help="Print each log entry and each evaluation as one JSON object on the standard output."
    ),
]
AcceptChangedDataOption = Annotated[
    bool, typer.Option("--accept-changed-data", help="Resume a run even if its training rows have changed.")
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
        "--allow-other-base",
        help="Accept a base whose weights differ from those used in training; the difference is recorded.",
    ),
]
EvaluatedRunOption = Annotated[
    Path | None,
    typer.Option("--run", help="Run directory whose adapter is evaluated on the test corpora of its recipe."),
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
    str | None,
    typer.Option(
        "--language", help="Language of the clips (a tag such as gl or uz-Latn), if the adapter stores none."
    ),
]
BaselineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline",
        help="Baseline for comparison: folder or repository of a model (Whisper, MMS, Parakeet, …); repeatable.",
        callback=repository,
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        help="Earlier adapter for comparison: run directory or user/name@revision.",
        callback=repository,
    ),
]
NumBeamsOption = Annotated[
    int | None,
    typer.Option(
        "--num-beams",
        help="Number of beams of all systems (default: that of the recipe, else 1, which is greedy decoding).",
        min=1,
        max=64,
    ),
]
NormalizerOption = Annotated[
    str | None,
    typer.Option(
        "--normalizer",
        help="Text normalizer used for scoring (default: the normalizer of the recipe, else of the language).",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", help="Transcribe only one shard, such as 3/64 (shard 3 of 64), without scoring."),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help="URL of a server with OpenAI's API for transcription; the API key is read from ESCOITA_ENDPOINT_KEY.",
    ),
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Name of a model of the endpoint.")]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", help="Number of concurrent requests to the endpoint.", min=1, max=256)
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Send the recordings to the endpoint without asking for confirmation.")
]
RescoreOption = Annotated[
    bool,
    typer.Option(
        "--rescore",
        help="Score the stored predictions of --run or --out again, with --normalizer or --set eval.resamples=…,"
        " without transcribing.",
    ),
]
MergeOption = Annotated[
    bool, typer.Option("--merge", help="Merge the predictions of all shards and score them, without transcribing.")
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", help="User prompt (default: the user prompt that the adapter stores).")
]
SystemOption = Annotated[
    str | None, typer.Option("--system", help="System prompt (default: the system prompt that the adapter stores).")
]
