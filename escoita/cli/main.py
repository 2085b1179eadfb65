"""Define the `escoita` command, whose subcommands call functions of the package, as the top-level scripts do."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from escoita import __version__
from escoita.cli.demo import demo
from escoita.cli.draft import draft
from escoita.cli.evaluation import evaluate, export, gate, report, summary
from escoita.cli.init import init, split
from escoita.cli.jobs import jobs
from escoita.cli.prepare import prepare
from escoita.cli.publish import card, push_run, verify
from escoita.cli.serve import serve
from escoita.cli.space import space
from escoita.cli.training import data, doctor, merge, schema, train
from escoita.cli.transcribe import transcribe
from escoita.errors import EscoitaError
from escoita.hub.endpoint import clean_tokens
from escoita.utils.files import NO_SPACE, cannot_write
from escoita.utils.formatting import visible
from escoita.utils.interruption import Interrupted, raise_on_signals
from escoita.utils.library_output import configure_libraries
from escoita.utils.processes import destroy_process_group, is_main_process


STYLE: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def print_version(wanted: bool) -> None:
    """Print the version and exit, if it is wanted."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


app = typer.Typer(
    name="escoita",
    no_args_is_help=True,
    **STYLE,
)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and exit.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Fine-tune audio language models on your recordings, and publish adapters with verifiable model cards."""


for command in (
    init,
    prepare,
    draft,
    split,
    data,
    doctor,
    train,
    evaluate,
    gate,
    report,
    export,
    card,
    push_run,
    verify,
    merge,
    summary,
    schema,
    demo,
):
    app.command({"evaluate": "eval", "push_run": "push"}.get(command.__name__))(command)
# Options can also be written as in openai-whisper and whisperX, with underscores.
app.command(context_settings={"token_normalize_func": lambda name: name.replace("_", "-")})(transcribe)
app.command()(serve)
app.add_typer(space, name="space")
app.add_typer(jobs, name="jobs")


def main() -> None:
    """Run the `escoita` command."""
    _run(app)


def script(command: Callable[..., None]) -> None:
    """Run one command as a script."""
    single = typer.Typer(add_completion=False, **STYLE)
    single.command()(command)
    _run(single)


def _run(typer_app: typer.Typer) -> None:
    """
    Run a command and exit with its status: 0 for success, 1 for an error, 2 for wrong usage, 130 and 143 after SIGINT
    and SIGTERM. A traceback is a bug.
    """
    clean_tokens()
    configure_libraries()
    try:
        with raise_on_signals():
            typer_app()
    except SystemExit as ended:  # every command ends so, also a successful one
        if not ended.code:
            destroy_process_group()
        raise
    except EscoitaError as error:
        _print_error(error)
        sys.exit(1)
    except OSError as error:
        # An error of a library that writes elsewhere, such as into the cache of the Hub. On a full disk `tempfile`
        # finds no writable folder, which it reports as a missing one.
        if error.errno not in NO_SPACE and "No usable temporary directory" not in str(error):
            raise
        _print_error(cannot_write(Path(error.filename or "."), error.strerror or str(error)))
        sys.exit(1)
    except Interrupted as stopped:
        _print_error(stopped)
        sys.exit(stopped.status)


def _print_error(error: BaseException) -> None:
    if is_main_process():
        text = "\n".join(map(visible, str(error).split("\n")))  # it may quote untrusted text
        print(f"escoita: {text}", file=sys.stderr)
