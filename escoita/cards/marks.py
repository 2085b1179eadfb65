"""What is put around a commit: a tag, and a place in a collection. Both are looked at before anything is written."""

from huggingface_hub import HfApi

from escoita.errors import PublishError
from escoita.hub.auth import clear_refusals, trusted_resource
from escoita.hub.commit import Landed
from escoita.hub.retry import patiently


def require_tag(api: HfApi, repo: str, tag: str, commit: str) -> None:
    """
    Checks that a tag is free, or is where it is to be.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`; it is there.
        tag (`str`): Such as `v1`.
        commit (`str`): Where it is to be; empty for a commit that is still to be made.

    Raises:
        PublishError: It is on another commit; tags are not moved.
    """
    there = _tagged(api, repo, tag)
    if there and there != commit:
        raise PublishError(
            f"{repo}: the tag {tag} is on commit {there[:12]} already; give another, tags are not moved"
        )


def require_collection(api: HfApi, slug: str, repo: str) -> bool:
    """
    Checks that there is a collection.

    Returns:
        `bool`: Whether the repository is still to be put into it.

    Raises:
        PublishError: There is none; or it is a CI job that publishes, whose token writes to the repository alone.
    """
    with clear_refusals(slug, "collection"):
        items = patiently(slug)(api.get_collection, slug).items
    missing = not any(item.item_id == repo and item.item_type == "model" for item in items)
    if missing and trusted_resource(api):
        raise PublishError(
            f"{slug}: the token of a CI job writes to {repo} alone; put it into the collection yourself"
        )
    return missing


def put_tag(api: HfApi, repo: str, tag: str, landed: Landed) -> None:
    """
    Tags a commit; a tag that is there already is left.

    Raises:
        PublishError: The commit is made, the tag is not.
    """
    with clear_refusals(f"{landed.url} is made, but not tagged {tag}"):
        patiently(repo)(api.create_tag, repo, tag=tag, revision=landed.oid, exist_ok=True)
        if (there := _tagged(api, repo, tag)) != landed.oid:
            raise PublishError(f"{landed.url} is made, but the tag {tag} is on commit {there[:12]}")


def put_into_collection(api: HfApi, slug: str, repo: str, landed: Landed) -> None:
    """
    Puts the repository into a collection.

    Raises:
        PublishError: The commit is made, but it is not in the collection.
    """
    with clear_refusals(f"{landed.url} is made, but not put into {slug}", "collection"):
        patiently(slug)(api.add_collection_item, slug, repo, "model", exists_ok=True)


def _tagged(api: HfApi, repo: str, tag: str) -> str:
    """The commit that a tag is on; empty where there is no such tag."""
    with clear_refusals(repo):
        tags = patiently(repo)(api.list_repo_refs, repo).tags
    return next((ref.target_commit for ref in tags if ref.name == tag), "")
