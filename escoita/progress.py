"""A progress bar in a terminal, a line at the end elsewhere."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track


T = TypeVar("T")
console = Console(stderr=True)


def track(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """Passes the items on while a bar counts them up to `total`; where there is no terminal, one line at the end."""
    if console.is_terminal:
        yield from rich_track(items, description=title, total=total, console=console, transient=True)
    else:
        yield from items
        console.print(f"{title}: {total}", highlight=False)
