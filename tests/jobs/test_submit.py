"""Test jobs that are shown, sent to the Hub double over HTTP, and followed."""

import json
import subprocess
from collections.abc import Callable

import pytest
from huggingface_hub import HfApi

from escoita.errors import PublishError
from escoita.jobs.plan import (
    VARIABLE,
)
from escoita.jobs.submit import JobError, follow, shown, submit
from escoita.recipe.schema import Recipe
from tests.hub_double import HubDouble
from tests.jobs.conftest import A100, QUICKSTART, SOURCE, planned, upload


def test_a_job_is_shown_sent_and_followed(api: HfApi, hub: HubDouble, recipe: Recipe) -> None:
    made = planned(recipe, data="ana/corpora", out="ana/runs")
    lines = list(shown(made, A100, ["at most 6 h"]))
    job = submit(api, made, "hf_ana")
    sent = hub.store.job_book.sent[job.id]
    assert sent["command"][:2] == ["uv", "run"] and sent["command"][-3:] == ["python", "-m", "escoita.jobs.inside"]
    assert SOURCE in sent["command"] and any(part.startswith("torch==") for part in sent["command"])
    assert sent["timeoutSeconds"] == 21600 and sent["secrets"] == {"HF_TOKEN": "hf_ana"}
    assert [(each["type"], each["mountPath"]) for each in sent["volumes"]] == [
        ("dataset", "/corpora"),
        ("bucket", "/out"),
    ]
    assert json.loads(sent["environment"][VARIABLE])["commands"] == made.commands
    assert not any("hf_ana" in line for line in lines) and "hf_ana" not in json.dumps(sent["environment"])
    assert any("HF_TOKEN" in line for line in lines)
    printed: list[str] = []
    follow(api, job, printed.append)
    assert printed == ["step 1", "done"]


def test_a_failed_job_is_an_error_with_the_message_of_the_hub(api: HfApi, hub: HubDouble, recipe: Recipe) -> None:
    hub.store.job_book.stage, hub.store.job_book.message = "ERROR", "Job failed with exit code: 1"
    job = submit(api, planned(recipe), "hf_ana")
    with pytest.raises(JobError) as error:
        follow(api, job, lambda _: None)
    assert (error.value.path, error.value.stage) == (job.url, "ERROR")
    assert "Job failed with exit code: 1" in error.value.problem
    with pytest.raises(PublishError):
        submit(api, planned(recipe, namespace="bob"), "hf_ana")


def test_the_command_shows_sends_and_follows_a_job(
    hub: HubDouble, api: HfApi, recipe: Recipe, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    upload(hub, recipe)
    arguments = [
        "jobs",
        "train",
        str(QUICKSTART),
        "--flavor",
        "cpu-basic",
        "--source",
        SOURCE,
        "--repo",
        "ana/adapter",
    ]
    arguments += ["--data", "ana/corpora", "--set", "base=user/base"]
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_ana"}
    dry = command("-m", "escoita", *arguments, "--dry-run", "--hours", "2", **environment)
    assert dry.returncode == 0, dry.stderr
    assert "0.02 USD" in dry.stdout and "hf_ana" not in dry.stdout and not hub.store.job_book.sent
    done = command("-m", "escoita", *arguments, **environment)
    assert (done.returncode, len(hub.store.job_book.sent)) == (0, 1), done.stderr
    assert done.stdout.splitlines()[1:] == ["step 1", "done"] and "/jobs/ana/" in done.stdout
    hub.store.job_book.stage = "ERROR"
    failed = command("-m", "escoita", *arguments, **environment)
    assert failed.returncode == 1 and "ERROR" in failed.stderr and "Traceback" not in failed.stderr
