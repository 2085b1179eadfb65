import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from escoita.hub.files import weights_digest
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory


@pytest.mark.slow
def test_the_script_and_the_function_train_the_same_adapter(
    short_recipe: Callable[..., Recipe], command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Three steps with one thread, so that the sums are the same bits."""
    digests = []
    recipe = short_recipe("training.max_steps=3", f"run_dir={tmp_path / 'one'}")
    recipe.write(tmp_path / "recipe.yaml")
    ran = command("training/sft.py", "--recipe", str(tmp_path / "recipe.yaml"), OMP_NUM_THREADS="1")
    assert ran.returncode == 0, ran.stderr
    digests.append(weights_digest(RunDirectory(recipe.run_path).trained_adapter()))
    code = "import sys; from escoita import load_recipe, train; train(load_recipe(sys.argv[1], sys.argv[2:]))"
    ran = command("-c", code, str(tmp_path / "recipe.yaml"), f"run_dir={tmp_path / 'two'}", OMP_NUM_THREADS="1")
    assert ran.returncode == 0, ran.stderr
    digests.append(weights_digest(str(tmp_path / "two/adapter")))
    assert digests[0] == digests[1]
