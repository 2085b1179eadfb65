"""Compare the help of all commands with a snapshot, so that a change of wording shows in one diff."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from escoita.cli.main import app
from tests.docs.test_phrases import helps


SNAPSHOT = Path(__file__).with_name("help.txt")


def all_help(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    monkeypatch.setenv("COLUMNS", "100")
    pages = []
    for name, _ in sorted(helps()):
        result = CliRunner().invoke(app, [*name.split()[1:], "--help"], env={"NO_COLOR": "1", "TERM": "dumb"})
        assert result.exit_code == 0
        lines = [line.rstrip() for line in result.output.strip().splitlines()]
        pages.append("\n".join([f"$ {name} --help", *lines]))
    return "\n\n".join(pages) + "\n"


def test_help_is_that_of_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = all_help(monkeypatch)
    if os.environ.get("ESCOITA_GOLDEN") == "write":
        SNAPSHOT.write_text(shown, "utf-8")
    assert shown == SNAPSHOT.read_text("utf-8")
