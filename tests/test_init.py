import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "script", ["training.sft", "eval.run", "space.app", "bench.run", "escoita.inference.transcriber"]
)
def test_numpy_is_told_of_its_threads_before_it_is_loaded(script: str) -> None:
    told = (
        f"import sys, {script}, numpy; names = list(sys.modules); print(names.index('escoita') < names.index('numpy'))"
    )
    assert subprocess.check_output([sys.executable, "-c", told], text=True).strip() == "True"


def test_who_says_otherwise_is_obeyed() -> None:
    told = "import os, escoita; print(os.environ['OPENBLAS_NUM_THREADS'])"
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "3"}
    assert subprocess.check_output([sys.executable, "-c", told], env=environment, text=True).strip() == "3"
