"""What a person sees while they wait: a progress bar in a terminal, plain lines elsewhere."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track


T = TypeVar("T")
console = Console(stderr=True)


def say(line: str) -> None:
    """One line of the log, as it is: not wrapped, so that paths can be copied."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def track(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """Passes the items on while a bar counts them up to `total`; where there is no terminal, one line at the end."""
    if console.is_terminal:
        yield from rich_track(items, description=title, total=total, console=console, transient=True)
    else:
        yield from items
        say(f"{title}: {total}")
