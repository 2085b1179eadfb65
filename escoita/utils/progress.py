"""What a person sees while they wait: a progress bar in a terminal, plain lines elsewhere."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track


T = TypeVar("T")
console = Console(stderr=True)


def is_main_process() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started: the one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """One line of the log, as it is: not wrapped, so that paths can be copied."""
    if not is_main_process():
        return
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def track(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """Passes the items on while a bar counts them up to `total`; where there is no terminal, one line at the end."""
    if console.is_terminal and is_main_process():
        yield from rich_track(items, description=title, total=total, console=console, transient=True)
    else:
        yield from items
        say(f"{title}: {total}")
