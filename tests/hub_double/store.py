"""Repositories in memory: commits, refs and the trees they point to."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .blobs import BlobStore, FileEntry, gitattributes
from .cas import XetCas
from .errors import HubError


Tree = dict[str, FileEntry]

MAIN = "refs/heads/main"
URL_PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_REPO_ID = re.compile(r"(\b[\w\-.]+\b/)?\b[\w\-.]{1,96}\b", re.ASCII)
_SHORTEST_SHA = 7


@dataclass(frozen=True)
class Commit:
    """A commit: a whole tree, and where it came from."""

    id: str
    tree: Tree
    parent: str | None
    title: str
    message: str
    author: str
    date: datetime


@dataclass
class Repo:
    """
    A repository.

    Args:
        repo_type (`str`):
            `"model"`, `"dataset"` or `"space"`.
        id (`str`):
            `namespace/name`.
        private (`bool`, *optional*, defaults to `False`):
            Whether only members of the namespace see it.
        sdk (`str`, *optional*):
            SDK a Space was created with.
        refs (`dict[str, str]`):
            Commit ids by full ref name, such as `refs/heads/main`.
    """

    repo_type: str
    id: str
    private: bool = False
    sdk: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    @property
    def url_path(self) -> str:
        """Path of the repository's page."""
        return f"/{URL_PREFIXES[self.repo_type]}{self.id}"

    def find_ref(self, revision: str) -> str | None:
        """The full name of the ref that `revision` names: a branch, a tag or a full ref name."""
        candidates = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
        return next((ref for ref in candidates if ref in self.refs), None)

    def at(self, revision: str) -> Commit:
        """
        The commit at `revision`: a branch, a tag, a full ref name, or a commit id of at least 7 digits.

        Raises:
            [`HubError`]: 404 `RevisionNotFound`.
        """
        ref = self.find_ref(revision)
        if ref is not None:
            return self.commits[self.refs[ref]]
        for sha, commit in self.commits.items():
            if len(revision) >= _SHORTEST_SHA and sha.startswith(revision):
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")

    def history(self, commit: Commit) -> Iterator[Commit]:
        """`commit` and its ancestors, newest first."""
        yield commit
        while commit.parent is not None:
            commit = self.commits[commit.parent]
            yield commit

    def last_change(self, commit: Commit, path: str) -> Commit:
        """The newest of `commit` and its ancestors that changed the file or folder `path`."""
        here = _subtree(commit.tree, path)
        changed = commit
        for ancestor in self.history(commit):
            if _subtree(ancestor.tree, path) != here:
                break
            changed = ancestor
        return changed

    def add_commit(self, ref: str, tree: Tree, *, author: str, title: str, message: str = "") -> Commit:
        """Commit `tree` on top of `ref` and move `ref` to it."""
        parent, date = self.refs.get(ref), datetime.now(UTC)
        identity = repr((sorted(tree.items()), parent, title, message, author, date, len(self.commits)))
        sha = hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()
        self.commits[sha] = Commit(sha, tree, parent, title, message, author, date)
        self.refs[ref] = sha
        return self.commits[sha]


class Store:
    """
    All the double knows.

    Args:
        root (`Path`):
            Folder for blobs and, with `xet`, for the CAS.
        xet (`bool`, *optional*, defaults to `False`):
            Whether clients may upload and download through hf_xet.
    """

    def __init__(self, root: Path, *, xet: bool = False) -> None:
        root = root.resolve()
        self.cas = XetCas(root / "cas") if xet else None
        self.blobs = BlobStore(root / "blobs", self.cas)
        self.repos: dict[tuple[str, str], Repo] = {}

    def find(self, repo_type: str, repo_id: str) -> Repo | None:
        return self.repos.get((repo_type, repo_id))

    def create(self, repo: Repo, *, author: str) -> Repo:
        """Add a repository with the Hub's initial commit, which holds `.gitattributes`."""
        tree = {".gitattributes": self.blobs.add_regular(gitattributes())}
        repo.add_commit(MAIN, tree, author=author, title="initial commit")
        self.repos[repo.repo_type, repo.id] = repo
        return repo

    def delete(self, repo: Repo) -> None:
        del self.repos[repo.repo_type, repo.id]


def is_repo_id(text: str) -> bool:
    """Whether `text` can be the id of a repository; local paths cannot."""
    return _REPO_ID.fullmatch(text) is not None and not re.search(r"--|\.\.|\.git$", text)


def hub_date(date: datetime) -> str:
    """A date as the Hub writes it: ISO 8601 in UTC with milliseconds."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _subtree(tree: Tree, path: str) -> Tree:
    return {name: entry for name, entry in tree.items() if name == path or name.startswith(f"{path}/")}
