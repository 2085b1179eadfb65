"""
Run the steps of a job like a runner of GitHub: a bash process per step, with the files of `$GITHUB_OUTPUT`,
`$GITHUB_ENV`, `$GITHUB_PATH` and `$GITHUB_STEP_SUMMARY`, and outputs and artifacts that later steps read.

Expressions are not evaluated: a test gives the value of each, and an unknown expression fails.
"""

import glob
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.workflows.reading import Job, Step


# GitHub's command for `shell: bash`.
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
OUTPUT = re.compile(r"steps\.(\w+)\.outputs\.(\w+)")
# Actions that the clone does not need.
SKIPPED_ACTIONS = ("actions/checkout", "actions/setup-python")
FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")


class StepFailed(Exception):
    """
    Report a step with an exit status other than 0.

    Args:
        step (`str`): The name of the step.
        status (`int`): The exit status.
        output (`str`): The standard output and the standard error.
    """

    def __init__(self, step: str, status: int, output: str):
        super().__init__(f"{step}: {status}\n{output}")
        self.step, self.status, self.output = step, status, output


@dataclass
class Runner:
    """
    Run jobs one after the other.

    Args:
        clone (`Path`): The checkout.
        environment (`dict[str, str]`): The environment of every step.
        scratch (`Path`): The folder for the files of steps, and for artifacts.
    """

    clone: Path
    environment: dict[str, str]
    scratch: Path
    summary: str = ""
    ran: list[str] = field(default_factory=list)

    def run(self, job: Job, known: Mapping[str, str | bool], **environment: str) -> dict[str, dict[str, str]]:
        """
        Run the steps of a job.

        Args:
            job ([`Job`]): The job.
            known (`Mapping[str, str | bool]`): The values of expressions, including conditions.
            environment (`str`): Further environment variables of the job.

        Returns:
            `dict[str, dict[str, str]]`: The outputs of each step with an id.

        Raises:
            StepFailed: A step failed.
        """
        assert job.shell == "bash"
        outputs: dict[str, dict[str, str]] = {}
        added: dict[str, str] = {}

        def evaluated(text: str) -> str:
            return EXPRESSION.sub(lambda found: self._value(found[1], known, outputs), str(text))

        for step in job.steps:
            if step.condition and evaluated(step.condition) != "true":
                continue
            self.ran.append(step.name)
            if step.uses:
                self._use(step, {key: evaluated(value) for key, value in step.inputs.items()})
                continue
            assert not EXPRESSION.search(step.run), f"{step.name}: an expression within a script"
            of_step = {key: evaluated(value) for key, value in {**job.env, **step.env}.items()}
            written = self._bash(step, self.environment | environment | added | of_step)
            outputs[step.id] = _pairs(written["GITHUB_OUTPUT"])
            added |= _pairs(written["GITHUB_ENV"])
            assert not written["GITHUB_PATH"], "no workflow here needs it"
            self.summary += written["GITHUB_STEP_SUMMARY"]
        return outputs

    def _value(
        self, expression: str, known: Mapping[str, str | bool], outputs: Mapping[str, Mapping[str, str]]
    ) -> str:
        """Return the value of an expression; outputs of steps need not be given by the test."""
        comparison = re.fullmatch(rf"({OUTPUT.pattern}) != ''", expression)
        if expression not in known and (found := OUTPUT.fullmatch(comparison[1] if comparison else expression)):
            value = outputs[found[1]].get(found[2], "")
            return str(bool(value)).lower() if comparison else value
        assert expression in known, f"the test does not give a value for {expression}"
        known_value = known[expression]
        return str(known_value).lower() if isinstance(known_value, bool) else known_value

    def _bash(self, step: Step, environment: dict[str, str]) -> dict[str, str]:
        folder = self.scratch / f"step-{len(self.ran)}"
        folder.mkdir(parents=True)
        files = {name: folder / name for name in FILES}
        for path in files.values():
            path.touch()
        (script := folder / "script.sh").write_text(step.run, "utf-8")
        ended = subprocess.run(
            [*BASH, str(script)],
            cwd=self.clone,
            env=environment | {name: str(path) for name, path in files.items()},
            capture_output=True,
            text=True,
            timeout=600,
        )
        written = {name: path.read_text("utf-8") for name, path in files.items()}
        if ended.returncode:
            self.summary += written["GITHUB_STEP_SUMMARY"]
            raise StepFailed(step.name, ended.returncode, f"{ended.stdout}\n{ended.stderr}")
        return written

    def _use(self, step: Step, inputs: dict[str, str]) -> None:
        action = step.uses.split("@")[0]
        if action == "actions/upload-artifact":
            self._upload(inputs)
        elif action == "actions/download-artifact":
            shutil.copytree(self.artifact(inputs["name"]), self.clone / inputs["path"], dirs_exist_ok=True)
        else:
            assert action in SKIPPED_ACTIONS, f"the runner of the tests does not support {action}"

    def artifact(self, name: str) -> Path:
        """Return the folder of an artifact that a step uploaded."""
        return self.scratch / "artifacts" / name

    def _upload(self, inputs: dict[str, str]) -> None:
        """Copy the files of an artifact, with paths relative to their common folder, like the action."""
        lines = inputs["path"].split()
        excluded = {found for line in lines if line.startswith("!") for found in self._found(line[1:])}
        roots = [found for line in lines if not line.startswith("!") for found in self._found(line)]
        assert roots or inputs["if-no-files-found"] != "error", f"{inputs['path']}: no files to upload"
        common = roots[0] if len(roots) == 1 else roots[0].parent
        for path in (each for root in roots for each in [root, *root.rglob("*")] if each.is_file()):
            if excluded.isdisjoint([path, *path.parents]):
                target = self.artifact(inputs["name"]) / path.relative_to(common)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)

    def _found(self, pattern: str) -> list[Path]:
        return [self.clone / path for path in glob.glob(pattern, root_dir=self.clone)]


def _pairs(text: str) -> dict[str, str]:
    """Parse lines of the form `name=value`; no workflow here uses the multi-line form."""
    return dict(line.split("=", 1) for line in text.splitlines())
