import os
from pathlib import Path

import pytest

from escoita.errors import RecipeError
from escoita.run_directory import RunDirectory
from escoita.training import callbacks as tracking
from escoita.training.arguments import sft_config
from escoita.training.callbacks import FOLDERS, keep_inside, require_trackers
from tests.training.test_arguments import recipe


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in FOLDERS.values():
        monkeypatch.setenv(variable, "")  # so that it is as it was afterwards
        monkeypatch.delenv(variable)
    monkeypatch.setattr(tracking, "_ours", {})


def test_files_go_below_the_run(tmp_path: Path, nothing_set: None) -> None:
    keep_inside(RunDirectory(tmp_path / "a"), ["trackio"])
    assert os.environ["TRACKIO_DIR"] == str(tmp_path / "a/tracking/trackio")
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ
    keep_inside(RunDirectory(tmp_path / "b"), ["tensorboard", "trackio"])
    assert os.environ["TRACKIO_DIR"] == str(tmp_path / "b/tracking/trackio")
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "b/tracking/tensorboard")


def test_a_folder_of_the_users_stays(tmp_path: Path, nothing_set: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", "/of/mine")
    keep_inside(RunDirectory(tmp_path), ["trackio"])
    assert os.environ["TRACKIO_DIR"] == "/of/mine"


def test_what_is_not_installed_is_said_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "get_available_reporting_integrations", lambda: ["tensorboard"])
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    require_trackers([])
    with pytest.raises(RecipeError, match=r"^training.report_to: trackio is not installed: pip install 'escoita\[tr"):
        require_trackers(["trackio"])
    with pytest.raises(RecipeError, match=r"^training.report_to: wandb is not installed: pip install wandb$"):
        require_trackers(["wandb"])
    with pytest.raises(RecipeError, match=r"^training.report_to: tensorboard is not installed: pip install 'escoita"):
        require_trackers(["tensorboard"])  # only tensorboardX is


def test_a_recipe_that_reports_to_nobody_knows_whom_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^training.report_to: there is no 'trakio', only azure_ml, .*trackio"):
        sft_config(recipe({"report_to": ["trakio"]}), RunDirectory(tmp_path))


def test_nothing_is_tracked_elsewhere_unless_asked_for(tmp_path: Path) -> None:
    arguments = sft_config(recipe(), RunDirectory(tmp_path))
    assert arguments.report_to == [] and arguments.trackio_space_id is None
    assert (arguments.project, arguments.run_name) == ("escoita", "small")
