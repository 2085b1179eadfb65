import io
import os
import tarfile
from pathlib import Path

import pytest

from escoita.data.inspection import extraction
from escoita.data.inspection.extraction import extract_tar
from escoita.data.readers import recordings
from escoita.data.readers.recordings import CountError, MemberPathError, UnpackedSizeError, recordings_below, unpacked
from escoita.errors import CorpusError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESCOITA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pack(archive: Path, *members: str | tarfile.TarInfo, content: bytes = b"RIFF") -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for member in members:
            member = tarfile.TarInfo(member) if isinstance(member, str) else member
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    return archive


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_only_recordings_are_unpacked(tmp_path: Path) -> None:
    members = ("./test/a.wav", "test/sub/b.FLAC", "test/notes.txt", "run.sh")
    links = (link("c.wav", "/etc/passwd"), link("d.wav", "test/a.wav", tarfile.LNKTYPE), link("dir.wav", "/etc"))
    folder = unpacked(pack(tmp_path / "test.tar.gz", *members, *links))
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    assert found == ["test/a.wav", "test/sub/b.FLAC"]
    assert recordings_below(folder) == {"a.wav": folder / "test/a.wav", "b.FLAC": folder / "test/sub/b.FLAC"}


@pytest.mark.parametrize("name", ["../a.wav", "test/../../a.wav", "/escoita-a.wav"])
def test_a_path_outside_of_the_folder_is_refused(tmp_path: Path, cache: Path, name: str) -> None:
    archive = pack(tmp_path / "test.tar.gz", "a.wav", name)
    with pytest.raises(MemberPathError) as error:
        unpacked(archive)
    assert (error.value.path, error.value.member) == (archive, name)
    written = [path.name for path in tmp_path.rglob("*.wav") if ".partial" not in str(path)]
    assert not written and not Path("/escoita-a.wav").exists()


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    folder = unpacked(pack(tmp_path / "test.tar.gz", link("in", str(tmp_path / "out")), "in/a.wav"))
    assert (folder / "in/a.wav").is_file() and not list((tmp_path / "out").iterdir())


def test_an_incomplete_archive_is_always_refused(tmp_path: Path, cache: Path) -> None:
    archive = pack(tmp_path / "complete.tar.gz", *(f"{number}.wav" for number in range(50)))
    content = archive.read_bytes()
    for size in (len(content) // 2, 4, 0):
        (tmp_path / "half.tar.gz").write_bytes(content[:size])
        for _ in range(2):
            with pytest.raises(CorpusError) as error:
                unpacked(tmp_path / "half.tar.gz")
            assert error.value.path == tmp_path / "half.tar.gz"
    assert len(list(unpacked(archive).iterdir())) == 50


def test_an_archive_that_changes_is_unpacked_again(tmp_path: Path) -> None:
    archive = pack(tmp_path / "test.tar.gz", "a.wav", content=b"RIFF")
    before, first = archive.stat(), unpacked(archive)
    assert unpacked(archive) == first
    pack(archive, "a.wav", content=b"FFIR")
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (first / "a.wav").read_bytes() == b"RIFF" and (unpacked(archive) / "a.wav").read_bytes() == b"FFIR"


def test_the_rest_of_a_killed_extraction_is_replaced(tmp_path: Path, cache: Path) -> None:
    archive = pack(tmp_path / "test.tar.gz", "a.wav", "b.wav")
    folder = unpacked(archive)
    partial = folder.rename(folder.with_name(f"{folder.name}.partial"))
    (partial / "b.wav").unlink()
    (partial / "stale.wav").touch()
    assert sorted(path.name for path in unpacked(archive).iterdir()) == ["a.wav", "b.wav"]
    assert not partial.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, cache: Path) -> None:
    archive = pack(tmp_path / "test.tar.gz", "a.wav")
    cache.touch()
    with pytest.raises(CorpusError) as error:
        unpacked(archive)
    assert error.value.path == archive and str(cache) in error.value.problem
    assert "ESCOITA_CACHE" in str(error.value.hint)


def test_a_recording_next_to_the_index_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in ("a/x.wav", "x.wav", "a/y.wav"):
        (tmp_path / path).touch()
    assert recordings_below(tmp_path) == {"x.wav": tmp_path / "x.wav", "y.wav": tmp_path / "a/y.wav"}


def test_an_archive_that_would_fill_the_disk_is_refused_early(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escoita.data.readers.recordings.ALWAYS_BYTES", 1 << 20)
    bomb = pack(tmp_path / "bomb.tar.gz", "small.wav", "zeros.wav", content=bytes(20 << 20))
    assert bomb.stat().st_size * 100 < 20 << 20
    with pytest.raises(UnpackedSizeError) as error:
        unpacked(bomb)
    assert (error.value.path, error.value.factor) == (bomb, 100)
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) < 1 << 20


def test_a_member_that_is_too_large_is_not_unpacked(tmp_path: Path) -> None:
    member = tarfile.TarInfo("huge.wav")
    member.size = 10 << 40
    (tmp_path / "claims.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(UnpackedSizeError):
        unpacked(tmp_path / "claims.tar")


def test_devices_are_skipped(tmp_path: Path) -> None:
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    folder = unpacked(pack(tmp_path / "test.tar.gz", *(link(f"{kind!r}.wav", "", kind) for kind in kinds), "a.wav"))
    assert [path.name for path in folder.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_recording_does_not_replace_the_target_of_a_link(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "victim.wav").write_bytes(b"mine")
    folder = unpacked(pack(tmp_path / "test.tar.gz", link("a.wav", str(tmp_path / "victim.wav"), kind), "a.wav"))
    assert (folder / "a.wav").read_bytes() == b"RIFF" and (tmp_path / "victim.wav").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "headers",
    [
        {"path": "a\0b.wav"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9", "GNU.sparse.name": "s.wav"},
        {"GNU.sparse.map": "0,x,1", "GNU.sparse.size": "10"},
        {"size": "-5"},
        {"size": "x"},  # the content would be read as headers, and the rest of the archive would be left out
    ],
    ids=str,
)
def test_impossible_attributes_of_a_member_are_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    member = tarfile.TarInfo("a.wav")
    member.pax_headers = headers
    archive = pack(tmp_path / "test.tar.gz", "b.wav", member, "c.wav", content=b"RIFF" * 200)
    with pytest.raises(CorpusError) as refused:
        unpacked(archive)
    assert refused.value.path == archive
    if "\0" not in headers.get("path", ""):  # there, no name of a member is a path
        with pytest.raises(CorpusError):
            extract_tar([archive], tmp_path / "extracted")


def test_the_number_of_members_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MOST_MEMBERS", 2)
    with pytest.raises(CountError) as refused:
        unpacked(pack(tmp_path / "test.tar.gz", "a.wav", "b.txt", "c.txt"))
    assert (refused.value.items, refused.value.limit) == ("members", 2)


def test_texts_in_memory_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "_ALL_TEXTS_BYTES", 10)
    with pytest.raises(CorpusError):
        extract_tar([pack(tmp_path / "test.tar.gz", "a.wav", "a.txt", "b.txt", "c.txt")], tmp_path / "extracted")
