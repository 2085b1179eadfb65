"""Define the commands that serve the page on this machine, and as a Space of the Hub."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from escoita.cli.options import AllowOtherBaseOption, BaseOption, BaseRevisionOption, RunSetOption, repository
from escoita.utils.ports import port_or_next


space = typer.Typer(help="Serve the Gradio page here, or as a Space of the Hub.", no_args_is_help=True)
# The form of the names of variables and secrets on the Hub.
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def space_run(
    run: Annotated[Path | None, typer.Option("--run", help="Run directory.")] = None,
    base: BaseOption = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="Folder or repository (user/name@revision) of an adapter, or NAME=SOURCE; repeatable."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the page (default: 7860, or the next free one).", min=1, max=65535)
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 accepts connections from other machines.")
    ] = "127.0.0.1",
    proxy_hops: Annotated[
        int, typer.Option(help="Number of trusted reverse proxies whose X-Forwarded-For header is used.", min=0)
    ] = 0,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
    overrides: RunSetOption = None,
) -> None:
    """Serve the Gradio page on this machine."""
    from escoita.space.app import serve
    from escoita.space.demo import of_run, of_sources

    port = port_or_next(port, host)
    if run is not None and not (base or adapter):
        serve(of_run(run, base_revision, allow_other_base, overrides), port, host, proxy_hops)
    elif run is None and base and adapter and not overrides:
        demo = of_sources(base, adapter, revision=base_revision, allow_other_base=allow_other_base)
        serve(demo, port, host, proxy_hops)
    else:
        raise typer.BadParameter("give --run, with or without --set, or both --base and --adapter")


def space_push(
    repo: Annotated[
        str,
        typer.Option(help="Space, user/space; the command creates it if it does not exist.", callback=repository),
    ],
    adapter: Annotated[
        str, typer.Option(help="Published adapter: user/adapter, user/adapter@revision or NAME=user/adapter.")
    ],
    hardware: Annotated[
        str | None, typer.Option(help="Hardware, such as zero-a10g, cpu-basic or t4-small (default: unchanged).")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Recipe that contains the section `space` and the examples (default: the published recipe)."
        ),
    ] = None,
    example: Annotated[list[Path] | None, typer.Option(help="Example clip of the page; repeatable.")] = None,
    clip: Annotated[Path | None, typer.Option(help="Test clip for the Space (default: the first example).")] = None,
    variable: Annotated[
        list[str] | None, typer.Option(help="Public variable of the Space, KEY=VALUE; repeatable.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="Secret of the Space: KEY, or KEY=NAME to read environment variable NAME; repeatable."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create a private Space.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the Space runs, and test it.")] = True,
    minutes: Annotated[float, typer.Option(min=0, help="Maximum waiting time in minutes.")] = 30,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override of a recipe key, as space.key=value; repeatable.")
    ] = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
) -> None:
    """Create a Space for a published adapter in one commit, wait until it runs, and test it."""
    from huggingface_hub import HfApi

    from escoita.space.deploy import Settings, deploy

    settings = Settings(hardware, private, dict(map(_variable, variable or ())), dict(map(_secret, secret or ())))
    typer.echo(
        deploy(
            HfApi(),
            repo,
            adapter,
            settings,
            recipe=recipe,
            overrides=overrides,
            examples=example or (),
            clip=clip,
            dry_run=dry_run,
            minutes=minutes if wait else None,
            base_revision=base_revision,
            allow_other_base=allow_other_base,
        )
    )


space.command("run")(space_run)
space.command("push")(space_push)


def _variable(given: str) -> tuple[str, str]:
    key, equals, value = given.partition("=")
    if not equals or not KEY.fullmatch(key):
        raise typer.BadParameter(f"--variable {given}: expected KEY=VALUE")
    return key, value


def _secret(given: str) -> tuple[str, str]:
    """Return name and value of a secret, which is read from the environment because shells record commands."""
    key, _, name = given.partition("=")
    if not KEY.fullmatch(key) or not KEY.fullmatch(name or key):
        raise typer.BadParameter("--secret: expected KEY, or KEY=NAME with the name of a variable of this shell")
    value = os.environ.get(name or key)
    if not value:
        raise typer.BadParameter(f"--secret {key}: the variable {name or key} of this shell is not set")
    return key, value
