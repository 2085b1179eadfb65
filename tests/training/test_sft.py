import os
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from escoita.data.rows import Utterance, Utterances
from escoita.hub.files import weights_digest
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.sft import table


def recordings(count: int, size: int) -> Utterances:
    return Utterances.of(
        Utterance(f"{row}", "a.wav", "un", "c", "gl", "m", row, embedded=os.urandom(size), audio_seconds=row / 3)
        for row in range(1, count + 1)
    )


def test_rows_keep_their_order_and_gain_a_length() -> None:
    clips = recordings(5, 10)
    rows = table(clips.take([4, 0, 0, 2]))
    assert rows["id"][:] == ["5", "1", "1", "3"]
    assert rows["length"][:] == [167, 33, 33, 100]
    assert rows[0]["embedded"] == clips[4].embedded


def test_recordings_are_not_copied() -> None:
    clips = recordings(64, 100_000)
    table(clips)  # imports modules
    tracemalloc.start()
    try:
        table(clips)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


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
