"""The options of every command that loads a base for an adapter."""

from typing import Annotated

import typer


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
