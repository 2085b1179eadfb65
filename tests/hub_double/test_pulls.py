"""Test pull requests with the real client."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.community import DiscussionComment, DiscussionCommit
from huggingface_hub.errors import HfHubHTTPError

from tests.hub_double import HubDouble, serve

from .conftest import CARD, REPO, client, status


BETTER = CARD + b"Better.\n"
PROPOSE = """
import os, sys
from huggingface_hub import CommitOperationAdd, HfApi
api, weights = HfApi(), os.urandom(300_000)
api.create_repo("acme/adapter")
operations = [CommitOperationAdd("new.safetensors", weights)]
commit = api.create_commit("acme/adapter", operations, commit_message="Improve", create_pr=True)
path = api.hf_hub_download("acme/adapter", "new.safetensors", revision=commit.pr_revision)
assert open(path, "rb").read() == weights
"""


def propose(api: HfApi, files: dict[str, bytes], *, parent: str | None = None) -> int:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    commit = api.create_commit(
        REPO,
        operations,
        commit_message="Improve",
        commit_description="By much.",
        create_pr=True,
        parent_commit=parent,
    )
    assert commit.pr_num is not None and commit.pr_url is not None and commit.pr_url.startswith(api.endpoint)
    return commit.pr_num


def test_a_commit_can_open_a_pull_request(api: HfApi, hub: HubDouble, tmp_path: Path) -> None:
    main = api.model_info(REPO).sha
    number = propose(api, {"README.md": BETTER, "new.safetensors": b"weights"}, parent=main)
    repo = hub.store.repos["model", REPO]
    (pull,) = repo.pulls
    assert (pull.title, pull.description, pull.author, pull.status) == ("Improve", "By much.", "ana", "open")
    assert api.model_info(REPO).sha == main and not api.file_exists(REPO, "new.safetensors")

    details = api.get_discussion_details(REPO, number)
    assert details.is_pull_request and details.status == "open" and details.git_reference == "refs/pr/1"
    assert [event.content for event in details.events if isinstance(event, DiscussionComment)] == ["By much."]
    (commit,) = [event for event in details.events if isinstance(event, DiscussionCommit)]
    assert commit.oid == api.model_info(REPO, revision="refs/pr/1").sha == repo.refs["refs/pr/1"]
    path = Path(api.snapshot_download(REPO, revision="refs/pr/1", local_dir=tmp_path / "pr"))
    assert (path / "README.md").read_bytes() == BETTER
    refs = api.list_repo_refs(REPO, include_pull_requests=True)
    assert [ref.ref for ref in refs.pull_requests or []] == ["refs/pr/1"]
    assert ("GET", f"/api/models/{REPO}/revision/refs%2Fpr%2F1", 200) in hub.log


def test_a_draft_is_opened_filled_and_merged(api: HfApi, hub: HubDouble) -> None:
    draft = api.create_pull_request(REPO, title="Improve", description="By much.")
    assert draft.status == "draft" and hub.store.repos["model", REPO].pulls[0].status == "draft"
    with pytest.raises(HfHubHTTPError) as still_a_draft:
        api.merge_pull_request(REPO, draft.num)
    parent = api.model_info(REPO, revision="refs/pr/1").sha
    operations = (CommitOperationAdd("notes.txt", b"new"), CommitOperationDelete("adapter.safetensors"))
    api.create_commit(REPO, operations, commit_message="One", revision="refs/pr/1", parent_commit=parent)
    with pytest.raises(HfHubHTTPError) as stale:
        api.create_commit(
            REPO, [CommitOperationAdd("b", b"")], commit_message="Two", revision="refs/pr/1", parent_commit=parent
        )
    hub.commit(REPO, {"other.txt": b"on main"}, "Meanwhile")
    api.change_discussion_status(REPO, draft.num, "open")
    assert api.comment_discussion(REPO, draft.num, "Thanks!").content == "Thanks!"
    api.merge_pull_request(REPO, draft.num)

    merged = api.get_discussion_details(REPO, draft.num)
    commits = api.list_repo_commits(REPO)
    assert merged.status == "merged" and merged.merge_commit_oid == commits[0].commit_id
    assert [commit.title for commit in commits][:2] == ["Improve (#1)", "Meanwhile"]
    assert set(api.list_repo_files(REPO)) == {".gitattributes", "README.md", "notes.txt", "other.txt"}
    with pytest.raises(HfHubHTTPError) as over:
        api.create_commit(REPO, [CommitOperationAdd("b", b"")], commit_message="Late", revision="refs/pr/1")
    assert [status(error) for error in (still_a_draft, stale, over)] == [409, 412, 409]


def test_pull_requests_are_listed_by_status(api: HfApi) -> None:
    for content in (b"one", b"two"):
        propose(api, {"notes.txt": content})
    api.change_discussion_status(REPO, 1, "closed")
    found = {
        status: [pull.num for pull in api.get_repo_discussions(REPO, discussion_status=status)]
        for status in ("open", "closed", None)
    }
    assert found == {"open": [2], "closed": [1], None: [2, 1]}
    assert not list(api.get_repo_discussions(REPO, discussion_type="discussion"))
    assert not list(api.get_repo_discussions(REPO, author="bea"))


def test_anybody_may_propose_but_only_members_merge(api: HfApi, hub: HubDouble) -> None:
    ana, reader = client(hub, "ana"), client(hub, "read_ana")
    ana.create_repo("ana/own")
    stranger = client(hub, "bea")
    operations = [CommitOperationAdd("new.safetensors", b"weights")]
    number = stranger.create_commit("ana/own", operations, commit_message="Improve", create_pr=True).pr_num
    assert number == 1
    stranger.create_commit(
        "ana/own", [CommitOperationAdd("notes.txt", b"")], commit_message="More", revision="refs/pr/1"
    )
    with pytest.raises(HfHubHTTPError) as not_a_member:
        stranger.merge_pull_request("ana/own", number)
    with pytest.raises(HfHubHTTPError) as not_the_author:
        client(hub, "carl").create_commit(
            "ana/own", [CommitOperationAdd("a", b"")], commit_message="Mine", revision="refs/pr/1"
        )
    with pytest.raises(HfHubHTTPError) as read_token:
        propose(reader, {"notes.txt": b""})
    with pytest.raises(HfHubHTTPError) as no_such_pull:
        ana.merge_pull_request("ana/own", 7)
    errors = (not_a_member, not_the_author, read_token, no_such_pull)
    assert [status(error) for error in errors] == [403, 403, 403, 404]
    ana.merge_pull_request("ana/own", number)
    assert ana.file_exists("ana/own", "new.safetensors")


def test_a_file_that_both_changed_is_a_conflict(api: HfApi, hub: HubDouble) -> None:
    number = propose(api, {"README.md": BETTER, "alike.txt": b"alike"})
    hub.commit(REPO, {"README.md": CARD + b"Ours.\n", "alike.txt": b"alike"}, "Meanwhile")
    assert api.get_discussion_details(REPO, number).conflicting_files == ["README.md"]
    with pytest.raises(HfHubHTTPError) as error:
        api.merge_pull_request(REPO, number)
    assert status(error) == 409 and api.list_repo_commits(REPO)[0].title == "Meanwhile"


def test_a_refused_card_opens_no_pull_request(api: HfApi, hub: HubDouble) -> None:
    with pytest.raises(ValueError, match="base_model"):
        propose(api, {"README.md": b"---\nbase_model: ./base\n---\n"})
    assert hub.store.repos["model", REPO].pulls == []


def test_a_large_file_is_proposed_through_xet(tmp_path: Path) -> None:
    with serve(tmp_path / "hub", xet=True) as hub:
        env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_ana", "HF_HOME": str(tmp_path / "home")}
        env |= {"HF_HUB_DISABLE_XET": "", "HF_HUB_OFFLINE": "", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        run = subprocess.run([sys.executable, "-c", PROPOSE], env=env, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
    repo = hub.store.repos["model", REPO]
    assert repo.at("refs/pr/1").tree["new.safetensors"].xet_hash and "new.safetensors" not in repo.at("main").tree
