"""Test how the command prints errors."""

from pathlib import Path

import pytest

from escoita.cli import main as cli


def test_control_characters_in_errors_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs.yaml").write_text('"\\e[31mred\\L::error::x": 1\n', "utf-8")
    monkeypatch.setattr("sys.argv", ["escoita", "doctor", str(tmp_path / "theirs.yaml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    text = capsys.readouterr().err
    assert ended.value.code == 1 and "<U+001B>[31mred<U+2028>::error::x" in text
    assert text.replace("\n", "").isprintable()
