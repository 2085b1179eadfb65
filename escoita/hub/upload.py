"""Make one commit of many files: what it would change, and whether it arrived whole."""

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
from escoita.hub.auth import clear_refusals
from escoita.hub.retry import passes, retrying, status_of
from escoita.utils.files import sha256
from escoita.utils.formatting import visible
from escoita.utils.processes import say


Content = bytes | Path
Kind = Literal["added", "changed", "unchanged", "deleted"]
STYLES: dict[Kind, str] = {"added": "green", "changed": "yellow", "unchanged": "dim", "deleted": "red"}


@dataclass(frozen=True)
class Head:
    """
    A repository as it was read.

    Args:
        sha (`str`): The commit; empty where there is no repository yet.
        files (`dict[str, RepoFile]`): What the Hub says of each file, by its path.
        card (`str`): The text of its README.md; empty where it has none.
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
    What becomes of one file.

    Args:
        path (`str`): In the repository.
        kind (`str`): `added`, `changed`, `unchanged` or `deleted`.
        size (`int`): In bytes, afterwards; of a deleted file before.
    """

    path: str
    kind: Kind
    size: int


def changes(files: Mapping[str, Content], head: Head, leftovers: re.Pattern[str] | None = None) -> list[Change]:
    """
    Compares what is to be published with what is there.

    Args:
        files (`Mapping[str, bytes | Path]`): Content, or the file that holds it, by path in the repository.
        head ([`Head`]): What is there.
        leftovers (`re.Pattern`, *optional*): What is deleted if it is there and not among the files.

    Returns:
        `list[Change]`: Every file that is published or deleted, by its path; others stay as they are.
    """
    found = [Change(path, _kind(content, head.files.get(path)), size(content)) for path, content in files.items()]
    found += [
        Change(path, "deleted", there.size)
        for path, there in head.files.items()
        if path not in files and leftovers and leftovers.fullmatch(path)
    ]
    return sorted(found, key=lambda change: change.path)


def real(found: Iterable[Change]) -> list[Change]:
    """Those that make a commit."""
    return [change for change in found if change.kind != "unchanged"]


def counted(found: Iterable[Change]) -> str:
    """How many of each kind, in words."""
    counts = Counter(change.kind for change in found)
    return ", ".join(f"{counts[kind]} {kind}" for kind in STYLES if counts[kind]) or "nothing"


