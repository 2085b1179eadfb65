"""Write recordings that are embedded in parquet files, datasets or tar archives into files, within limits."""

import json
import os
import shutil
import tarfile
from collections import defaultdict
from pathlib import Path, PurePosixPath

from escoita.data.inspection.columns import split_name
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import RECORDINGS
from escoita.data.readers.recordings import MemberPathError, read_members
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.utils.files import convert_write_errors, write_atomically
from escoita.utils.limits import MEBIBYTE


_TEXTS = (".txt", ".text", ".lab", ".json")
# Texts are in memory until their recordings are written.
_TEXT_BYTES, _ALL_TEXTS_BYTES = MEBIBYTE, 256 * MEBIBYTE
# The suffixes of embedded recordings by their first bytes; the suffix is for people, as the content decides.
_STARTS = ((b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\xff", ".mp3"))


# A folder that this module made, and so may remove.
MARK = ".made-by-escoita-init"


def make_folder(folder: Path) -> None:
    """
    Make the folder for extracted recordings.

    Raises:
        CorpusError: The folder exists.
        WriteError: The disk is full or read-only.
    """
    with convert_write_errors(folder):
        if os.path.lexists(folder):
            raise CorpusError("exists, but recordings would be extracted into it", path=folder, hint="move it")
        folder.mkdir(parents=True)
        (folder / MARK).touch()


def extract_rows(rows: Utterances, rejected: list[Rejected], folder: Path, layout: str) -> Found:
    """
    Write the embedded recordings of rows into a folder.

    Args:
        rows (`Utterances`): The rows; those whose recording is in a file keep it.
        rejected (`list[Rejected]`): The rows without a recording or a transcript.
        folder (`Path`): The folder, which must not exist.
        layout (`str`): The name of the layout, for people.

    Raises:
        CorpusError: Recordings are embedded, and the folder exists.
        WriteError: The disk is full or read-only.
    """
    found = Found(layout, rejected=rejected)
    if len(rows) and rows.table["embedded"].null_count < len(rows.table):
        make_folder(folder)
    for number, row in enumerate(rows, start=1):
        path = Path(row.audio)
        if row.embedded is not None:
            suffix = next((suffix for start, suffix in _STARTS if row.embedded.startswith(start)), ".bin")
            path = folder / f"{number:06d}{suffix}"
            write_atomically(path, row.embedded)
        found.add(
            path,
            row.audio,
            row.text,
            Path(row.source),
            row.row,
            id=row.id,
            speaker=row.speaker,
            gender=row.gender,
            language=row.language,
            split=split_name(row.split) or "" if row.split else "",
            offset=row.offset,
            duration=row.duration if row.offset is not None else None,
        )
    return found


def extract_tar(archives: list[Path], folder: Path) -> Found | None:
    """
    Unpack the samples of WebDataset archives: members with one name and the endings of a recording and a text.

    The text is that of `.txt`, or the value `text`, `sentence`, `transcription` or `transcript` of `.json`. Members
    are written under numbered names: no name of an archive is a path here.

    Args:
        archives (`list[Path]`): The archives, compressed or not.
        folder (`Path`): The folder for the recordings, which must not exist.

    Raises:
        CorpusError: An archive is damaged, has a path outside of its folder, or is far larger when unpacked; or the
            folder exists.
    """
    make_folder(folder)
    found = None
    try:
        found = _extracted(archives, folder)
    finally:
        if found is None or not found.rows:
            shutil.rmtree(folder)
    return found if found.rows else None


def _extracted(archives: list[Path], folder: Path) -> Found:
    """Unpack archives into a folder that exists."""
    found = Found("WebDataset archives")
    number = 0
    for archive in archives:
        samples: dict[str, dict[str, bytes | Path]] = defaultdict(dict)
        texts = 0

        def take(
            tar: tarfile.TarFile,
            member: tarfile.TarInfo,
            archive: Path = archive,
            samples: dict[str, dict[str, bytes | Path]] = samples,
        ) -> None:
            nonlocal number, texts
            name = PurePosixPath(member.name)
            if ".." in name.parts or name.is_absolute():
                raise MemberPathError(path=archive, member=member.name)
            stem, _, ending = name.name.partition(".")
            suffix = f".{ending.rpartition('.')[2].lower()}"
            packed = tar.extractfile(member) if member.isreg() else None
            if packed is None or suffix not in (*RECORDINGS, *_TEXTS):
                return
            sample = samples[str(name.parent / stem)]
            if suffix in RECORDINGS:
                number += 1
                sample["audio"] = folder / f"{number:06d}{suffix}"
                with packed, (folder / f"{number:06d}{suffix}").open("wb") as file:
                    shutil.copyfileobj(packed, file)
            elif member.size <= _TEXT_BYTES:
                sample[suffix] = packed.read()
                texts += member.size
                if texts > _ALL_TEXTS_BYTES:
                    raise CorpusError(f"more than {_ALL_TEXTS_BYTES:,} bytes of texts", path=archive)

        with convert_write_errors(folder):
            read_members(archive, take)
        split = next(filter(None, map(split_name, (archive.stem, archive.parent.name))), "")
        for row, (key, parts) in enumerate(samples.items(), start=1):
            _add_sample(found, archive, row, key, parts, split)
    return found


def _add_sample(found: Found, archive: Path, row: int, name: str, parts: dict[str, bytes | Path], split: str) -> None:
    values: dict[str, str] = {}
    text = ""
    for suffix in _TEXTS:
        content = parts.get(suffix)
        if isinstance(content, bytes) and suffix == ".json":
            try:
                document = json.loads(content)
                values = {key: value for key, value in document.items() if isinstance(value, str)}
            except (ValueError, AttributeError, RecursionError):
                continue
            names = ("text", "sentence", "transcription", "transcript")
            text = text or next((values[each] for each in names if values.get(each)), "")
        elif isinstance(content, bytes):
            text = text or content.decode(errors="replace")
    audio = parts.get("audio")
    speaker = values.get("speaker") or values.get("speaker_id") or values.get("client_id") or ""
    found.add(
        audio if isinstance(audio, Path) else None, name, text, archive, row, id=name, speaker=speaker, split=split
    )
