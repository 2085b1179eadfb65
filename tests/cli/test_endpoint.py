import pytest

from escoita.cli.endpoint import confirm
from escoita.errors import EscoitaError
from escoita.evaluation.endpoint_evaluation import Plan


PLAN = Plan("api.example.com", "m", 120, 14.25, local=False, secure=True)


def test_the_data_that_are_sent_are_stated(capsys: pytest.CaptureFixture[str]) -> None:
    confirm(PLAN, yes=True)
    stated = capsys.readouterr().err
    assert all(each in stated for each in ("api.example.com", "120", "14.2"))


def test_without_a_terminal_and_without_consent_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(EscoitaError):
        confirm(PLAN)


@pytest.mark.parametrize("answer", [True, False])
def test_a_terminal_shows_the_question_once(answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def reply(question: str, err: bool) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr("typer.confirm", reply)
    if answer:
        confirm(PLAN)
    else:
        with pytest.raises(EscoitaError):
            confirm(PLAN)
    assert len(asked) == 1


def test_a_server_of_this_machine_needs_no_consent() -> None:
    confirm(Plan("127.0.0.1", "m", 1, 1.0, local=True, secure=False))
