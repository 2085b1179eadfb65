"""Describe a repository like the API: metadata and tags of its card, and its files."""

import hashlib
import json
from typing import Any

from .blobs import BlobStore, FileEntry
from .card_check import as_list, check_card
from .store import Commit, Repo, Tree, hub_date


def repo_info(repo: Repo, commit: Commit, blobs: BlobStore, *, with_blobs: bool = False) -> dict[str, Any]:
    """
    Return the API's description of a repository at a commit.

    Args:
        repo (`Repo`):
            Repository.
        commit (`Commit`):
            Commit of the card and the files.
        blobs (`BlobStore`):
            Store of the text of the card.
        with_blobs (`bool`, *optional*, defaults to `False`):
            Whether siblings have size, git id and LFS data.
    """
    metadata = card_metadata(repo, commit.tree, blobs)
    info = {
        "_id": object_id(repo),
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.id,
        "lastModified": hub_date(commit.date),
        "createdAt": hub_date(repo.created_at),
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card_tags(metadata, commit.tree),
        "siblings": [_sibling(path, entry, with_blobs) for path, entry in sorted(commit.tree.items())],
        "cardData": metadata or None,
        "usedStorage": sum(entry.size for entry in commit.tree.values()),
    }
    if repo.repo_type == "model":
        info["modelId"] = repo.id
        info |= {key: metadata[key] for key in ("pipeline_tag", "library_name", "model-index") if key in metadata}
    if repo.repo_type == "space":
        info["sdk"] = metadata.get("sdk", repo.sdk)
        info["subdomain"] = repo.id.replace("/", "-").lower()
        info["host"] = repo.space.host or f"https://{info['subdomain']}.hf.space"
        info |= {key: as_list(metadata.get(key)) for key in ("models", "datasets")}
    return info


def card_metadata(repo: Repo, tree: Tree, blobs: BlobStore) -> dict[str, Any]:
    """Return the front matter of the README in the types of JSON; empty if there is none."""
    if "README.md" not in tree:
        return {}
    metadata = check_card(blobs.text(tree["README.md"]), repo.repo_type).metadata
    as_json: dict[str, Any] = json.loads(json.dumps(metadata, default=str))
    return as_json


def card_tags(metadata: dict[str, Any], tree: Tree) -> list[str]:
    """Return the tags that the Hub derives from a card, in addition to its own."""
    tags = [str(tag) for key in ("tags", "library_name", "language") for tag in as_list(metadata.get(key))]
    tags += [f"dataset:{dataset}" for dataset in as_list(metadata.get("datasets"))]
    base_models = as_list(metadata.get("base_model"))
    default_relation = "adapter" if "adapter_config.json" in tree else "finetune"
    relation = metadata.get("base_model_relation") or default_relation
    tags += [f"base_model:{base_model}" for base_model in base_models]
    tags += [f"base_model:{relation}:{base_model}" for base_model in base_models]
    tags += [f"license:{license_id}" for license_id in as_list(metadata.get("license"))]
    return tags


def object_id(repo: Repo) -> str:
    """Return the internal id of a repository: 24 hexadecimal digits."""
    return hashlib.sha256(f"{repo.repo_type} {repo.id}".encode()).hexdigest()[:24]


def lfs_info(entry: FileEntry, id_key: str) -> dict[str, Any]:
    """Return the LFS data of an entry, with its sha256 under the name of the endpoint: `oid` or `sha256`."""
    return {id_key: entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}


def _sibling(path: str, entry: FileEntry, with_blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": path}
    if with_blobs:
        sibling |= {"size": entry.size, "blobId": entry.oid}
        if entry.is_lfs:
            sibling["lfs"] = lfs_info(entry, "sha256")
    return sibling
