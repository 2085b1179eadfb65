"""What a commit would add, change and delete, told from the sizes and digests that the Hub keeps of its files."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from huggingface_hub import RepoFile
from huggingface_hub.utils.sha import git_hash
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from escoita.utils.files import sha256
from escoita.utils.visible import visible


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
