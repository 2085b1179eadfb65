"""Store repositories in memory: commits, refs and their trees."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .access import Grant
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
    """Store a commit: its complete tree, and its parent."""

    id: str
    tree: Tree
    parent: str | None
    title: str
    message: str
    author: str
    date: datetime


@dataclass
class PullRequest:
    """
    Store a pull request.

    Args:
        number (`int`):
            Number, from 1; its commits are those of `refs/pr/<number>`.
        title (`str`):
            Title.
        description (`str`):
            First comment in Markdown.
        author (`str`):
            Author.
        status (`str`):
            `"draft"`, `"open"`, `"closed"` or `"merged"`.
        comments (`list[str]`):
            Further comments.
        merge_commit (`str`, *optional*):
            Id of the merge commit.
    """

    number: int
    title: str
    description: str
    author: str
    status: str
    comments: list[str] = field(default_factory=list)
    merge_commit: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.number}"


@dataclass
class Collection:
    """
    Store a collection of repositories.

    Args:
        slug (`str`):
            `namespace/title-id`.
        title (`str`):
            Title.
        description (`str`, *optional*):
            Description.
        private (`bool`, *optional*, defaults to `False`):
            Whether only members of the namespace can see it.
        items (`dict[tuple[str, str], str | None]`):
            Notes by (type, id) of its repositories.
    """

    slug: str
    title: str
    description: str | None = None
    private: bool = False
    items: dict[tuple[str, str], str | None] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def namespace(self) -> str:
        return self.slug.split("/")[0]


@dataclass
class SpaceState:
    """
    Store the settings and the state of a Space.

    Args:
        hardware (`str`):
            Requested hardware.
        variables (`dict[str, str]`):
            Values that owners can see.
        secrets (`dict[str, str]`):
            Values that the API does not return.
        course (`tuple[str, ...]`):
            Stages after each change, one for each request; the last one stays.
        error (`str`, *optional*):
            Message of a stage with an error.
        host (`str`, *optional*):
            Host of its page.
        sha (`str`, *optional*):
            Commit of its stage; the previous one until the first request.
        ahead (`list[str]`):
            Next stages.
    """

    hardware: str = "cpu-basic"
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    course: tuple[str, ...] = ("BUILDING", "APP_STARTING", "RUNNING")
    error: str | None = None
    host: str | None = None
    sha: str | None = None
    ahead: list[str] = field(default_factory=list)


@dataclass
class JobBook:
    """
    Store jobs and their results.

    Args:
        sent (`dict[str, dict]`): Requests of the client by the id of the job.
        log (`list[str]`): Output lines of every job.
        stage (`str`): Last stage, after it was running for one request.
        message (`str`, *optional*): Message of the last stage.
    """

    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[str] = field(default_factory=lambda: ["===== Job started at 12:00 =====", "step 1", "done"])
    stage: str = "COMPLETED"
    message: str | None = None


@dataclass
class Repo:
    """
    Store a repository.

    Args:
        repo_type (`str`):
            `"model"`, `"dataset"` or `"space"`.
        id (`str`):
            `namespace/name`.
        private (`bool`, *optional*, defaults to `False`):
            Whether only members of the namespace can see it.
        sdk (`str`, *optional*):
            SDK of a Space.
        refs (`dict[str, str]`):
            Commit ids by full ref name, such as `refs/heads/main`.
        pulls (`list[PullRequest]`):
            Pull requests, oldest first.
        space (`SpaceState`):
            Settings and state of a Space.
    """

    repo_type: str
    id: str
    private: bool = False
    sdk: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pulls: list[PullRequest] = field(default_factory=list)
    space: SpaceState = field(default_factory=SpaceState)

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    @property
    def url_path(self) -> str:
        """Return the path of the repository's page."""
        return f"/{self.resource}"

    @property
    def resource(self) -> str:
        """Return its name among those of all types: `acme/adapter`, `datasets/acme/clips`, `spaces/acme/demo`."""
        return resource_of(self.repo_type, self.id)

    def find_ref(self, revision: str) -> str | None:
        """Return the full name of the ref `revision`: a branch, a tag or a full ref name."""
        candidates = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
        return next((ref for ref in candidates if ref in self.refs), None)

    def at(self, revision: str) -> Commit:
        """
        Return the commit at `revision`: a branch, a tag, a full ref name, or a commit id of at least 7 digits.

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
        """Yield `commit` and its ancestors, newest first."""
        yield commit
        while commit.parent is not None:
            commit = self.commits[commit.parent]
            yield commit

    def last_change(self, commit: Commit, path: str) -> Commit:
        """Return the newest of `commit` and its ancestors that changed the file or folder `path`."""
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
    Store all data of the double.

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
        self.collections: dict[str, Collection] = {}
        self.publishers: dict[str, dict[str, str]] = {}  # claims of the trusted CI job by resource
        self.jobs: dict[str, dict[str, str]] = {}  # claims of running CI jobs, by request token
        self.id_tokens: dict[str, dict[str, str]] = {}  # claims, by id token
        self.grants: dict[str, Grant] = {}  # by token
        self.job_book = JobBook()
        self.renamed: dict[str, str] = {}  # present names by former names

    def find(self, repo_type: str, repo_id: str) -> Repo | None:
        return self.repos.get((repo_type, repo_id))

    def create(self, repo: Repo, *, author: str) -> Repo:
        """Add a repository with the Hub's initial commit, which contains `.gitattributes`."""
        tree = {".gitattributes": self.blobs.add_regular(gitattributes())}
        repo.add_commit(MAIN, tree, author=author, title="initial commit")
        self.repos[repo.repo_type, repo.id] = repo
        return repo

    def commit(
        self, repo: Repo, files: Mapping[str, bytes | None], *, title: str, author: str, revision: str = "main"
    ) -> Commit:
        """Commit contents by path on a branch; None deletes a file. See `HubDouble.commit`."""
        ref = repo.find_ref(revision) or f"refs/heads/{revision}"
        tree = dict(repo.at(revision).tree)
        for path, content in files.items():
            if content is None:
                del tree[path]
            else:
                tree[path] = self.blobs.add(path, content)
        return repo.add_commit(ref, tree, author=author, title=title)

    def delete(self, repo: Repo) -> None:
        del self.repos[repo.repo_type, repo.id]


def resource_of(repo_type: str, repo_id: str) -> str:
    """Return a repository's name among those of all types."""
    return f"{URL_PREFIXES[repo_type]}{repo_id}"


def is_repo_id(text: str) -> bool:
    """Return whether `text` can be the id of a repository; local paths cannot."""
    return _REPO_ID.fullmatch(text) is not None and not re.search(r"--|\.\.|\.git$", text)


def hub_date(date: datetime) -> str:
    """Return a date in the format of the Hub: ISO 8601 in UTC with milliseconds."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _subtree(tree: Tree, path: str) -> Tree:
    return {name: entry for name, entry in tree.items() if name == path or name.startswith(f"{path}/")}
