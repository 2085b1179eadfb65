"""Test that recordings are found by the names that tables and annotations contain."""

import unicodedata
from pathlib import Path

import pytest

from escoita.data.inspection.listing import Listing


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café.wav") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("folder", ["", "clips"])
def test_finds_each_of_two_names_that_differ_in_normalization_only(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    for name in (COMPOSED, DECOMPOSED):
        (tmp_path / folder / name).write_bytes(b"")

    listing = Listing(tmp_path)

    for name in (COMPOSED, DECOMPOSED):
        assert listing.find(name, tmp_path / folder) == tmp_path / folder / name
        assert listing.find(f"{folder}/{name}") == tmp_path / folder / name


def test_finds_neither_of_two_names_for_a_third_form(tmp_path: Path) -> None:
    names = ["\u1ec7.wav", "\u1eb9\u0302.wav", "e\u0323\u0302.wav"]  # one letter with two marks
    for name in names[:2]:
        (tmp_path / name).write_bytes(b"")

    assert Listing(tmp_path).find(names[2]) is None


def test_finds_a_single_name_in_another_form(tmp_path: Path) -> None:
    (tmp_path / DECOMPOSED).write_bytes(b"")

    assert Listing(tmp_path).find(COMPOSED) == tmp_path / DECOMPOSED


def test_contains_files_other_than_recordings(tmp_path: Path) -> None:
    for name in ("text", "wav.scp", "a.wav"):
        (tmp_path / name).write_bytes(b"")

    listing = Listing(tmp_path)

    assert [listing.contains(tmp_path / name) for name in ("text", "wav.scp", "a.wav", "b")] == [
        True, True, False, False,
    ]  # fmt: skip
