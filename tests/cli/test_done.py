import pytest

from escoita.cli.done import done, without_next_commands


def test_the_next_commands_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    done(["Adapter: a"], [("eval", "--run", "runs/my run"), ("push",)])
    captured = capsys.readouterr()
    made, first, second = captured.err.splitlines()
    assert made == "Adapter: a" and first.endswith("escoita eval --run 'runs/my run'") and "escoita push" in second
    assert not captured.out  # it is for programs


def test_a_command_within_another_names_no_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    with without_next_commands():
        done(["Adapter: a"], [("eval",)])
    assert capsys.readouterr().err == "Adapter: a\n"
