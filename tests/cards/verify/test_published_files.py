"""Test the comparison with lists of digests."""

import hashlib
from pathlib import Path

from escoita.cards.verify.published_files import check_files
from tests.cards.verifiable_run import write_files


def test_digests_outside_of_the_folder_are_not_computed(tmp_path: Path) -> None:
    inside = hashlib.sha256(b"1").hexdigest()
    write_files(tmp_path, {"outside": b"1", "there/a.md": b"1", "there/training.json": b"{}"})
    (tmp_path / "there/SHA256SUMS").write_text(f"{inside}  ../outside\n{inside}  a.md\nnonsense\n", "utf-8")
    sums = check_files(tmp_path / "there")[0]
    assert [line.rsplit(": ", 1)[0] for line in sums.lines] == ["SHA256SUMS:3", "../outside", "training.json"]
    (tmp_path / "there/SHA256SUMS").unlink()
    assert check_files(tmp_path / "there")[0].verdict == "not checked"
