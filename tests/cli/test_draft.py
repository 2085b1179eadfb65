"""Run `escoita draft`, correct a draft, and run `escoita prepare`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from escoita.cli.main import app
from escoita.errors import CorpusError
from escoita.records.preparation import PreparationRecord
from tests.preparation.speech import counting_model, write_talk


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("escoita.inference.model_source.find_model", lambda *args, **kwargs: Source())
    write_talk(tmp_path / "recordings/talk.wav", 2)
    return tmp_path / "recordings"


class Source:
    base, adapter = "base", None

    def load(self, *args: object, **kwargs: object) -> object:
        return counting_model()


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.output


def test_drafts_are_corrected_and_prepared(recordings: Path) -> None:
    run("draft", "recordings", "--model", "model", "--language", "gl")
    path = recordings / "talk.eaf"
    path.write_text(path.read_text("utf-8").replace("borrador 1<", "bo día<"), "utf-8")
    run("prepare", "recordings", "--language", "gl")
    record = PreparationRecord.read(Path("recordings-rows.prepare.json"))
    assert record.rows == 1 and record.rounds[0].changed == 1 and record.rounds[0].model == "model"


def test_one_recording_can_be_drafted(recordings: Path) -> None:
    write_talk(recordings / "other.wav", 1)
    run("draft", "recordings/talk.wav", "--model", "model", "--language", "gl", "--format", "textgrid")
    assert (recordings / "talk.TextGrid").exists() and not (recordings / "other.TextGrid").exists()


def test_removed_drafts_are_named_as_the_reason_why_nothing_is_drafted(recordings: Path) -> None:
    words = ("draft", "recordings", "--model", "model", "--language", "gl")
    assert "escoita.drafts" not in run(*words) + run(*words)
    (recordings / "talk.eaf").unlink()
    assert "escoita.drafts" in run(*words)


def test_a_refusal_ends_with_status_1(recordings: Path) -> None:
    (recordings / "talk.eaf").write_text("mine")
    run("draft", "recordings", "--model", "model", "--language", "gl", status=1)
    assert (recordings / "talk.eaf").read_text() == "mine"


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(CorpusError) as caught:
            run("draft", str(path), "--model", "model")
        assert caught.value.path == path
