"""Test publishing from GitHub Actions without a stored token, over HTTP, with the issuer of the Hub double."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from escoita.run_directory import RunDirectory
from tests.cards.publishing import (
    BASE,
    REPO,
    TITLE,
    Command,
    client_environment,
    commits,
    make_repositories,
    make_run,
    tree,
)
from tests.hub_double import HubDouble, serve
from tests.hub_double.faults import Fault


CLAIMS = {"repository": "ana/train", "workflow": "publish.yml"}


@pytest.fixture(params=["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub", xet=request.param == "xet") as double:
        make_repositories(double, REPO)
        double.trust(REPO, **CLAIMS)
        yield double


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "run")


def job(hub: HubDouble, resource: str = REPO, **claims: str) -> dict[str, str]:
    return client_environment(hub, token=None) | hub.ci_job(**(CLAIMS | claims)) | {"HF_OIDC_RESOURCE": resource}


def arguments_of(run: RunDirectory, *arguments: str, repo: str = REPO) -> tuple[str, ...]:
    return ("-m", "escoita", "push", "--run", str(run.path), "--repo", repo, *arguments)


def test_a_trusted_job_publishes_and_tags(hub: HubDouble, run: RunDirectory, command: Command) -> None:
    pushed = command(*arguments_of(run, "--tag", "v1"), **job(hub))
    assert pushed.returncode == 0, pushed.stderr
    repo = hub.store.repos["model", REPO]
    assert commits(hub)[0] == TITLE and repo.refs["refs/tags/v1"] == repo.refs["refs/heads/main"]
    assert "hf_jwt" not in pushed.stdout + pushed.stderr
    assert not any(entry.path in ("/api/repos/create", "/api/whoami-v2") for entry in hub.log)


def test_a_failed_token_request_is_retried(hub: HubDouble, run: RunDirectory, command: Command) -> None:
    hub.faults.append(Fault("POST", "/oauth/token", status=503, headers={"Retry-After": "0"}))
    pushed = command(*arguments_of(run), **job(hub))
    assert pushed.returncode == 0, pushed.stderr
    assert commits(hub)[0] == TITLE


@pytest.mark.parametrize(
    ("repo", "resource", "claims", "text"),
    [
        (REPO, REPO, {"repository": "eve/train"}, REPO),
        ("ana/other", REPO, {}, "HF_OIDC_RESOURCE"),
        ("ana/new", "ana/new", {}, "ana/new"),
    ],
)
def test_other_jobs_are_refused_in_one_line(
    hub: HubDouble,
    run: RunDirectory,
    command: Command,
    repo: str,
    resource: str,
    claims: dict[str, str],
    text: str,
) -> None:
    refused = command(*arguments_of(run, repo=repo), **job(hub, resource, **claims))
    assert refused.returncode == 1 and text in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert commits(hub)[0] == "Earlier" and ("model", "ana/new") not in hub.store.repos


def test_a_job_without_the_permission_is_refused(hub: HubDouble, run: RunDirectory, command: Command) -> None:
    environment = job(hub)
    del environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    refused = command(*arguments_of(run), **environment)
    assert refused.returncode == 1 and "id-token: write" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1 and commits(hub)[0] == "Earlier"


def test_a_job_does_not_create_a_missing_base(
    hub: HubDouble, run: RunDirectory, command: Command, tmp_path: Path
) -> None:
    base = tmp_path / "tiny"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"weights")
    run.recipe.write_text(run.recipe.read_text("utf-8").replace(f"base: {BASE}", f"base: {base}"), "utf-8")
    refused = command(*arguments_of(run), **job(hub))
    assert refused.returncode == 1 and "ana/tiny" in refused.stderr
    assert commits(hub)[0] == "Earlier" and "training_args.bin" in tree(hub)
