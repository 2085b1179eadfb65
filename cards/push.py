"""
Publishes a run: adapter, processor, card and records in one commit, then read back and compared.

    python cards/push.py --run runs/quickstart-uzbek --repo user/name
"""

import hashlib
import tempfile
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from cards.access import clear_refusals, require_write
from cards.metadata import published_base
from cards.preflight import validate_card
from cards.publication import base_files, publication
from escoita.errors import PublishError
from escoita.recipe import load_recipe
from escoita.rundir import RunDirectory


def push(path: Path, repo: str | None = None) -> str:
    """
    Publishes a run.

    A base that is a local folder is published first, under the same owner, where it is missing.

    Args:
        path (`Path`): The run directory, trained and evaluated.
        repo (`str`, *optional*): `user/name`; the recipe's `hub.repo` unless given.

    Returns:
        `str`: Address of the commit.

    Raises:
        PublishError: The Hub refuses, or what is there afterwards is not what was sent. The run is left as it was.
    """
    run = RunDirectory(path)
    recipe = load_recipe(run.recipe)
    api = HfApi()
    repo = require_write(api, repo or recipe.hub.repo)
    base = published_base(recipe, repo)
    files = publication(run, recipe, repo, base)
    validate_card(files["README.md"].decode())
    if Path(recipe.base).is_dir():
        publish_base(api, Path(recipe.base), base, recipe.hub.private)
    else:
        with clear_refusals(f"base {base}"):
            api.model_info(base, revision=recipe.base_revision)
    return publish(api, repo, files, f"Publish {recipe.name}", recipe.hub.private)


def publish_base(api: HfApi, folder: Path, repo: str, private: bool) -> None:
    """
    Publishes a base where it is missing; where it is there its weights must be the same.

    Raises:
        PublishError: The repository holds other weights.
    """
    files = base_files(folder)
    with clear_refusals(repo):
        try:
            siblings = api.model_info(repo, files_metadata=True).siblings or []
        except RepositoryNotFoundError:
            publish(api, repo, files, "Publish the base of an adapter", private)
            return
    there = {file.rfilename: file.lfs.sha256 for file in siblings if file.lfs}
    for name, content in files.items():
        if name.endswith(".safetensors") and there.get(name) != hashlib.sha256(content).hexdigest():
            raise PublishError(f"{repo}: holds another {name} than {folder}; set hub.publish_base_as to another name")


def publish(api: HfApi, repo: str, files: dict[str, bytes], message: str, private: bool) -> str:
    """
    Writes files into a repository in one commit on top of what was read, and compares them byte for byte.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`; made where it is missing.
        files (`dict[str, bytes]`): Content by path in the repository.
        message (`str`): Summary of the commit.
        private (`bool`): Whether a repository that is made here is private.

    Returns:
        `str`: Address of the commit.

    Raises:
        PublishError: Nothing was written; or what is there afterwards differs.
    """
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    with clear_refusals(repo):
        api.create_repo(repo, private=private, exist_ok=True)
        parent = api.model_info(repo).sha
        commit = api.create_commit(repo, operations, commit_message=message, parent_commit=parent)
        with tempfile.TemporaryDirectory() as folder:
            api.snapshot_download(repo, revision=commit.oid, local_dir=folder)
            for name, content in files.items():
                if (Path(folder) / name).read_bytes() != content:
                    raise PublishError(f"{repo}: {name} does not read back as it was sent, in commit {commit.oid}")
    return commit.commit_url


if __name__ == "__main__":
    from escoita.cli import push_run, script

    script(push_run)
