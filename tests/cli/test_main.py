"""What the front door says of what it was given."""

from pathlib import Path

import pytest

from escoita.cli import main as cli


def test_a_refusal_does_nothing_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs.yaml").write_text('"\\e[31mred\\L::error::x": 1\n', "utf-8")
    monkeypatch.setattr("sys.argv", ["escoita", "doctor", str(tmp_path / "theirs.yaml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "<U+001B>[31mred<U+2028>::error::x: unknown key" in said
    assert said.isprintable() or said.replace("\n", "").isprintable()
