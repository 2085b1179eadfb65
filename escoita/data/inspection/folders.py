"""Read folders that are recognized by file names: Kaldi, LibriSpeech, lhotse, and a text file for each recording."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from escoita.data.encodings import lines_of, read_lines, read_text
from escoita.data.inspection.columns import split_name
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import Listing
from escoita.data.inspection.tables import unpacked_text
from escoita.data.inspection.turns import single_names, speaker_turns
from escoita.errors import CorpusError, RecordError
from escoita.utils.formatting import visible
from escoita.utils.limits import MEBIBYTE


# A transcript of a clip has some hundred characters; that of an hour 80,000.
TRANSCRIPT_BYTES = 4 * MEBIBYTE


def read_kaldi(listing: Listing, language: str) -> Found | None:
    """
    Read data folders of Kaldi: `wav.scp`, `text`, and optionally `utt2spk`, `spk2gender` and `segments`.

    No command of a `wav.scp` is run; if a command names a listed recording, that recording is read.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        language (`str`): The language, which decides between old encodings.
    """
    found = Found("Kaldi data folders")
    for scp in listing.files(".scp"):
        folder = scp.parent
        if scp.name != "wav.scp" or not listing.contains(folder / "text"):
            continue
        recordings = {key: value for _, key, value in _pairs(scp, language)}
        speakers, genders = (
            {key: value for _, key, value in _pairs(folder / name, language)}
            if listing.contains(folder / name)
            else {}
            for name in ("utt2spk", "spk2gender")
        )
        segments = None
        if listing.contains(folder / "segments"):
            segments = {key: value for _, key, value in _pairs(folder / "segments", language)}
        split = split_name(folder.name) or ""
        for row, key, text in _pairs(folder / "text", language):
            recording, times = key, {}
            if segments is not None:
                fields = segments.get(key, "").split()
                try:
                    recording, start, end = fields[0], float(fields[1]), float(fields[2])
                except (ValueError, IndexError):
                    found.add(None, key, text, folder / "text", row)
                    continue
                times = {"offset": start, "duration": end - start}
            command = recordings.get(recording, "")
            path = listing.find(command, folder) or next(filter(None, map(listing.find, command.split())), None)
            speaker = speakers.get(key, "")
            found.add(
                path,
                command or recording,
                text,
                folder / "text",
                row,
                id=key,
                speaker=speaker,
                gender={"f": "female", "m": "male"}.get(genders.get(speaker, ""), ""),
                split=split,
                **times,
            )
    return found if found.rows or found.rejected else None


def _pairs(path: Path, language: str) -> list[tuple[int, str, str]]:
    """Return the line, the first word and the rest of each line that is not empty."""
    pairs = []
    for row, line in enumerate(read_lines(path, language), start=1):
        if fields := line.split(maxsplit=1):
            pairs.append((row, fields[0], fields[1].strip() if len(fields) > 1 else ""))
    return pairs


def read_librispeech(listing: Listing, language: str) -> Found | None:
    """
    Read the transcripts of LibriSpeech, `*.trans.txt` next to the recordings; the id begins with the speaker.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        language (`str`): The language, which decides between old encodings.
    """
    found = Found("LibriSpeech")
    for path in listing.files(".txt"):
        if path.name.lower().endswith(".trans.txt"):
            parts = path.relative_to(listing.root).parts[:-1]
            split = next((name for part in parts if (name := split_name(part))), "")
            for row, key, text in _pairs(path, language):
                recording = listing.find(key, path.parent)
                found.add(recording, key, text, path, row, speaker=key.split("-")[0], split=split)
    return found if found.rows or found.rejected else None


def read_lhotse(listing: Listing, language: str) -> Found | None:
    """
    Read the cuts of lhotse, `*cuts*.jsonl` or `.jsonl.gz`, without lhotse.

    Only recordings in files are read: a source of another type is a command or an address.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        language (`str`): The language, which is not used: JSON is UTF-8.
    """
    found = Found("lhotse cuts")
    for path in listing.files(".gz", ".jsonl"):
        if "cuts" not in path.name or not path.name.endswith((".jsonl", ".jsonl.gz")):
            continue
        for row, line in enumerate(lines_of(path, unpacked_text(path)), start=1):
            if line.strip():
                try:
                    _add_cut(found, listing, path, row, json.loads(line), split_name(path.name.split("cuts_")[-1]))
                except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError):
                    found.add(None, "", "", path, row)
    return found if found.rows or found.rejected else None


def _add_cut(found: Found, listing: Listing, path: Path, row: int, cut: Any, split: str | None) -> None:
    source = cut["recording"]["sources"][0]
    recording = listing.find(source["source"], path.parent) if source["type"] == "file" else None
    for supervision in cut.get("supervisions", ()):
        start = float(cut["start"]) + float(supervision.get("start", 0))
        length = float(supervision.get("duration", cut["duration"]))
        whole = start == 0 and abs(length - float(cut["recording"]["duration"])) < 0.01
        found.add(
            recording,
            str(source["source"]),
            str(supervision.get("text") or ""),
            path,
            row,
            id=str(supervision.get("id", cut["id"])),
            speaker=str(supervision.get("speaker") or ""),
            gender=str(supervision.get("gender") or ""),
            split=split or "",
            **({} if whole else {"offset": start, "duration": length}),
        )


def read_texts(listing: Listing, language: str) -> Found | None:
    """
    Read a text file (.txt, .lab) for each recording: next to it, or of the same name in another folder.

    Args:
        listing ([`~escoita.data.inspection.listing.Listing`]): The files of the folder.
        language (`str`): The language, which decides between old encodings.
    """
    found = Found("recordings with a text file each")
    texts: dict[str, list[Path]] = defaultdict(list)
    for path in listing.files(".txt", ".lab"):
        texts[path.stem].append(path)
    missing: list[Path] = []
    used: set[Path] = set()
    single: dict[str, None] = {}
    for recording in listing.recordings:
        candidates = texts.get(recording.stem, [])
        near = [path for path in candidates if path.parent == recording.parent]
        if len(near or candidates) != 1:
            missing.append(recording)
            continue
        path = (near or candidates)[0]
        used.add(path)
        parts = recording.relative_to(listing.root).parts[:-1]
        split = next((name for part in parts[:1] if (name := split_name(part))), "")
        try:
            text = read_text(path, language, TRANSCRIPT_BYTES)
        except (CorpusError, RecordError) as error:
            found.notes.append(f"Not used: {error}")
            continue
        if turns := speaker_turns(text):
            found.turns[str(recording)] = turns
            single |= dict.fromkeys(single_names(text))
            text = " ".join(turn.text for turn in turns)
        found.add(recording, recording.name, text, path, 1, split=split)
    unused = [path for paths in texts.values() for path in paths if path not in used]
    if found.turns:
        names = _shown(sorted({turn.speaker for turns in found.turns.values() for turn in turns}))
        found.notes.append(f"Transcripts that name their speakers line by line: {len(found.turns):,} ({names})")
        if single:
            found.notes.append(f"Kept as text, because each begins one line only: {_shown(list(single))}")
    if found.rows:
        for title, paths in (("Recordings without a text file", missing), ("Text files without a recording", unused)):
            if paths:
                first = visible(min(paths).relative_to(listing.root).as_posix())
                found.notes.append(f"{title}: {len(paths):,}, the first: {first}")
    return found if found.rows or found.rejected or found.notes else None


def _shown(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")
