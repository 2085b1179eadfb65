"""Test the search for files that a recipe, a run directory or an adapter names."""

import os
from pathlib import Path

import pytest

from escoita.utils.files import public_name
from escoita.utils.locations import as_written, locate, name_as_written


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a run and a corpus; the current folder is another one."""
    for name in ("project/runs/a", "project/data", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project/data/train.jsonl").write_text("{}")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def test_a_file_is_found_from_the_folders_above_a_run(project: Path) -> None:
    found = str(project / "data/train.jsonl")
    for near in (project / "runs/a", Path("../project/runs/a"), project):
        assert locate("data/train.jsonl", near) == (found, project)
    assert locate("./data/*.jsonl", project / "runs/a") == (str(project / "data/*.jsonl"), project)


def test_the_current_folder_comes_first(project: Path) -> None:
    Path("data").mkdir()
    Path("data/train.jsonl").write_text("{}")
    assert locate("data/train.jsonl", project / "runs/a") == ("data/train.jsonl", None)


def test_a_name_that_is_found_nowhere_is_unchanged(project: Path) -> None:
    for name in ("google/gemma-4-E4B-it", "", str(project / "data/missing.jsonl")):
        assert locate(name, project / "runs/a") == (name, None)


def test_records_name_a_file_as_written(project: Path) -> None:
    found, _ = locate("./data", project / "runs/a")
    assert name_as_written(found) == public_name(found) == "./data"
    assert public_name(os.path.join(found, "train.jsonl")) == "./data/train.jsonl"
    assert public_name(str(project / "other.jsonl")) == "other.jsonl"
    assert as_written({"paths": [found, 1]}) == {"paths": ["./data", 1]}


def test_a_run_cannot_lead_out_of_its_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A downloaded run reaches neither files of the home folder, nor of a folder that anybody may write to."""
    run = project / "runs/a"
    (project.parent / "secret.jsonl").write_text("{}")
    escapes = ("../secret.jsonl", "data/../../secret.jsonl", "../../../secret.jsonl")
    assert [locate(name, run)[1] for name in escapes] == [None] * 3

    assert locate("secret.jsonl", run)[1] == project.parent
    monkeypatch.setenv("HOME", str(project.parent))
    assert locate("secret.jsonl", run)[1] is None
    assert locate("data/train.jsonl", run)[1] == project

    monkeypatch.undo()
    monkeypatch.chdir(project.parent / "elsewhere")
    project.parent.chmod(0o1777)
    assert locate("secret.jsonl", run)[1] is None
    root_file = Path("/etc/passwd")
    assert root_file.exists() and locate("etc/passwd", run)[1] is None
