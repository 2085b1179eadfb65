"""Check what inspections find in hostile, mixed and damaged folders."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from escoita.data.inspection import UnknownLayoutError, folders, inspect, listing, spreadsheet
from escoita.data.inspection.found import Found
from escoita.data.inspection.spreadsheet import read_sheets
from escoita.data.readers import recordings
from escoita.data.readers.base import SelectionError
from escoita.data.readers.recordings import MemberPathError, UnpackedSizeError
from escoita.errors import CorpusError
from tests.data.inspection.layouts import CLIPS, write_layout, write_ods, write_xlsx
from tests.samples import write_clip


def found_in(folder: Path, **keys: object) -> Found:
    return inspect(str(folder), "uz", folder.parent / "extracted", **keys)  # type: ignore[arg-type]


def test_recordings_without_transcripts_are_counted(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav")
    (tmp_path / "notes.csv").write_text("date,place\n2024,here\n")
    with pytest.raises(UnknownLayoutError) as caught:
        found_in(tmp_path)
    assert caught.value.recordings == 1
    with pytest.raises(CorpusError):
        found_in(tmp_path / "missing")


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = write_clip(tmp_path / "secret.wav")
    folder = write_layout("csv", tmp_path / "recordings")
    (tmp_path / "elsewhere").mkdir()
    (folder / "link.wav").symlink_to(outside)
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (table,) = folder.glob("*.csv")
    table.write_text(table.read_text("utf-8") + "99,link.wav,salom,x,y\n99,../secret.wav,salom,x,y\n", "utf-8")
    found = found_in(folder)
    assert len(found.rows) == len(CLIPS) and len(found.rejected) == 2
    assert not any("secret" in row.audio for row in found.rows)
    assert any(line.endswith(": 2") for line in found.notes)


def test_folders_with_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_layout("txt", tmp_path / "recordings")
    monkeypatch.setattr(listing, "MOST_FILES", 5)
    with pytest.raises(CorpusError) as caught:
        found_in(folder)
    assert caught.value.path == folder


def test_many_folders_without_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(10):
        (tmp_path / f"recordings/{index}").mkdir(parents=True)
    monkeypatch.setattr(listing, "MOST_FILES", 5)
    with pytest.raises(CorpusError) as caught:
        found_in(tmp_path / "recordings")
    assert caught.value.path == tmp_path / "recordings"


def test_loops_of_links_and_deep_folders_end_no_inspection(tmp_path: Path) -> None:
    folder = write_layout("txt", tmp_path / "recordings")
    (folder / "a.wav").symlink_to("b.wav")
    (folder / "b.wav").symlink_to("a.wav")
    (folder / "loop").symlink_to(".")
    place = os.open(folder, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    assert len(found_in(folder).rows) == len(CLIPS)
    subprocess.run(["rm", "-r", str(folder / "d")], check=True)  # pytest cannot remove a folder of this depth


def test_names_that_are_not_unicode_are_counted(tmp_path: Path) -> None:
    folder = write_layout("txt", tmp_path / "recordings")
    recording, text = (next(iter(folder.rglob(f"*.{suffix}"))) for suffix in ("wav", "txt"))
    try:
        shutil.copy(os.fsencode(recording), os.fsencode(folder) + b"/caf\xe9.wav")
    except OSError:
        pytest.skip("a file system with Unicode names only")
    shutil.copy(os.fsencode(text), os.fsencode(folder) + b"/caf\xe9.txt")
    found = found_in(folder)
    assert len(found.rows) == len(CLIPS) and any(line.endswith(": 2") for line in found.notes)


def test_rows_keep_the_tags_of_other_languages_and_scripts(tmp_path: Path) -> None:
    tags = ["uz", "uz-Latn", "uz_UZ", "uz-Cyrl", "Uzbek", "kk", "gl-ES"]
    for index in range(len(tags)):
        write_clip(tmp_path / f"{index}.wav")
    lines = [f"{index}.wav,word number {index},{tag}\n" for index, tag in enumerate(tags)]
    (tmp_path / "t.csv").write_text("file,text,language\n" + "".join(lines))
    expected = {"uz-Latn": ["", "", "", "uz-Cyrl", "", "kk", "gl"], "uz-Cyrl": ["", "uz-Latn", "", "", "", "kk", "gl"]}
    for language, found in expected.items():
        rows = inspect(str(tmp_path), language, tmp_path / "extracted").rows
        assert [row.language for row in rows] == found


@pytest.mark.parametrize("layout", ["ELAN", "Kaldi"])
def test_transcripts_without_their_recordings_are_named(layout: str, tmp_path: Path) -> None:
    folder = write_layout(layout, tmp_path / "recordings")
    for path in folder.rglob("*.wav"):
        path.unlink()
    with pytest.raises(CorpusError) as caught:
        found_in(folder)
    assert not isinstance(caught.value, UnknownLayoutError) and ".wav" in caught.value.problem


def test_a_file_that_cannot_be_read_is_named_in_the_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_layout("txt", tmp_path / "recordings")
    (folder / "a.srt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    texts = sorted(folder.rglob("*.txt"))
    texts[0].write_bytes(b"a " * 500)
    monkeypatch.setattr(folders, "TRANSCRIPT_BYTES", 900)
    found = found_in(folder)
    assert len(found.rows) == len(CLIPS) - 1 and all(
        any(name in line for line in found.notes) for name in (texts[0].name, "a.srt")
    )


def test_names_that_several_recordings_have_are_chosen_by_folder(tmp_path: Path) -> None:
    for folder in ("ana", "brais"):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder / "1.wav")
    lines = ["file;text", r"C:\talks\ana\1.wav;bo día", "BRAIS/1.WAV;ata", "1.wav;cal?", "ana/2.wav;nada"]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", "utf-8")
    found = found_in(tmp_path, columns={"audio": "file"})
    assert [(Path(row.audio).parent.name, row.text) for row in found.rows] == [("ana", "bo día"), ("brais", "ata")]
    assert [row.row for row in found.rejected] == [4, 5]


def test_a_spreadsheet_may_begin_with_a_title(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_clip(tmp_path / name)
    header = ["Nome", "Transcrición", "Falante"]
    rows = [["Gravacións de 2024", "", ""], header, ["a", "bo día", "Ana"], ["b", "ata mañá", "Brais"]]
    write_xlsx(tmp_path / "t.xlsx", rows)
    found = found_in(tmp_path)
    assert [(row.text, row.speaker, row.row) for row in found.rows] == [("bo día", "Ana", 3), ("ata mañá", "Brais", 4)]


@pytest.mark.parametrize("suffix", [".xlsx", ".ods"])
def test_spreadsheets_with_billions_of_cells_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    if suffix == ".xlsx":
        write_xlsx(path, [["a", "b"]], cell="XFD1048576")
    else:
        write_ods(path, [["a", "b"]], repeated=1048576)
    with pytest.raises(CorpusError) as caught:
        read_sheets(path)
    assert caught.value.path == path


def test_spreadsheets_that_unpack_to_gigabytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * (spreadsheet.UNPACKED_BYTES + 1))
    with pytest.raises(CorpusError) as caught:
        read_sheets(path)
    assert caught.value.path == path
    monkeypatch.setattr(spreadsheet, "SPREADSHEET_BYTES", 10)
    with pytest.raises(CorpusError):
        read_sheets(path)


def _tar(path: Path, members: dict[str, bytes], declared: int = 0) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_archives_cannot_write_elsewhere(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tar", {"../../evil.wav": b"RIFF", "../../evil.txt": b"bo"})
    with pytest.raises(MemberPathError) as caught:
        inspect(str(archive), "uz", tmp_path / "out")
    assert caught.value.member == "../../evil.wav" and not (tmp_path.parent / "evil.wav").exists()
    assert not (tmp_path / "out").exists()


def test_archives_that_grow_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _tar(tmp_path / "a.tar", {"a.wav": b"RIFF", "a.txt": b"bo"})
    monkeypatch.setattr(recordings, "ALWAYS_BYTES", 10)
    monkeypatch.setattr(recordings, "MOST_GROWTH", 0)
    with pytest.raises(UnpackedSizeError):
        inspect(str(archive), "uz", tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_archives_with_large_headers_are_refused(kind: bytes, tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tar", {"a.wav": b"RIFF", "a.txt": b"bo"})
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 4 << 20
    with tarfile.open(archive, "a") as tar:
        tar.addfile(header, io.BytesIO(bytes(header.size)))
        tar.addfile(tarfile.TarInfo("b.txt"))
    with pytest.raises(CorpusError) as caught:
        inspect(str(archive), "uz", tmp_path / "out")
    assert caught.value.path == archive and not (tmp_path / "out").exists()


def test_no_command_of_kaldi_is_run(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text(f"u1 touch {tmp_path / 'made'} |\nu2 sph2pipe -f wav /x/a.wav |\n")
    (tmp_path / "text").write_text("u1 bo día\nu2 ata mañá\n", "utf-8")
    write_clip(tmp_path / "a.wav")
    found = found_in(tmp_path)
    assert [row.id for row in found.rows] == ["u2"] and len(found.rejected) == 1
    assert not (tmp_path / "made").exists()


def test_only_files_of_lhotse_are_read(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav")
    cuts = []
    for kind, source in (
        ("file", "/x/a.wav"),
        ("command", f"touch {tmp_path / 'made'}"),
        ("url", "http://localhost/a"),
    ):
        recording = {"id": "r", "duration": 0.5, "sources": [{"type": kind, "channels": [0], "source": source}]}
        supervision = {"id": kind, "start": 0, "duration": 0.5, "text": "bo día"}
        cut = {"id": kind, "start": 0, "duration": 0.5, "supervisions": [supervision], "recording": recording}
        cuts.append(json.dumps(cut))
    (tmp_path / "cuts.jsonl").write_text("\n".join([*cuts, "{", "[1]"]) + "\n")
    found = found_in(tmp_path)
    assert [row.id for row in found.rows] == ["file"] and len(found.rejected) == 4
    assert not (tmp_path / "made").exists()


def test_tiers_of_notes_are_left_out_and_tiers_can_be_chosen(tmp_path: Path) -> None:
    write_clip(tmp_path / "talk.wav")
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "0", "9", "<exists>", "4"]
    tiers = {"Ana": "bo día a todos", "Brais": "ata mañá", "notes": "bad sound here", "phones": "b"}
    for start, (tier, text) in enumerate(tiers.items()):
        lines += ['"IntervalTier"', f'"{tier}"', "0", "9", "1", f"{start}", f"{start}.4", f'"{text}"']
    (tmp_path / "talk.TextGrid").write_text("\n".join(lines), "utf-8")
    assert [(row.text, row.speaker) for row in found_in(tmp_path).rows] == [
        ("bo día a todos", "Ana"),
        ("ata mañá", "Brais"),
    ]
    assert [row.text for row in found_in(tmp_path, tiers=["notes"]).rows] == ["bad sound here"]
    with pytest.raises(SelectionError) as caught:
        found_in(tmp_path, tiers=["Xan"])
    assert set(caught.value.available) == {"Ana", "Brais", "notes", "phones"}


def test_a_damaged_file_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = write_layout("ELAN", tmp_path / "recordings")
    (folder / "bad.eaf").write_text("<!DOCTYPE x><a/>")
    (folder / "bad.xlsx").write_bytes(b"PK\3\4")
    found = found_in(folder)
    assert len(found.rows) == len(CLIPS) and any("bad.eaf" in line for line in found.notes)
