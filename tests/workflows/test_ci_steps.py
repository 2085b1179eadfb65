"""Test the steps of ci.yml in a clean clone."""

import subprocess
from pathlib import Path

import pytest

from tests.cards.samples import recipe, write_run
from tests.workflows.reading import GITHUB, Job, job, load
from tests.workflows.runner import Runner, StepFailed


NAMES = sorted(load(GITHUB / "workflows/ci.yml")["jobs"])


def scripts(name: str) -> list[str]:
    return [step.run for step in job("ci.yml", name).steps if step.run]


def test_the_clone_runs_its_own_code(runner: Runner) -> None:
    words = [".venv/bin/python", "-c", "import escoita; print(escoita.__file__)"]
    ran = subprocess.run(words, cwd=runner.clone, env=runner.environment, capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()) == runner.clone / "escoita/__init__.py"


def test_a_job_is_one_existing_target_of_the_makefile(runner: Runner) -> None:
    """The targets themselves take minutes; .ci/run runs them on a clean checkout."""
    for name in NAMES:
        target, *rest = scripts(name)
        assert target.startswith("make ") and len(rest) == (1 if name == "quickstart" else 0)
        dry = ["make", "--dry-run", *target.split()[1:]]
        ran = subprocess.run(dry, cwd=runner.clone, env=runner.environment, capture_output=True, text=True)
        assert ran.returncode == 0 and ran.stdout, ran.stderr
        assert "pip install" not in ran.stdout, "the clone has all that is installed"


def test_the_summary_and_the_artifact_of_the_quick_starts(runner: Runner) -> None:
    for name in ("quickstart-galician", "quickstart-uzbek"):
        run = write_run(runner.clone / "runs" / name, recipe())
        run.checkpoints.mkdir()
        (run.checkpoints / "optimizer.pt").touch()
        (run.eval / "report.html").touch()
    found = job("ci.yml", "quickstart")
    after = Job([step for step in found.steps if not step.run.startswith("make ")], found.env, found.shell)
    runner.run(after, {"!cancelled()": True})
    assert runner.ran[-2:] == ["Table", "Reports"]
    assert runner.summary.count("| corpus | N |") == 2 and "| clips | 1234 | base | 1.252 |" in runner.summary
    files = {str(path.relative_to(runner.artifact("quickstart"))) for path in runner.artifact("quickstart").rglob("*")}
    assert "quickstart-uzbek/eval/report.html" in files and not any("checkpoints" in name for name in files)


def test_a_table_of_a_run_without_records_fails(runner: Runner) -> None:
    found = job("ci.yml", "quickstart")
    (runner.clone / "runs/broken").mkdir(parents=True)
    with pytest.raises(StepFailed) as error:
        runner.run(Job(found.steps[-2:], found.env, found.shell), {"!cancelled()": True})
    assert error.value.step == "Table" and "training.json" in error.value.output
