"""The `escoita` command: each subcommand calls one function of the package; see also the scripts of the top level."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from escoita.cli.demo import demo
from escoita.cli.evaluation import evaluate, gate, report, summary
from escoita.cli.jobs import jobs
from escoita.cli.publish import card, push_run, verify
from escoita.cli.serve import serve
from escoita.cli.space import space
from escoita.cli.training import data, doctor, merge, schema, train
from escoita.errors import EscoitaError
from escoita.utils.files import NO_SPACE, cannot_write
from escoita.utils.formatting import visible
from escoita.utils.interruption import Interrupted, raise_on_signals
from escoita.utils.processes import destroy_process_group, is_main_process


STYLE: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
app = typer.Typer(
    name="escoita",
    help="From a folder of recordings to a published speech adapter whose card can be trusted.",
    no_args_is_help=True,
    **STYLE,
)
for command in (data, doctor, train, evaluate, gate, report, card, push_run, verify, merge, summary, schema, demo):
    app.command({"evaluate": "eval", "push_run": "push"}.get(command.__name__))(command)
app.command()(serve)
app.add_typer(space, name="space")
app.add_typer(jobs, name="jobs")


def main() -> None:
    """Runs the `escoita` command."""
    _run(app)


def script(command: Callable[..., None]) -> None:
    """Runs one command as a script of its own."""
    single = typer.Typer(add_completion=False, **STYLE)
    single.command()(command)
    _run(single)


def _run(typer_app: typer.Typer) -> None:
    """
    Exit codes: 0 done, 1 refused or failed with a clear line, 2 usage, 130 and 143 stopped by SIGINT and SIGTERM; a
    traceback is a defect of ours.
    """
    # PEFT imports bitsandbytes where it is there, which misses on some CPUs a package that none of us needs.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        with raise_on_signals():
            typer_app()
    except SystemExit as ended:  # as every command ends, also what went well
        if not ended.code:
            destroy_process_group()
        raise
    except EscoitaError as error:
        _print_error(error)
        sys.exit(1)
    except OSError as error:
        # Of a library that writes in places of its own, such as the cache of the Hub. On a full disk `tempfile` finds
        # no folder that takes a file, which it reports as one that does not exist.
        if error.errno not in NO_SPACE and "No usable temporary directory" not in str(error):
            raise
        _print_error(cannot_write(Path(error.filename or "."), error.strerror or str(error)))
        sys.exit(1)
    except Interrupted as stopped:
        _print_error(stopped)
        sys.exit(stopped.status)


def _print_error(error: BaseException) -> None:
    if is_main_process():
        said = "\n".join(map(visible, str(error).split("\n")))  # it may quote what a stranger wrote
        print(f"escoita: {said}", file=sys.stderr)
