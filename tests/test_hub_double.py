"""Test the Hub double with the real client. See `hub_double`."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tests.hub_double import HubDouble, serve


REPO = "acme/adapter"
CARD = "---\nlanguage: gl\nbase_model: acme/base\npipeline_tag: automatic-speech-recognition\n---\n# Adapter\n"
BAD_CARD = "---\nlanguage: gl\nbase_model: ./checkpoints/base\n---\n# Adapter\n"

PUBLISH = """
import sys
from pathlib import Path
from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download

repo, source, target = sys.argv[1:]
HfApi().create_repo(repo)
files = sorted(path for path in Path(source).rglob("*") if path.is_file())
operations = [CommitOperationAdd(path.relative_to(source).as_posix(), path) for path in files]
print(HfApi().create_commit(repo, operations, commit_message="Publish").oid)
snapshot_download(repo, local_dir=target)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub: HubDouble) -> HfApi:
    """Return the client of a user with a write token and a repository with one commit."""
    api = HfApi(endpoint=hub.url, token="hf_ana")
    api.create_repo(REPO)
    add_card(api, CARD)
    return api


def add_card(api: HfApi, card: str, *, revision: str = "main", parent: str | None = None) -> str:
    operations = [CommitOperationAdd("README.md", card.encode())]
    commit = api.create_commit(
        REPO, operations, commit_message="Add card", revision=revision, parent_commit=parent, run_as_future=False
    )
    return commit.oid


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_publish_and_download_in_another_process(tmp_path: Path, xet: bool) -> None:
    header = json.dumps({"weight": {"dtype": "U8", "shape": [1_500_000], "data_offsets": [0, 1_500_000]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + os.urandom(1_500_000)
    contents = {"README.md": CARD.encode(), "notes.txt": "ñandú\n".encode(), "sub/model.safetensors": weights}
    source, target = tmp_path / "source", tmp_path / "target"
    for name, content in contents.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)

    with serve(tmp_path / "hub", xet=xet) as hub:
        env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_ana", "HF_HOME": str(tmp_path / "home")}
        env |= {"HF_HUB_DISABLE_XET": "" if xet else "1", "HF_HUB_OFFLINE": "", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-c", PUBLISH, REPO, str(source), str(target)]
        run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr

    repo = hub.store.repos["model", REPO]
    entry = repo.at("main").tree["sub/model.safetensors"]
    paths = [logged.path for logged in hub.log]
    assert {name: (target / name).read_bytes() for name in contents} == contents
    assert repo.at("main").id == run.stdout.strip() and len(repo.commits) == 2
    assert entry.is_lfs and entry.size == len(weights) and (entry.xet_hash is not None) == xet
    assert any(path.startswith("/_lfs/") for path in paths) != xet
    assert any("/xet-write-token/" in path for path in paths) == xet


def test_commits_are_listed_and_described(api: HfApi, hub: HubDouble) -> None:
    first = api.model_info(REPO).sha
    notes = CommitOperationAdd("sub/notes.txt", b"one")
    second = api.create_commit(REPO, [notes], commit_message="Add notes", parent_commit=first).oid
    commits = api.list_repo_commits(REPO)
    assert [commit.title for commit in commits] == ["Add notes", "Add card", "initial commit"]
    assert [commit.commit_id for commit in commits][:2] == [second, first] and commits[0].authors == ["ana"]

    info = api.model_info(REPO, files_metadata=True)
    assert info.sha == second and info.card_data is not None and info.card_data.base_model == "acme/base"
    assert "base_model:finetune:acme/base" in (info.tags or []) and info.pipeline_tag == "automatic-speech-recognition"
    assert {file.rfilename: file.size for file in info.siblings or []}["sub/notes.txt"] == 3
    found = api.list_models(author="acme", filter="automatic-speech-recognition")
    assert [model.id for model in found] == [REPO] and not list(api.list_models(filter="text-generation"))

    tree = api.list_repo_tree(REPO, recursive=True, expand=True)
    last = {entry.path: entry.last_commit.oid for entry in tree if entry.last_commit}
    assert last == {".gitattributes": commits[2].commit_id, "README.md": first, "sub": second, "sub/notes.txt": second}
    assert [entry.path for entry in api.get_paths_info(REPO, ["sub", "README.md", "absent"])] == ["sub", "README.md"]
    api.create_commit(REPO, [CommitOperationDelete("sub/")], commit_message="Delete notes")
    assert not api.file_exists(REPO, "sub/notes.txt") and api.file_exists(REPO, "sub/notes.txt", revision=second)


def test_branches_and_tags(api: HfApi, hub: HubDouble) -> None:
    main = api.model_info(REPO).sha
    api.create_branch(REPO, branch="feature/one")
    api.create_tag(REPO, tag="v1")
    branch = add_card(api, CARD + "On a branch.\n", revision="feature/one")
    refs = api.list_repo_refs(REPO)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": main, "feature/one": branch}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": main}
    assert ("POST", f"/api/models/{REPO}/commit/feature%2Fone", 200) in hub.log
    api.delete_branch(REPO, branch="feature/one")
    api.delete_tag(REPO, tag="v1")
    refs = api.list_repo_refs(REPO)
    assert [ref.name for ref in refs.branches] == ["main"] and refs.tags == []


def test_stale_parent_is_refused(api: HfApi) -> None:
    first = api.model_info(REPO).sha
    second = add_card(api, CARD + "Second.\n", parent=first)
    with pytest.raises(HfHubHTTPError) as error:
        add_card(api, CARD + "Third.\n", parent=first)
    assert error.value.response.status_code == 412 and api.model_info(REPO).sha == second


def test_tokens_and_rights(api: HfApi, hub: HubDouble) -> None:
    reader, stranger = (HfApi(endpoint=hub.url, token=token) for token in ("hf_read_ana", "not-a-token"))
    assert api.whoami()["name"] == reader.whoami()["name"] == "ana"
    reader.auth_check(REPO)
    with pytest.raises(HfHubHTTPError) as bad_token:
        stranger.whoami()
    with pytest.raises(HfHubHTTPError) as read_token:
        add_card(reader, CARD + "More.\n")
    with pytest.raises(HfHubHTTPError) as not_a_member:
        api.create_repo("other/adapter")
    with pytest.raises(HfHubHTTPError) as exists:
        api.create_repo(REPO)
    errors = (bad_token, read_token, not_a_member, exists)
    assert [error.value.response.status_code for error in errors] == [401, 403, 403, 409]
    assert len(api.list_repo_commits(REPO)) == 2


def test_invalid_card_is_refused_and_nothing_is_committed(api: HfApi, hub: HubDouble) -> None:
    with pytest.raises(ValueError, match=r'"base_model\[0\]" with value "./checkpoints/base" is not valid'):
        add_card(api, BAD_CARD)
    # without the client, which checks the card before a commit
    lines: list[dict[str, object]] = [{"key": "header", "value": {"summary": "Break the card"}}]
    lines += [{"key": "file", "value": {"path": path, "content": BAD_CARD}} for path in ("a.txt", "README.md")]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    url, headers = f"{hub.url}/api/models/{REPO}/commit/main", {"Authorization": "Bearer hf_ana"}
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(url, body, headers))  # noqa: S310
    assert error.value.code == 400 and "base_model[0]" in json.load(error.value)["error"]
    assert len(api.list_repo_commits(REPO)) == 2 and not api.file_exists(REPO, "a.txt")


def test_private_repository_is_invisible_to_others(hub: HubDouble) -> None:
    ana, bea = (HfApi(endpoint=hub.url, token=f"hf_{name}") for name in ("ana", "bea"))
    ana.create_repo("ana/secret", private=True, repo_type="dataset")
    assert ana.dataset_info("ana/secret").private
    for token in ("hf_bea", False):
        with pytest.raises(RepositoryNotFoundError):
            bea.dataset_info("ana/secret", token=token)
    assert not list(bea.list_datasets()) and [dataset.id for dataset in ana.list_datasets()] == ["ana/secret"]
    ana.delete_repo("ana/secret", repo_type="dataset")
    assert not ana.repo_exists("ana/secret", repo_type="dataset")
