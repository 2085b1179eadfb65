"""
Test the steps of eval.yml and publish.yml in a clean clone with the Hub double: a short training, its evaluation, the
gate, and the pull request or the publication with the token of a trusted job.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.cards.publishing import client_environment, commits, tree
from tests.conftest import ROOT, write_manifest
from tests.hub_double import HubDouble, Repo, serve
from tests.workflows.reading import job
from tests.workflows.runner import Runner, StepFailed


pytestmark = pytest.mark.slow

REPO, PAGE, RECIPE, RUN = "ana/short", "ana/page", "recipes/short.yaml", "runs/short"
OF_RECIPE: dict[str, str | bool] = {
    "matrix.recipe": RECIPE,
    "matrix.flavor == ''": True,
    "matrix.flavor != ''": False,
}
OF_TAG = "github.ref_type == 'tag' && github.ref_name || ''"

FLEURS = {"name": "fleurs", "reader": "hub", "path": "google/fleurs", "columns": {"text": "transcription"}}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        yield double


@pytest.fixture
def machine(runner: Runner, hub: HubDouble) -> Runner:
    """Return a runner that is connected to the double, with a recipe of four steps."""
    recipe = yaml.safe_load((ROOT / "recipes/quickstart-uzbek.yaml").read_text("utf-8"))
    corpora = {
        split: [{"name": "few", "path": str(write_manifest(runner.scratch.parent / f"{split}.jsonl", split, count))}]
        for split, count in (("train", 16), ("test", 8))
    }
    recipe |= {"name": "short", "corpora": corpora, "validation": {}}
    recipe["training"] |= {"max_steps": 4, "eval_strategy": "no", "per_device_train_batch_size": 8}
    recipe["eval"] |= {"resamples": 100}
    (runner.clone / RECIPE).write_text(yaml.safe_dump(recipe), "utf-8")
    runner.environment |= client_environment(hub, token=None)
    return runner


def escoita(machine: Runner, *words: str, **environment: str) -> str:
    """Run a command outside of a job."""
    command = [str(machine.clone / ".venv/bin/escoita"), *words]
    where = machine.environment | environment
    ran = subprocess.run(command, cwd=machine.clone, env=where, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def publish(machine: Runner) -> None:
    """Publish adapter and base with a token."""
    escoita(machine, "push", "--run", RUN, "--repo", REPO, "--publish-base", HF_TOKEN="hf_ana")


def publish_better_results(hub: HubDouble, machine: Runner) -> None:
    """Publish results of an adapter with a very low WER, without its predictions."""
    results = json.loads((machine.clone / RUN / "eval/results.json").read_text("utf-8"))
    for corpus in results["corpora"]:
        for system in corpus["systems"]:
            system["normalized"] |= {"wer": 0.01, "wer_ci95": [0.0, 0.02]}
    removed = {name: None for name in tree(hub, REPO) if name.endswith(".parquet")}
    hub.commit(REPO, {"eval/results.json": json.dumps(results).encode(), **removed}, "Better")


def test_an_evaluation_is_compared_with_the_published_one_and_proposed(machine: Runner, hub: HubDouble) -> None:
    evaluate, propose = job("eval.yml", "evaluate"), job("eval.yml", "propose")
    machine.run(evaluate, OF_RECIPE | {"inputs.repo": ""})
    assert re.search(r"\| few \| 8 \| \d+ \| base \|", machine.summary)
    assert "Not compared: nothing is published" in machine.summary
    report = machine.artifact("run-short")
    assert (report / "eval/report.html").is_file() and not (report / "checkpoints").exists()

    publish(machine)
    publish_better_results(hub, machine)
    with pytest.raises(StepFailed) as error:
        machine.run(evaluate, OF_RECIPE | {"inputs.repo": REPO})
    assert (error.value.step, error.value.status) == ("Gate", 1)
    assert "**Fail:** worse for the speakers of few." in machine.summary

    shutil.rmtree(machine.clone / "published")
    publish(machine)
    machine.run(evaluate, OF_RECIPE | {"inputs.repo": REPO})
    assert "**Pass:** no measurable difference on few." in machine.summary

    hub.trust(REPO, repository="ana/train", workflow="eval.yml")
    publish_better_results(hub, machine)
    shutil.rmtree(machine.clone / RUN)
    trusted = hub.ci_job(repository="ana/train", workflow="eval.yml")
    machine.run(propose, OF_RECIPE | {"inputs.repo": REPO}, **trusted)
    assert f"{hub.url}/{REPO}/discussions/1" in machine.summary
    assert "eval/few/predictions.parquet" in tree(hub, REPO, "refs/pr/1") - tree(hub, REPO)
    assert commits(hub, REPO)[0] == "Better", "a pull request changes nothing by itself"


def test_with_hardware_a_job_runs_this_commit_and_its_results_are_downloaded(machine: Runner, hub: HubDouble) -> None:
    """The double has no buckets, so the command that downloads results only prints its help."""
    own = yaml.safe_load((machine.clone / RECIPE).read_text("utf-8"))
    own |= {"base": "ana/base", "corpora": {use: [FLEURS | {"split": use}] for use in ("train", "test")}}
    (machine.clone / RECIPE).write_text(yaml.safe_dump(own), "utf-8")
    evaluate = job("eval.yml", "evaluate")
    (step,) = (step for step in evaluate.steps if step.name == "Evaluate on Jobs")
    submitted, fetched = step.run.strip().rsplit("\n", 1)
    assert fetched == '.venv/bin/hf buckets sync "hf://buckets/$BUCKET/$NAME" "$RUN" --exclude "checkpoints/*"'
    names = [each for each in evaluate.steps if each.name == "Names"]
    fetching = replace(evaluate, steps=[*names, replace(step, run=f"{submitted}\n.venv/bin/hf buckets sync --help")])
    known = OF_RECIPE | {"inputs.repo": "", "matrix.flavor != ''": True, "secrets.HF_TOKEN": "hf_ana"}
    known |= {"matrix.flavor": "cpu-basic", "vars.ESCOITA_BUCKET": "ana/runs", "vars.ESCOITA_DATA": ""}
    of_github = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "ana/train", "GITHUB_SHA": "0" * 40}
    machine.run(fetching, known, **of_github)
    (sent,) = hub.store.job_book.sent.values()
    assert sent["flavor"] == "cpu-basic" and "hf_ana" not in json.dumps(sent["environment"])
    assert f"git+https://github.com/ana/train@{'0' * 40}" in json.dumps(sent)


def test_without_a_repository_nothing_is_proposed(machine: Runner) -> None:
    machine.run(job("eval.yml", "propose"), OF_RECIPE | {"inputs.repo": ""})
    assert machine.ran[-1] == "Names" and not machine.summary


def test_a_tag_publishes_the_adapter_and_a_release_its_page(machine: Runner, hub: HubDouble) -> None:
    known = {"inputs.recipe || vars.ESCOITA_RECIPE || 'recipes/quickstart-uzbek.yaml'": RECIPE, "github.token": ""}
    machine.run(job("publish.yml", "make"), known)
    publish(machine)  # a job's token can make no repository
    hub.commit(REPO, {"training.json": None}, "Lose a record")
    hub.trust(REPO, repository="ana/train", workflow="publish.yml")
    shutil.rmtree(machine.clone / RUN)
    known |= {"inputs.repo": REPO, OF_TAG: "v1", "inputs.run_id || github.run_id": "1", "inputs.run_id != ''": ""}
    known["vars.ESCOITA_SIGN"] = ""
    trusted = hub.ci_job(repository="ana/train", workflow="publish.yml")
    machine.run(job("publish.yml", "publish"), known, **trusted)
    repo = hub.store.repos["model", REPO]
    assert repo.refs["refs/tags/v1"] == repo.refs["refs/heads/main"] and "training.json" in tree(hub, REPO)
    assert machine.ran[-1] == "Verify" and f"{hub.url}/{REPO}/commit/" in machine.summary

    own = yaml.safe_load((machine.clone / RECIPE).read_text("utf-8"))
    (machine.clone / RECIPE).write_text(yaml.safe_dump(own | {"hub": own["hub"] | {"repo": REPO}}), "utf-8")
    hub.store.create(Repo("space", PAGE), author="ana")
    hub.trust(f"spaces/{PAGE}", repository="ana/train", workflow="space.yml")
    deploy = job("space.yml", "deploy")
    *earlier, push = deploy.steps
    dry = replace(
        deploy, steps=[*earlier, replace(push, run=f"{push.run.strip()} --dry-run | tee $GITHUB_STEP_SUMMARY")]
    )
    known = {"vars.ESCOITA_RECIPE || 'recipes/quickstart-uzbek.yaml'": RECIPE, "vars.ESCOITA_SPACE": PAGE}
    machine.run(dry, known, **hub.ci_job(repository="ana/train", workflow="space.yml"))
    assert f"{PAGE}: hardware unchanged; dry run" in machine.summary
