"""Test publishing from a CI job without a stored token, with the real client in another process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hub_double import HubDouble

from .conftest import REPO, client, status


CLAIMS = {"repository": "acme/train", "branch": "main", "workflow": "publish.yml"}
PUBLISH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
api.upload_file(path_or_fileobj=b"weights", path_in_repo="new.safetensors", repo_id=sys.argv[1])
"""


def run_job(hub: HubDouble, home: Path, repo: str, **claims: str) -> subprocess.CompletedProcess[str]:
    """Run a job of GitHub Actions for `acme/adapter` that publishes to a repository."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    client = {"HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_OIDC_RESOURCE": REPO}
    return subprocess.run(
        [sys.executable, "-c", PUBLISH, repo],
        env=keep | client | hub.ci_job(**claims),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_trusted_job_publishes_only_to_its_repository(api: HfApi, hub: HubDouble, tmp_path: Path) -> None:
    api.create_repo("acme/other")
    hub.trust(REPO, **CLAIMS)
    done = run_job(hub, tmp_path, REPO, **CLAIMS, actor="ana")
    assert done.returncode == 0, done.stderr
    assert api.list_repo_commits(REPO)[0].authors == ["[OIDC]"] and api.file_exists(REPO, "new.safetensors")
    assert ("POST", "/oauth/token", 200) in hub.log

    elsewhere = run_job(hub, tmp_path, "acme/other", **CLAIMS)
    assert elsewhere.returncode == 1 and "403" in elsewhere.stderr
    assert not api.file_exists("acme/other", "new.safetensors")


@pytest.mark.parametrize(
    "claims", [CLAIMS | {"branch": "main-backup"}, {"repository": "acme/train"}], ids=["other", "missing"]
)
def test_a_job_with_other_claims_gets_no_token(
    api: HfApi, hub: HubDouble, tmp_path: Path, claims: dict[str, str]
) -> None:
    hub.trust(REPO, **CLAIMS)
    refused = run_job(hub, tmp_path, REPO, **claims)
    assert refused.returncode == 1 and "invalid_grant" in refused.stderr
    assert len(api.list_repo_commits(REPO)) == 2 and not hub.store.grants


def test_a_token_of_a_job_is_for_one_repository_and_one_hour(api: HfApi, hub: HubDouble) -> None:
    from huggingface_hub._oidc import exchange_oidc_token

    hub.trust(REPO, **CLAIMS)
    hub.store.id_tokens["signed"] = {**CLAIMS, "aud": hub.url}
    hub.store.id_tokens["for somebody else"] = {**CLAIMS, "aud": "https://example.org"}
    answer = exchange_oidc_token(subject_token="signed", resource=REPO, endpoint=hub.url)
    assert answer["token_type"] == "bearer" and answer["expires_in"] == 3600
    for subject, resource in (
        ("forged", REPO),
        ("for somebody else", REPO),
        ("signed", "acme/other"),
        ("signed", "ana"),
    ):
        with pytest.raises(HfHubHTTPError) as refused:
            exchange_oidc_token(subject_token=subject, resource=resource, endpoint=hub.url)
        assert status(refused) == 400

    job = HfApi(endpoint=hub.url, token=answer["access_token"])
    job.auth_check(REPO, write=True)
    for forbidden in (lambda: job.whoami(), lambda: job.create_repo("acme/new")):
        with pytest.raises(HfHubHTTPError) as error:
            forbidden()
        assert status(error) in (401, 403)
    with pytest.raises(HfHubHTTPError):
        job.create_collection("Adapters", namespace="acme")
    hub.store.grants[answer["access_token"]].expires_at = 0.0
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as expired:
        job.model_info(REPO)
    assert status(expired) == 401


def test_an_expired_token_is_refused(api: HfApi, hub: HubDouble) -> None:
    for call in (lambda: client(hub, "expired_ana").whoami(), lambda: client(hub, "expired_ana").model_info(REPO)):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert status(error) == 401
