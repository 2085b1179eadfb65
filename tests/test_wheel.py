"""Test the installed wheel without a checkout, next to modules with the names of folders of the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_contains_one_package_of_a_moderate_size(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"escoita"}
    assert wheel.stat().st_size < 30_000_000


@pytest.mark.slow
def test_the_demo_runs_next_to_other_modules_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "-t", site, wheel], check=True)
    for foreign in ("eval/__init__.py", "training.py", "cards.py", "space.py"):
        (here / foreign).parent.mkdir(parents=True, exist_ok=True)
        (here / foreign).write_text("raise RuntimeError('a module of somebody else')\n")
    changes = ["training.max_steps=2", "training.eval_strategy=no", "validation.patience=null", "eval.resamples=100"]
    changes += ["eval.base=false", "eval.max_new_tokens=8"]
    command = [sys.executable, "-m", "escoita", "demo", "--no-serve"]
    environment = os.environ | {"PYTHONPATH": str(site), "ESCOITA_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run(
        [*command, *(word for change in changes for word in ("--set", change))],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    run = here / "runs/quickstart-uzbek"
    assert (run / "README.md").is_file() and (run / "eval/report.html").is_file()
    where = [sys.executable, "-c", "import escoita; print(escoita.__file__)"]
    assert str(site) in subprocess.check_output(where, cwd=here, env=environment, text=True)
