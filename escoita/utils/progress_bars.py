"""Keep the progress bars of huggingface_hub and Transformers apart from the other output in a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import IO, Any


def _open_bars() -> tuple[Any, list[Any]]:
    """Return huggingface_hub's class of bars and its open bars; nothing unless the library has been imported."""
    if (module := sys.modules.get("huggingface_hub.utils.tqdm")) is None:
        return None, []
    with module.tqdm.get_lock():  # other threads open bars
        bars = list(module.tqdm._instances)
    return module.tqdm, [bar for bar in bars if isinstance(bar, module.tqdm)]


@contextmanager
def above_bars(stream: IO[str]) -> Iterator[None]:
    """
    Clear the bars of huggingface_hub while a line is printed, and draw them again below it.

    Args:
        stream (`IO`): The stream of the line.
    """
    bar_class, bars = _open_bars()
    if not bars:
        yield
        return
    with bar_class.external_write_mode(file=stream):
        yield


_lock, _inside = Lock(), 0


@contextmanager
def bars_closed_at_end() -> Iterator[None]:
    """Call [`close_bars`] at the end, unless such a context is open around this one or in another thread."""
    global _inside
    with _lock:
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            last = not _inside
        if last:
            close_bars()


def close_bars() -> None:
    """
    Erase the bars that huggingface_hub left open.

    `snapshot_download` of huggingface_hub 2.4 never closes two of its three bars. Python would close them at the end
    of the command, below other output.
    """
    _, bars = _open_bars()
    for bar in sorted(bars, key=lambda bar: -abs(bar.pos)):  # upwards to the line of the cursor
        bar.leave = False
        bar.close()


@contextmanager
def without_bars() -> Iterator[None]:
    """Hide the bars of Transformers and huggingface_hub, which would break a spinner in the same terminal."""
    from transformers.utils import logging as output

    shown = output.is_progress_bar_enabled()
    output.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            output.enable_progress_bar()
