"""
Publishes a run: adapter, processor, card and records in one commit, then read back and compared.

    python cards/push.py --run runs/quickstart-uzbek --repo user/name
"""

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from cards.access import clear_refusals, require_write
from cards.base import base_files, require_base
from cards.preflight import validate_card
from cards.publication import publication
from escoita.errors import PublishError
from escoita.files import sha256
from escoita.rundir import RunDirectory


# Of an earlier publication: figures that this card does not speak of, and pickles.
LEFTOVERS = re.compile(r"eval/.*|data\.json|training\.svg|(.*/)?[^/]*\.(bin|ckpt|pickle|pkl|pt|pth)")


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
    recipe = run.load_recipe()
    api = HfApi()
    repo = require_write(api, repo or recipe.hub.repo)
    base, base_missing = require_base(api, recipe, repo)
    files = publication(run, recipe, repo, base)
    validate_card(files["README.md"].decode())
    if base_missing:
        publish(api, base, base_files(Path(recipe.base)), "Publish the base of an adapter", recipe.hub.private)
    return publish(api, repo, files, f"Publish {recipe.name}", recipe.hub.private, LEFTOVERS)


def publish(
    api: HfApi,
    repo: str,
    files: Mapping[str, bytes | Path],
    message: str,
    private: bool,
    leftovers: re.Pattern[str] | None = None,
) -> str:
    """
    Writes files into a repository in one commit on top of what was read, and compares them byte for byte.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`; made where it is missing.
        files (`Mapping[str, bytes | Path]`): Content, or the file that holds it, by path in the repository.
        message (`str`): Summary of the commit.
        private (`bool`): Whether a repository that is made here is private.
        leftovers (`re.Pattern`, *optional*): What the same commit deletes, if it is there and not among the files.

    Returns:
        `str`: Address of the commit.

    Raises:
        PublishError: Nothing was written; or what is there afterwards differs.
    """
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, content) for name, content in files.items()
    ]
    with clear_refusals(repo):
        api.create_repo(repo, private=private, exist_ok=True)
        parent = api.model_info(repo).sha
        there = api.list_repo_files(repo, revision=parent)
        operations += [
            CommitOperationDelete(name)
            for name in there
            if leftovers and leftovers.fullmatch(name) and name not in files
        ]
        commit = api.create_commit(repo, operations, commit_message=message, parent_commit=parent)
        with tempfile.TemporaryDirectory() as folder:
            api.snapshot_download(repo, revision=commit.oid, local_dir=folder)
            for name, content in files.items():
                sent = sha256(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
                if sha256(Path(folder) / name) != sent:
                    raise PublishError(f"{repo}: {name} does not read back as it was sent, in commit {commit.oid}")
    return commit.commit_url


if __name__ == "__main__":
    from escoita.cli import push_run, script

    script(push_run)
