"""Run the commands of a job: `python -m escoita.jobs.inside`, with the plan of `escoita jobs` in the environment."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path


def work(plan: str) -> int:
    """
    Run the commands of a plan until one fails.

    The working directory is a new folder with links to the corpora under their paths in the repository, so that the
    paths in the recipe are valid.

    Args:
        plan (`str`): JSON with the recipe, the commands and the folder of the corpora.

    Returns:
        `int`: The exit status of the last command that ran.
    """
    job = json.loads(plan)
    folder = Path(tempfile.mkdtemp(prefix="escoita-job-"))
    if job["data"]:
        for entry in Path(job["data"]).iterdir():
            (folder / entry.name).symlink_to(entry)
    recipe = folder / "recipe.yaml"
    recipe.unlink(missing_ok=True)
    recipe.write_text(job["recipe"], "utf-8")
    for command in job["commands"]:
        print(f"$ {shlex.join(command)}", flush=True)
        # `python` means this interpreter, and not the first in the PATH of an image.
        resolved = [sys.executable, *command[1:]] if command[0] == "python" else command
        if code := subprocess.run(resolved, cwd=folder, check=False).returncode:  # noqa: S603  planned by the user
            return code if code > 0 else 1
    return 0


if __name__ == "__main__":
    sys.exit(work(os.environ["ESCOITA_JOB"]))
