"""Make a clean clone with only the files that git would commit of this checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


# A checkout may belong to another user than the one who runs the tests, for example in a container.
OPTIONS = "-c user.name=test -c user.email=test@example.org -c commit.gpgsign=false -c safe.directory=*".split()


def git(folder: Path, *words: str) -> str:
    """Run git in a folder."""
    return subprocess.run(["git", *OPTIONS, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def clean_clone(folder: Path) -> Path:
    """
    Copy tracked files, and new files that are not ignored.

    Its `.venv` is that of the tests, so that the Makefile installs nothing.
    """
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():  # otherwise the file was deleted without a commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    venv = folder / ".venv"
    venv.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(Path(sys.prefix) / name)
    for mark in ("installed", "installed-dev"):
        (venv / mark).touch()
    return folder


def plain_environment(clone: Path, home: Path) -> dict[str, str]:
    """Return the environment of a runner's shell, in which the code of the clone precedes the installed package."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "ESCOITA_CACHE": str(home / "escoita"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(clone),
    }
