"""Print what a command made, and the commands that usually follow it."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from escoita.utils.processes import say


_within_another = ContextVar("_within_another", default=False)


def done(lines: Sequence[str] = (), next_commands: Sequence[Sequence[object]] = ()) -> None:
    """
    Print the results of a command and the next commands on standard error; standard output is for programs.

    Args:
        lines (`Sequence[str]`, *optional*): The lines about what was made.
        next_commands (`Sequence[Sequence[object]]`, *optional*): The words of each command that usually follows, after
            `escoita`. They are left out within a command that calls this one.
    """
    for line in lines:
        say(line)
    if _within_another.get():
        return
    for number, words in enumerate(next_commands):
        say(f"{'or:  ' if number else 'Next:'} escoita {shlex.join(map(str, words))}")


@contextmanager
def without_next_commands() -> Iterator[None]:
    """Omit the next commands of commands that are called within another one."""
    token = _within_another.set(True)
    try:
        yield
    finally:
        _within_another.reset(token)
