"""Publish many files in one commit: list its changes, send it, and read it back."""

import glob
import hashlib
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from huggingface_hub.utils.sha import git_hash
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from escoita.errors import PublishError
from escoita.hub.auth import repository_exists
from escoita.hub.failures import explain_hub_errors
from escoita.hub.retry import passes, retrying, status_of
from escoita.utils.files import sha256
from escoita.utils.formatting import visible
from escoita.utils.processes import say


Content = bytes | Path
Kind = Literal["added", "changed", "unchanged", "deleted"]
STYLES: dict[Kind, str] = {"added": "green", "changed": "yellow", "unchanged": "dim", "deleted": "red"}


class CommitConflictError(PublishError):
    """
    Report that another commit changed files of this one.

    Args:
        files (`list[str]`): Paths of the files that both change.
    """

    hint = "check these files, and run the command again"
    files: list[str]


class ReadBackError(PublishError):
    """
    Report a commit whose files cannot be read back as they were sent.

    Args:
        commit (`str`): The id of the commit.
    """

    commit: str


@dataclass(frozen=True)
class Head:
    """
    Store the state of a repository at a commit.

    Args:
        sha (`str`): The commit; empty if the repository does not exist.
        files (`dict[str, RepoFile]`): The files as the Hub lists them, by path.
        card (`str`): The text of its README.md; empty if there is none.
        private (`bool`): Whether only members see it.
        repo_type (`str`): `model` or `space`.
    """

    sha: str = ""
    files: Mapping[str, RepoFile] = field(default_factory=dict)
    card: str = ""
    private: bool = False
    repo_type: str = "model"


@dataclass(frozen=True)
class Change:
    """
    Store the change of one file.

    Args:
        path (`str`): Path in the repository.
        kind (`str`): `added`, `changed`, `unchanged` or `deleted`.
        size (`int`): New size in bytes; for a deleted file, the old size.
    """

    path: str
    kind: Kind
    size: int


def changes(files: Mapping[str, Content], head: Head, leftovers: re.Pattern[str] | None = None) -> list[Change]:
    """
    Compare the files of a commit with the repository.

    Args:
        files (`Mapping[str, bytes | Path]`): Content, or the file that contains it, by path in the repository.
        head ([`Head`]): The repository.
        leftovers (`re.Pattern`, *optional*): Paths of files to delete if they are not among the files of the commit.

    Returns:
        `list[Change]`: Every file that is published or deleted, sorted by path.
    """
    found = [Change(path, _kind(content, head.files.get(path)), size(content)) for path, content in files.items()]
    found += [
        Change(path, "deleted", published.size)
        for path, published in head.files.items()
        if path not in files and leftovers and leftovers.fullmatch(path)
    ]
    return sorted(found, key=lambda change: change.path)


def real(found: Iterable[Change]) -> list[Change]:
    """Return the changes without the unchanged files."""
    return [change for change in found if change.kind != "unchanged"]


def counted(found: Iterable[Change]) -> str:
    """Return the number of changes of each kind as text."""
    counts = Counter(change.kind for change in found)
    return ", ".join(f"{counts[kind]} {kind}" for kind in STYLES if counts[kind]) or "nothing"


