"""
Runs the steps of a job as a runner of GitHub does: one bash each, the files behind `$GITHUB_OUTPUT`, `$GITHUB_ENV`,
`$GITHUB_PATH` and `$GITHUB_STEP_SUMMARY`, outputs and artifacts that later steps read.

Expressions are not computed: a test says what each comes to, and one that it does not know of fails.
"""

import glob
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.workflows.reading import Job, Step


# GitHub's own, for `shell: bash`.
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
OUTPUT = re.compile(r"steps\.(\w+)\.outputs\.(\w+)")
# What the clone has already.
TAKEN_AS_DONE = ("actions/checkout", "actions/setup-python")
FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")


class StepFailed(Exception):
    """A step ended with something else than 0."""


@dataclass
class Runner:
    """
    A machine on which jobs run one after the other.

    Args:
        clone (`Path`): The checkout.
        environment (`dict[str, str]`): Of every step.
        scratch (`Path`): Folder for the files between steps, and for artifacts.
    """

    clone: Path
    environment: dict[str, str]
    scratch: Path
    summary: str = ""
    ran: list[str] = field(default_factory=list)

    def run(self, job: Job, known: Mapping[str, str | bool], **environment: str) -> dict[str, dict[str, str]]:
        """
        Runs the steps of a job.

        Args:
            job ([`Job`]): Of a workflow.
            known (`Mapping[str, str | bool]`): What each expression comes to, conditions among them.
            environment (`str`): Of this job besides.

        Returns:
            `dict[str, dict[str, str]]`: Outputs of each step that has an id.

        Raises:
            StepFailed: With the name of the step, and what it wrote.
        """
        assert job.shell == "bash"
        outputs: dict[str, dict[str, str]] = {}
        added: dict[str, str] = {}

        def told(text: str) -> str:
            return EXPRESSION.sub(lambda found: self._value(found[1], known, outputs), str(text))

        for step in job.steps:
            if step.condition and told(step.condition) != "true":
                continue
            self.ran.append(step.name)
            if step.uses:
                self._use(step, {key: told(value) for key, value in step.inputs.items()})
                continue
            assert not EXPRESSION.search(step.run), f"{step.name}: an expression within a script"
            of_step = {key: told(value) for key, value in {**job.env, **step.env}.items()}
            written = self._bash(step, self.environment | environment | added | of_step)
            outputs[step.id] = _pairs(written["GITHUB_OUTPUT"])
            added |= _pairs(written["GITHUB_ENV"])
            assert not written["GITHUB_PATH"], "no workflow here needs it"
            self.summary += written["GITHUB_STEP_SUMMARY"]
        return outputs

    def _value(
        self, expression: str, known: Mapping[str, str | bool], outputs: Mapping[str, Mapping[str, str]]
    ) -> str:
        """Outputs of steps, and whether they are empty, are known by themselves."""
        comparison = re.fullmatch(rf"({OUTPUT.pattern}) != ''", expression)
        if expression not in known and (found := OUTPUT.fullmatch(comparison[1] if comparison else expression)):
            value = outputs[found[1]].get(found[2], "")
            return str(bool(value)).lower() if comparison else value
        assert expression in known, f"the test does not say what {expression} comes to"
        answer = known[expression]
        return str(answer).lower() if isinstance(answer, bool) else answer

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
            raise StepFailed(f"{step.name}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
        return written

    def _use(self, step: Step, inputs: dict[str, str]) -> None:
        action = step.uses.split("@")[0]
        if action == "actions/upload-artifact":
            self._upload(inputs)
        elif action == "actions/download-artifact":
            shutil.copytree(self.artifact(inputs["name"]), self.clone / inputs["path"], dirs_exist_ok=True)
        else:
            assert action in TAKEN_AS_DONE, f"the runner of the tests does not know {action}"

    def artifact(self, name: str) -> Path:
        """Folder of an artifact that a step uploaded."""
        return self.scratch / "artifacts" / name

    def _upload(self, inputs: dict[str, str]) -> None:
        """Below the folder that all have in common, as the action does it."""
        lines = inputs["path"].split()
        left_out = {found for line in lines if line.startswith("!") for found in self._found(line[1:])}
        roots = [found for line in lines if not line.startswith("!") for found in self._found(line)]
        assert roots or inputs["if-no-files-found"] != "error", f"{inputs['path']}: no files to upload"
        common = roots[0] if len(roots) == 1 else roots[0].parent
        for path in (each for root in roots for each in [root, *root.rglob("*")] if each.is_file()):
            if left_out.isdisjoint([path, *path.parents]):
                target = self.artifact(inputs["name"]) / path.relative_to(common)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)

    def _found(self, pattern: str) -> list[Path]:
        return [self.clone / path for path in glob.glob(pattern, root_dir=self.clone)]


def _pairs(text: str) -> dict[str, str]:
    """Lines of `name=value`; no workflow here needs the form of several lines."""
    return dict(line.split("=", 1) for line in text.splitlines())
