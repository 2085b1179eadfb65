"""Test tags and branches with the real client."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from tests.hub_double import HubDouble

from .conftest import REPO, client, status


def test_a_tag_is_not_moved(api: HfApi, hub: HubDouble) -> None:
    first = api.model_info(REPO).sha
    api.create_tag(REPO, tag="v1.0", tag_message="The first")
    hub.commit(REPO, {"notes.txt": b""}, "Edit")
    with pytest.raises(HfHubHTTPError) as exists:
        api.create_tag(REPO, tag="v1.0")
    assert status(exists) == 409
    api.create_tag(REPO, tag="v1.0", exist_ok=True)
    api.create_tag(REPO, tag="first", revision=first)
    assert {tag.name: tag.target_commit for tag in api.list_repo_refs(REPO).tags} == {"v1.0": first, "first": first}
    assert not api.file_exists(REPO, "notes.txt", revision="v1.0")


def test_a_branch_starts_at_a_revision(api: HfApi, hub: HubDouble) -> None:
    first = api.model_info(REPO).sha
    hub.commit(REPO, {"notes.txt": b""}, "Edit")
    api.create_branch(REPO, branch="old", revision=first)
    api.create_branch(REPO, branch="old", exist_ok=True)
    hub.commit(REPO, {"branch.txt": b""}, "On the branch", revision="old")
    assert api.file_exists(REPO, "branch.txt", revision="old") and not api.file_exists(REPO, "branch.txt")
    assert {branch.name for branch in api.list_repo_refs(REPO).branches} == {"main", "old"}


@pytest.mark.parametrize("name", ["v 1", "v1..2", "-v1", "a^b", "v1.", "a//b", ""])
def test_invalid_names_are_refused(api: HfApi, name: str) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag(REPO, tag=name)
    assert status(error) == 400 and not api.list_repo_refs(REPO).tags


def test_tags_need_a_revision_and_a_write_token(api: HfApi, hub: HubDouble) -> None:
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(REPO, tag="v1", revision="absent")
    with pytest.raises(HfHubHTTPError) as read_token:
        client(hub, "read_ana").create_tag(REPO, tag="v1")
    assert status(read_token) == 403 and not api.list_repo_refs(REPO).tags
