from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.run_directory import RunDirectory


def test_a_folder_without_a_recipe_is_not_a_run_directory(tmp_path: Path) -> None:
    with pytest.raises(EscoitaError) as error:
        RunDirectory(tmp_path).load_recipe()
    assert error.value.path == tmp_path and error.value.hint


def test_a_missing_adapter_is_reported(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with pytest.raises(EscoitaError) as error:
        run.trained_adapter()
    assert error.value.path == run.adapter and error.value.hint
    run.adapter.mkdir()
    assert run.trained_adapter() == str(run.adapter)