def print_changes(repo: str, found: Iterable[Change], console: Console | None = None) -> None:
    """Prints a table of each file, its size, and what becomes of it."""
    console = console or Console()
    table = Table(title=escape(repo), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for change in found:
        table.add_row(Text(visible(change.path)), decimal(change.size), Text(change.kind, STYLES[change.kind]))
    console.print(table)


def size(content: Content) -> int:
    """In bytes."""
    return content.stat().st_size if isinstance(content, Path) else len(content)


def digest(content: Content) -> str:
    """SHA-256, as hexadecimal digits."""
    return sha256(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()


def same(content: Content, there: RepoFile | None) -> bool:
    """Whether the Hub holds this very content: by SHA-256 where it is in LFS, else by git's id of a blob."""
    if there is None or there.size != size(content):
        return False
    if there.lfs:
        return there.lfs.sha256 == digest(content)
    return there.blob_id == git_hash(content.read_bytes() if isinstance(content, Path) else content)


def _kind(content: Content, there: RepoFile | None) -> Kind:
    if there is None:
        return "added"
    return "unchanged" if same(content, there) else "changed"


CARD = "README.md"
REBASES = 5


@dataclass(frozen=True)
class CommitPlan:
    """
    What a commit is to bring.

    Args:
        files (`Mapping[str, bytes | Path]`): Content, or the file that holds it, by path in the repository.
        title (`str`): First line of the commit, and title of the pull request.
        description (`str`, *optional*): What stands below, in Markdown.
        leftovers (`re.Pattern`, *optional*): What the same commit deletes, if it is there and not among the files.
        pr (`bool`, *optional*, defaults to `False`): As a pull request.
        revise (`Callable`, *optional*): Given the card that is there, and ours, gives the one to commit; ours unless
            given. It may refuse.
    """

    files: Mapping[str, Content]
    title: str
    description: str = ""
    leftovers: re.Pattern[str] | None = None
    pr: bool = False
    revise: Callable[[str, str], str] | None = None

    def onto(self, head: Head) -> dict[str, Content]:
        """
        The files as they will be on top of what is there.

        Raises:
            PublishError: `revise` refuses.
        """
        files, card = dict(self.files), self.files.get(CARD)
        if self.revise and isinstance(card, bytes):
            files[CARD] = self.revise(head.card, card.decode()).encode()
        return files

    def changes(self, head: Head) -> list[Change]:
        """What becomes of each file."""
        return changes(self.onto(head), head, self.leftovers)


@dataclass(frozen=True)
class CommitResult:
    """
    Where a commit is.

    Args:
        oid (`str`): Its id; of the commit that was there, if nothing was to be changed.
        url (`str`): Address of the commit, or of its pull request.
    """

    oid: str
    url: str


def read_head(api: HfApi, repo: str, revision: str | None = None, repo_type: str = "model") -> Head:
    """
    Reads what is there: the commit, its files, and the text of its card.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`.
        revision (`str`, *optional*): Branch, tag or commit; the head of main unless given.
        repo_type (`str`, *optional*, defaults to `"model"`): Or `"space"`.

    Raises:
        HfHubHTTPError: The Hub refuses; see `clear_refusals`.
        PublishError: The card cannot be read.
    """
    info = retrying(repo)(api.repo_info, repo, revision=revision, repo_type=repo_type)
    sha = info.sha or ""
    tree = retrying(repo)(lambda: list(api.list_repo_tree(repo, recursive=True, revision=sha, repo_type=repo_type)))
    files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    try:
        card = read_file(api, repo, sha, CARD, repo_type).decode() if CARD in files else ""
    except UnicodeDecodeError as error:
        raise PublishError(f"{repo}: its README.md is not UTF-8; mend it there, so that it can be kept") from error
    return Head(sha, files, card, bool(info.private), repo_type)


def read_file(api: HfApi, repo: str, revision: str, name: str, repo_type: str = "model") -> bytes:
    """Content of one file."""
    with tempfile.TemporaryDirectory() as folder:
        where = {"revision": revision, "repo_type": repo_type, "local_dir": folder}
        return Path(retrying(repo)(api.hf_hub_download, repo, name, **where)).read_bytes()


def commit(api: HfApi, repo: str, wanted: CommitPlan, head: Head) -> CommitResult:
    """
    Commits on top of a head, or of what came on top of it meanwhile, and reads back what was sent.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`; it is there.
        wanted ([`CommitPlan`]): What is to be brought.
        head ([`Head`]): What was read.

    Returns:
        [`CommitResult`]: The commit; no new one where everything is there already.

    Raises:
        PublishError: Nothing was written; or what is there afterwards differs, and the line says so.
    """
    with clear_refusals(repo):
        earlier = _pull_requests(api, repo) if wanted.pr else set()
    operations: dict[str, CommitOperationAdd] = {}
    unanswered = False

    def send() -> CommitResult:
        nonlocal head, unanswered
        for _ in range(REBASES):
            if unanswered and (there := _landed(api, repo, wanted, head, earlier)):
                return there
            unanswered = False
            try:
                return _send(api, repo, wanted, head, operations)
            except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
                if status_of(error) != 412 and not passes(error):
                    raise
                unanswered = True
                if there := _landed(api, repo, wanted, head, earlier):
                    return there
                unanswered = False
                if status_of(error) != 412:
                    raise
                head = _rebased(repo, wanted, head, read_head(api, repo, repo_type=head.repo_type))
        raise PublishError(f"{repo}: somebody else commits all the time; run the command again later")

    before = real(wanted.changes(head))
    with clear_refusals(repo):
        landed = retrying(repo)(send)
    if before:
        _compare(api, repo, wanted, head, landed)
    return landed


def commit_url(api: HfApi, repo: str, head: Head) -> str:
    """Address of a commit that was read."""
    return f"{api.endpoint}/{'spaces/' if head.repo_type == 'space' else ''}{repo}/commit/{head.sha}"


def _send(
    api: HfApi, repo: str, wanted: CommitPlan, head: Head, operations: dict[str, CommitOperationAdd]
) -> CommitResult:
    """One attempt. Operations are kept for the next, so that files that went up are not sent again."""
    found, files = real(wanted.changes(head)), wanted.onto(head)
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
            # Predictions belong to what they prove.
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
            done = api.create_commit(
                repo,
                chosen,
                commit_message=wanted.title,
                commit_description=wanted.description,
                parent_commit=head.sha,
                create_pr=wanted.pr,
                repo_type=head.repo_type,
            )
    except RuntimeError as error:  # the client's around what befell one file, or hf_xet's own
        cause = error.__cause__
        raise (cause if isinstance(cause, (httpx.HTTPError, OSError)) else ConnectionError(str(error))) from error
    except ValueError as error:
        raise PublishError(f"{repo}: the Hub refuses the commit ({' '.join(str(error).split())})") from error
    return CommitResult(done.oid, str(done.pr_url) if wanted.pr else str(done.commit_url))


def _landed(api: HfApi, repo: str, wanted: CommitPlan, head: Head, earlier: set[str]) -> CommitResult | None:
    """The commit that was made though its answer never came, if it was: ours by its title, and by every file."""
    if wanted.pr:
        for ref in sorted(_pull_requests(api, repo) - earlier):
            there = read_head(api, repo, ref)
            if not real(changes(wanted.onto(head), there, wanted.leftovers)):
                return CommitResult(there.sha, f"{api.endpoint}/{repo}/discussions/{ref.rsplit('/')[-1]}")
        return None
    for made in retrying(repo)(api.list_repo_commits, repo, repo_type=head.repo_type):
        if made.commit_id == head.sha:
            break
        if made.title == wanted.title:
            there = read_head(api, repo, made.commit_id, head.repo_type)
            if not real(changes(wanted.onto(head), there, wanted.leftovers)):
                return CommitResult(there.sha, commit_url(api, repo, there))
    return None


def _pull_requests(api: HfApi, repo: str) -> set[str]:
    """Names of the references of its pull requests, `refs/pr/1`."""
    refs = retrying(repo)(api.list_repo_refs, repo, include_pull_requests=True)
    return {ref.ref for ref in refs.pull_requests or []}


def _rebased(repo: str, wanted: CommitPlan, head: Head, now: Head) -> Head:
    """
    The head that came meanwhile, if what it brought is none of ours.

    Raises:
        PublishError: Names the files that both change.
    """
    if now.sha == head.sha:
        raise PublishError(f"{repo}: the Hub says that it changed since it was read, but it did not; run again")
    brought = {path for path in head.files.keys() | now.files.keys() if not _alike(head, now, path)}
    both = sorted(path for path in brought - {CARD} if _ours(wanted, path, now))
    if both:
        names = ", ".join(visible(path) for path in both)
        raise PublishError(f"{repo}: somebody else has just changed {names}; look at that, and run the command again")
    say(f"{repo}: somebody else has just changed {len(brought)} file(s), none of ours; going on top of that")
    return now


def _alike(head: Head, now: Head, path: str) -> bool:
    before, after = head.files.get(path), now.files.get(path)
    return before is not None and after is not None and before.blob_id == after.blob_id


def _ours(wanted: CommitPlan, path: str, now: Head) -> bool:
    """Whether a file that somebody changed is one that we write otherwise, or would delete."""
    if path in wanted.files:
        return not same(wanted.files[path], now.files.get(path))
    return path in now.files and bool(wanted.leftovers and wanted.leftovers.fullmatch(path))


def _compare(api: HfApi, repo: str, wanted: CommitPlan, head: Head, landed: CommitResult) -> None:
    """
    Reads back what was sent, byte for byte.

    Raises:
        PublishError: It differs, or cannot be read; says that the commit is made.
    """
    files = wanted.onto(head)
    sent = [change.path for change in real(changes(files, head)) if change.kind != "deleted"]
    with tempfile.TemporaryDirectory() as folder, clear_refusals(f"{landed.url} is made, but cannot be read back"):
        if sent:
            names = [glob.escape(name) for name in sent]
            where = {"revision": landed.oid, "repo_type": head.repo_type, "local_dir": folder}
            retrying(repo)(api.snapshot_download, repo, allow_patterns=names, **where)
        for name in sent:
            there = Path(folder) / name
            if not there.is_file() or digest(there) != digest(files[name]):
                raise PublishError(f"{repo}: {name} does not read back as it was sent, in commit {landed.oid}")
