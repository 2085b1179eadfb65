import hashlib
import io
import re
from pathlib import Path

from huggingface_hub import RepoFile
from rich.console import Console

from escoita.cards.editing import reviser
from escoita.cards.front_matter import marked
from escoita.hub.upload import Change, CommitPlan, Head, changes, counted, print_changes, real
from tests.hub_double.blobs import git_oid


def published(path: str, content: bytes, lfs: str = "") -> RepoFile:
    pointer = {"lfs": {"oid": lfs, "size": len(content), "pointerSize": 130}} if lfs else {}
    return RepoFile(path=path, size=len(content), oid=git_oid(content), **pointer)


def head(*files: RepoFile, card: str = "") -> Head:
    return Head("a" * 40, {file.path: file for file in files}, card)


def test_files_are_compared_by_size_and_digest(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    files: dict[str, bytes | Path] = {
        "a.json": b"{}",
        "b.json": b"{}",
        "c.json": b"{}",
        "model.safetensors": weights,
        "other.safetensors": weights,
    }
    found = changes(
        files,
        head(
            published("a.json", b"{}"),
            published("b.json", b"[]"),
            published("model.safetensors", b"weights", digest),
            published("other.safetensors", b"Weights", "0" * 64),
            published("old.pt", b"pickle"),
            published("notes.md", b"theirs"),
        ),
        re.compile(r".*\.pt"),
    )
    assert found == [
        Change("a.json", "unchanged", 2),
        Change("b.json", "changed", 2),
        Change("c.json", "added", 2),
        Change("model.safetensors", "unchanged", 7),
        Change("old.pt", "deleted", 6),
        Change("other.safetensors", "changed", 7),
    ]
    assert len(real(found)) == 4 and counted(found) == "1 added, 2 changed, 2 unchanged, 1 deleted"


def test_paths_are_printed_without_markup_and_control_characters() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_changes("ana/uzbek", [Change("[red]a\x1b[2J.json", "added", 1_234_567)], console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]a<U+001B>[2J.json" in shown and "1.2 MB" in shown and "added" in shown


def test_a_card_of_blocks_is_merged_into_the_published_one_and_another_replaces_it() -> None:
    made = "---\nlanguage: uz\n---\n\n" + marked("head", "# Small")
    current = head(card="---\nlanguage: uz\n---\n\nBy hand.\n")
    revised = CommitPlan({"README.md": made.encode()}, "Publish", revise=reviser()).onto(current)["README.md"]
    assert isinstance(revised, bytes) and b"By hand." in revised and b"# Small" in revised
    assert (
        CommitPlan({"README.md": b"# A base\n"}, "Publish", revise=reviser()).onto(current)["README.md"]
        == b"# A base\n"
    )
