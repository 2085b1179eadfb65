"""Define the command that serves models to programs, over OpenAI's API for transcription."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from escoita.cli.options import AllowOtherBaseOption, BaseOption, BaseRevisionOption


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Run directory, adapter (folder, user/name or user/name@revision) or base, or NAME=MODEL.",
        ),
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", help="Further adapter, NAME=SOURCE; repeatable.")
    ] = None,
    base: BaseOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that other machines reach needs API keys or --no-auth.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 chooses a free one.", min=0, max=65535)] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="File with the accepted API keys, one per line (default: the variable ESCOITA_API_KEYS)."),
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Allow access from any machine without a key.")] = False,
    adapter_memory: Annotated[
        float | None,
        typer.Option(
            help="Memory for adapters in MB; above it, the least recently used are unloaded (default: no limit).",
            min=1,
        ),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Longest recording in minutes (default: the recipe's, else 0.5).", min=0.01)
    ] = None,
    max_megabytes: Annotated[
        float | None, typer.Option(help="Largest file in MB (default: the recipe's, else 10).", min=0.01)
    ] = None,
    max_queue: Annotated[
        int | None, typer.Option(help="Number of requests that may wait (default: the recipe's, else 80).", min=1)
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(help="Time limit of a request in seconds (default: the recipe's, else 120).", min=1),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="Language of a base without adapters, such as Whisper, or of adapters that store none; a tag such as"
            " gl or uz-Latn."
        ),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="User prompt of adapters that store none, or of a base.")] = None,
    system: Annotated[
        str | None, typer.Option(help="System prompt of adapters that store none, or of a base.")
    ] = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
) -> None:
    """
    Serve models over HTTP with OpenAI's API.

    The routes are /v1/audio/transcriptions and /v1/models, /health and /metrics.
    """
    from escoita.records.training import Prompt
    from escoita.serve.auth import is_local, read_keys, require_protection
    from escoita.serve.models import find_models, load_engine
    from escoita.serve.server import serve as serve_until_stopped
    from escoita.serve.service import MEGABYTE, Service

    sources = [*(models or []), *(adapter or [])]
    if not sources and base is None:
        raise typer.BadParameter("name a run directory, an adapter or a base")
    keys = read_keys(api_key_file)
    require_protection(host, keys, no_auth)
    limits = {
        "max_minutes": max_minutes,
        "max_megabytes": max_megabytes,
        "max_queue": max_queue,
        "max_seconds": max_seconds,
    }
    given = {key: value for key, value in limits.items() if value is not None}
    if system is not None and prompt is None:
        raise typer.BadParameter("--system goes with --prompt")
    found = find_models(sources, base, base_revision, language, prompt, system)
    found = replace(found, settings=found.settings.model_copy(update=given))
    service = Service(
        base=found.base_name,
        adapters=found.languages(),
        settings=found.settings,
        language=language or "",
        keys=keys,
        local=keys is None and not no_auth and is_local(host),
    )
    size = None if adapter_memory is None else int(adapter_memory * MEGABYTE)
    given_prompt = None if prompt is None else Prompt(user=prompt, system=system or "")
    serve_until_stopped(
        service, lambda: load_engine(found, language, size, allow_other_base, given_prompt), host, port
    )