def print_changes(repo: str, found: Iterable[Change], console: Console | None = None) -> None:
    """Print a table of files with size and kind of change."""
    console = console or Console()
    table = Table(title=escape(repo), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for change in found:
        table.add_row(Text(visible(change.path)), decimal(change.size), Text(change.kind, STYLES[change.kind]))
    console.print(table)


def size(content: Content) -> int:
    """Return the size of a file in bytes."""
    return content.stat().st_size if isinstance(content, Path) else len(content)


def digest(content: Content) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    return sha256(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()


def same(content: Content, published: RepoFile | None) -> bool:
    """Return whether the Hub has the same content: by SHA-256 if it is in LFS, else by git's id of the blob."""
    if published is None or published.size != size(content):
        return False
    if published.lfs:
        return published.lfs.sha256 == digest(content)
    return published.blob_id == git_hash(content.read_bytes() if isinstance(content, Path) else content)


def _kind(content: Content, published: RepoFile | None) -> Kind:
    if published is None:
        return "added"
    return "unchanged" if same(content, published) else "changed"


CARD = "README.md"
REBASES = 5


@dataclass(frozen=True)
class CommitPlan:
    """
    Describe a commit before it is made.

    Args:
        files (`Mapping[str, bytes | Path]`): Content, or the file that contains it, by path in the repository.
        title (`str`): First line of the commit message, and title of the pull request.
        description (`str`, *optional*): Body of the commit message, in Markdown.
        leftovers (`re.Pattern`, *optional*): Paths of files to delete if they are not among the files of the commit.
        pr (`bool`, *optional*, defaults to `False`): Whether the commit becomes a pull request.
        revise (`Callable`, *optional*): Function from the published card and the new one to the card of the commit. It
            may raise `PublishError`. Defaults to the new card.
    """

    files: Mapping[str, Content]
    title: str
    description: str = ""
    leftovers: re.Pattern[str] | None = None
    pr: bool = False
    revise: Callable[[str, str], str] | None = None

    def onto(self, head: Head) -> dict[str, Content]:
        """
        Return the files of the commit, with the card revised for a head.

        Raises:
            PublishError: `revise` refuses the published card.
        """
        files, card = dict(self.files), self.files.get(CARD)
        if self.revise and isinstance(card, bytes):
            files[CARD] = self.revise(head.card, card.decode()).encode()
        return files

    def changes(self, head: Head) -> list[Change]:
        """Return the change of each file."""
        return changes(self.onto(head), head, self.leftovers)


@dataclass(frozen=True)
class CommitResult:
    """
    Store the id and the address of a commit.

    Args:
        oid (`str`): Id of the commit; if there was no change, of the existing one.
        url (`str`): Address of the commit, or of its pull request.
    """

    oid: str
    url: str


def read_head(api: HfApi, repo: str, revision: str | None = None, repo_type: str = "model") -> Head:
    """
    Read the state of a repository: commit, files, and text of the card.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`.
        revision (`str`, *optional*): Branch, tag or commit. Defaults to the head of main.
        repo_type (`str`, *optional*, defaults to `"model"`): `"model"` or `"space"`.

    Raises:
        HfHubHTTPError: The Hub refuses; see `explain_hub_errors`.
        PublishError: The card cannot be read.
    """
    info = retrying(repo)(api.repo_info, repo, revision=revision, repo_type=repo_type)
    sha = info.sha or ""
    tree = retrying(repo)(lambda: list(api.list_repo_tree(repo, recursive=True, revision=sha, repo_type=repo_type)))
    files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    try:
        card = read_file(api, repo, sha, CARD, repo_type).decode() if CARD in files else ""
    except UnicodeDecodeError as error:
        raise PublishError(
            f"{CARD} is not UTF-8", path=repo, hint="correct it on the Hub, so that it can be kept"
        ) from error
    return Head(sha, files, card, bool(info.private), repo_type)


def head_or_empty(api: HfApi, repo: str, repo_type: str = "model") -> Head:
    """
    Return the head of a repository; an empty head if there is no repository.

    Raises:
        PublishError: The Hub refuses.
    """
    with explain_hub_errors(repo):
        exists = repository_exists(api, repo, repo_type)
        return read_head(api, repo, repo_type=repo_type) if exists else Head()


def read_file(api: HfApi, repo: str, revision: str, name: str, repo_type: str = "model") -> bytes:
    """Return the content of one file."""
    with tempfile.TemporaryDirectory() as folder:
        source = {"revision": revision, "repo_type": repo_type, "local_dir": folder}
        return Path(retrying(repo)(api.hf_hub_download, repo, name, **source)).read_bytes()


def commit(api: HfApi, repo: str, plan: CommitPlan, head: Head) -> CommitResult:
    """
    Commit on top of a head, or of later commits by others that change no file of this one, and read the files back.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`; the repository must exist.
        plan ([`CommitPlan`]): The commit.
        head ([`Head`]): The state of the repository that the plan was made for.

    Returns:
        [`CommitResult`]: The commit; the existing one if there is no change.

    Raises:
        PublishError: The commit was not made.
        ReadBackError: The commit was made, but its files differ from those that were sent.
    """
    with explain_hub_errors(repo):
        earlier = _pull_requests(api, repo) if plan.pr else set()
    operations: dict[str, CommitOperationAdd] = {}
    unanswered = False

    def send() -> CommitResult:
        nonlocal head, unanswered
        for _ in range(REBASES):
            if unanswered and (existing := _made_commit(api, repo, plan, head, earlier)):
                return existing
            unanswered = False
            try:
                return _send(api, repo, plan, head, operations)
            except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
                if status_of(error) != 412 and not passes(error):
                    raise
                unanswered = True
                if existing := _made_commit(api, repo, plan, head, earlier):
                    return existing
                unanswered = False
                if status_of(error) != 412:
                    raise
                head = _rebased(repo, plan, head, read_head(api, repo, repo_type=head.repo_type))
        raise PublishError(f"other commits came first {REBASES} times", path=repo, hint="run the command again later")

    before = real(plan.changes(head))
    with explain_hub_errors(repo):
        result = retrying(repo)(send)
    if before:
        _compare(api, repo, plan, head, result)
    return result


def commit_url(api: HfApi, repo: str, head: Head) -> str:
    """Return the address of the commit of a head."""
    return f"{api.endpoint}/{'spaces/' if head.repo_type == 'space' else ''}{repo}/commit/{head.sha}"


def _send(
    api: HfApi, repo: str, plan: CommitPlan, head: Head, operations: dict[str, CommitOperationAdd]
) -> CommitResult:
    """Send a commit once. Operations are kept for the next attempt, so that uploaded files are not sent again."""
    found, files = real(plan.changes(head)), plan.onto(head)
    if not found:
        return CommitResult(head.sha, commit_url(api, repo, head))
    operations.pop(CARD, None)
    for change in found:
        if change.kind != "deleted" and change.path not in operations:
            operations[change.path] = CommitOperationAdd(change.path, files[change.path])
    chosen = [
        CommitOperationDelete(change.path) if change.kind == "deleted" else operations[change.path] for change in found
    ]
    try:
        with warnings.catch_warnings():
            # Predictions are published on purpose.
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
            done = api.create_commit(
                repo,
                chosen,
                commit_message=plan.title,
                commit_description=plan.description,
                parent_commit=head.sha,
                create_pr=plan.pr,
                repo_type=head.repo_type,
            )
    except RuntimeError as error:  # of the client, with the error of one file as its cause, or of hf_xet
        cause = error.__cause__
        raise (cause if isinstance(cause, (httpx.HTTPError, OSError)) else ConnectionError(str(error))) from error
    except ValueError as error:
        raise PublishError(f"the Hub refuses the commit ({' '.join(str(error).split())})", path=repo) from error
    return CommitResult(done.oid, str(done.pr_url) if plan.pr else str(done.commit_url))


def _made_commit(api: HfApi, repo: str, plan: CommitPlan, head: Head, earlier: set[str]) -> CommitResult | None:
    """Return the commit, recognized by its title and by every file, if it was made although no answer came."""
    if plan.pr:
        for ref in sorted(_pull_requests(api, repo) - earlier):
            published = read_head(api, repo, ref)
            if not real(changes(plan.onto(head), published, plan.leftovers)):
                return CommitResult(published.sha, f"{api.endpoint}/{repo}/discussions/{ref.rsplit('/')[-1]}")
        return None
    for made in retrying(repo)(api.list_repo_commits, repo, repo_type=head.repo_type):
        if made.commit_id == head.sha:
            break
        if made.title == plan.title:
            published = read_head(api, repo, made.commit_id, head.repo_type)
            if not real(changes(plan.onto(head), published, plan.leftovers)):
                return CommitResult(published.sha, commit_url(api, repo, published))
    return None


def _pull_requests(api: HfApi, repo: str) -> set[str]:
    """Return the names of the references of the pull requests, such as `refs/pr/1`."""
    refs = retrying(repo)(api.list_repo_refs, repo, include_pull_requests=True)
    return {ref.ref for ref in refs.pull_requests or []}


def _rebased(repo: str, plan: CommitPlan, head: Head, now: Head) -> Head:
    """
    Return the new head, if its commits change no file of this one.

    Raises:
        CommitConflictError: Both change a file.
    """
    if now.sha == head.sha:
        raise PublishError(
            "the Hub reports a change since the repository was read, but there is none",
            path=repo,
            hint="run the command again",
        )
    changed = {path for path in head.files.keys() | now.files.keys() if not _unchanged(head, now, path)}
    both = sorted(path for path in changed - {CARD} if _conflicts(plan, path, now))
    if both:
        names = ", ".join(visible(path) for path in both)
        raise CommitConflictError(f"another commit changed {names}", path=repo, files=both)
    say(f"{repo}: repository changed meanwhile ({len(changed)} unrelated files); rebasing")
    return now


def _unchanged(head: Head, now: Head, path: str) -> bool:
    before, after = head.files.get(path), now.files.get(path)
    return before is not None and after is not None and before.blob_id == after.blob_id


def _conflicts(plan: CommitPlan, path: str, now: Head) -> bool:
    """Return whether the plan writes other content to a file that another commit changed, or deletes it."""
    if path in plan.files:
        return not same(plan.files[path], now.files.get(path))
    return path in now.files and bool(plan.leftovers and plan.leftovers.fullmatch(path))


def _compare(api: HfApi, repo: str, plan: CommitPlan, head: Head, result: CommitResult) -> None:
    """
    Read the files of a commit back, and compare them byte by byte with those that were sent.

    Raises:
        PublishError: They cannot be read back.
        ReadBackError: They differ.
    """
    files = plan.onto(head)
    sent = [change.path for change in real(changes(files, head)) if change.kind != "deleted"]
    with (
        tempfile.TemporaryDirectory() as folder,
        explain_hub_errors(repo, done=f"{result.url} was committed, and not read back"),
    ):
        if sent:
            names = [glob.escape(name) for name in sent]
            source = {"revision": result.oid, "repo_type": head.repo_type, "local_dir": folder}
            retrying(repo)(api.snapshot_download, repo, allow_patterns=names, **source)
        for name in sent:
            received = Path(folder) / name
            if not received.is_file() or digest(received) != digest(files[name]):
                raise ReadBackError(
                    f"differs in commit {result.oid} from the file that was sent",
                    path=f"{repo}/{name}",
                    commit=result.oid,
                )
