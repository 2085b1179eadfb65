"""What runs in a job: `python -m escoita.jobs.inside`, with what `escoita jobs` told it in its environment."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path


def work(told: str) -> int:
    """
    Runs the commands of a plan until one fails.

    The working directory is a folder of its own, in which the corpora stand under the names that they have in their
    repository, so that the recipe finds them where it says.

    Args:
        told (`str`): JSON of recipe, commands and the folder of the corpora.

    Returns:
        `int`: Exit code of the last command that ran.
    """
    job = json.loads(told)
    folder = Path(tempfile.mkdtemp(prefix="escoita-job-"))
    if job["data"]:
        for entry in Path(job["data"]).iterdir():
            (folder / entry.name).symlink_to(entry)
    recipe = folder / "recipe.yaml"
    recipe.unlink(missing_ok=True)
    recipe.write_text(job["recipe"], "utf-8")
    for command in job["commands"]:
        print(f"$ {shlex.join(command)}", flush=True)
        # `python` is this one, whatever stands first in the PATH of an image.
        here = [sys.executable, *command[1:]] if command[0] == "python" else command
        if code := subprocess.run(here, cwd=folder, check=False).returncode:  # noqa: S603  planned by the user
            return code if code > 0 else 1
    return 0


if __name__ == "__main__":
    sys.exit(work(os.environ["ESCOITA_JOB"]))
