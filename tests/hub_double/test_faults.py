"""Test the behavior of the real client for each fault, and the state of the repository afterwards."""

import os
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hub_double import Fault, HubDouble

from .conftest import REPO, status


def publish(api: HfApi, *, parent: str | None = None) -> str:
    """Commit a small file and a large one."""
    operations = [CommitOperationAdd("notes.txt", b"new"), CommitOperationAdd("new.safetensors", os.urandom(400_000))]
    return str(api.create_commit(REPO, operations, commit_message="Change", parent_commit=parent).oid)


def titles(hub: HubDouble) -> list[str]:
    repo = hub.store.repos["model", REPO]
    return [commit.title for commit in repo.history(repo.at("main"))]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that the client would have waited before it repeated a request."""
    seconds: list[float] = []
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", seconds.append)
    return seconds


def test_a_commit_that_fails_changes_nothing(api: HfApi, hub: HubDouble) -> None:
    fault = Fault("POST", "/commit/", status=500)
    hub.faults.append(fault)
    with pytest.raises(HfHubHTTPError) as error:
        publish(api)
    assert status(error) == 500 and fault.times == 0 and titles(hub) == ["Publish", "initial commit"]
    assert hub.log[-1] == ("POST", f"/api/models/{REPO}/commit/main", 500)
    publish(api)
    assert titles(hub) == ["Change", "Publish", "initial commit"]


@pytest.mark.parametrize("cut", [False, True], ids=["gateway timeout", "cut"])
def test_a_commit_with_a_lost_response(api: HfApi, hub: HubDouble, cut: bool) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=None if cut else 504, applied=True, cut=cut))
    with pytest.raises((HfHubHTTPError, httpx2.RemoteProtocolError)):
        publish(api)
    assert titles(hub) == ["Change", "Publish", "initial commit"]
    assert hub.log[-1].status == (0 if cut else 504)


def test_an_upload_is_repeated_if_the_connection_is_closed(api: HfApi, hub: HubDouble, waits: list[float]) -> None:
    hub.faults.append(Fault("PUT", "^/_lfs/", cut=True, times=2))
    publish(api)
    assert [entry.status for entry in hub.log if entry.method == "PUT"] == [0, 0, 200] and len(waits) == 2
    assert titles(hub)[0] == "Change"


def test_a_closed_connection_during_the_commit_changes_nothing(api: HfApi, hub: HubDouble) -> None:
    hub.faults.append(Fault("POST", "/commit/", cut=True))
    with pytest.raises(httpx2.RemoteProtocolError):
        publish(api)
    assert titles(hub) == ["Publish", "initial commit"]


@pytest.mark.parametrize("file", ["README.md", "adapter.safetensors"])
def test_an_interrupted_download_is_resumed(api: HfApi, hub: HubDouble, tmp_path: Path, file: str) -> None:
    hub.faults.append(Fault("GET", "/resolve/|^/_cdn/", cut=True))
    path = api.hf_hub_download(REPO, file, local_dir=tmp_path / "out")
    repo = hub.store.repos["model", REPO]
    assert hub.store.blobs.path(repo.at("main").tree[file].sha256).read_bytes() == Path(path).read_bytes()
    assert hub.faults[0].times == 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 8.0),
        ({"RateLimit": '"api";r=0;t=20', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}, 21.0),
    ],
    ids=["Retry-After", "RateLimit"],
)
def test_the_client_waits_as_long_as_requested(
    api: HfApi, hub: HubDouble, waits: list[float], headers: dict[str, str], seconds: float
) -> None:
    hub.faults.append(Fault("POST", "/preupload/", status=429, headers=headers))
    publish(api)
    assert waits == [seconds] and titles(hub)[0] == "Change"


def test_a_concurrent_commit_of_another_user(api: HfApi, hub: HubDouble) -> None:
    parent = api.model_info(REPO).sha
    hub.faults.append(Fault("POST", "/commit/", before=lambda: hub.commit(REPO, {"README.md": None}, "Edit")))
    with pytest.raises(HfHubHTTPError) as error:
        publish(api, parent=parent)
    assert status(error) == 412 and titles(hub) == ["Edit", "Publish", "initial commit"]
    assert not api.file_exists(REPO, "README.md") and api.list_repo_commits(REPO)[0].authors == ["bea"]


def test_a_fault_can_use_a_client_before_the_request(api: HfApi, hub: HubDouble) -> None:
    hub.faults.append(Fault("GET", f"/{REPO}$", before=lambda: api.create_tag(REPO, tag="v1")))
    assert api.model_info(REPO).id == REPO
    assert [tag.name for tag in api.list_repo_refs(REPO).tags] == ["v1"]


def test_a_token_expires_after_some_requests(api: HfApi, hub: HubDouble) -> None:
    fault = Fault("*", "", status=401, after=2, times=99)
    hub.faults.append(fault)
    api.model_info(REPO)
    api.whoami()
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as error:
        publish(api)
    assert status(error) == 401 and fault.after == 0 and fault.times == 98
    assert titles(hub) == ["Publish", "initial commit"]


def test_the_first_matching_fault_is_used(api: HfApi, hub: HubDouble) -> None:
    hub.faults += [
        Fault("GET", "/api/models/", status=418, body="short and stout", after=1),
        Fault("GET", "/api/datasets/", status=500),
        Fault("GET", "/api/models/", status=404, body={"error": "gone"}, headers={"X-Error-Code": "RepoNotFound"}),
    ]
    assert not api.repo_exists(REPO)
    with pytest.raises(HfHubHTTPError) as error:
        api.model_info(REPO)
    assert status(error) == 418 and error.value.response.text == "short and stout"
    assert [fault.times for fault in hub.faults] == [0, 1, 0] and api.repo_exists(REPO)


def test_a_fault_with_a_lost_response_needs_a_status(api: HfApi, hub: HubDouble) -> None:
    with pytest.raises(ValueError, match="no status and no cut"):
        Fault("GET", "/", applied=True)


def test_every_response_has_a_request_id_and_the_rate_limit(api: HfApi, hub: HubDouble) -> None:
    hub.faults.append(Fault("GET", "/api/", status=503))
    for expected in (503, 200):
        response = httpx2.get(f"{hub.url}/api/models/{REPO}")
        assert response.status_code == expected and response.headers["X-Request-Id"]
        assert response.headers["RateLimit"] == '"api";r=999;t=300'
