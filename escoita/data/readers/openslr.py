"""Read crowd-sourced corpora of OpenSLR, such as SLR77 (Galician): line indices and wav files."""

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from escoita.data.readers.base import Names, Origin, Record, collect, requested_split, require_split, validated_rows
from escoita.data.readers.recordings import recordings_below
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus


INDEX = "line_index"
NAMES = Names(audio="file", text="text", speaker="speaker", gender="gender")
# glf_02484_01234567890: the language and gender, the number of the speaker, and the number of the recording.
_NAME = re.compile(r"([a-z]{2,3}([fm])_\d+)_\d+")
_GENDERS = {"f": "female", "m": "male"}


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read the line indices in a folder, or those in its subfolders if the folder contains none.

        slr77/line_index_female.tsv
        slr77/line_index_male.tsv
        slr77/wavs/glf_02484_01234567890.wav …

    An index has no header; each line is the name of a recording, with or without `.wav`, a tab, and the transcript.
    Recordings are found by their names in the folder of the index and all folders below it. `line_index.tsv` is read
    if there are no indices for female and male speakers. The speaker is the beginning of a name, `glf_02484`; the
    gender is in the name of the index or of its folder, or else the letter before the first underscore.

    Args:
        corpus ([`Corpus`]): The corpus: `path` is the folder or one index; `split` may be `female` or `male`.
        language (`str`): The language of all rows.

    Raises:
        CorpusError: There is no index, or none of the split.
    """
    path = Path(corpus.path)
    by_index = {index: _gender(index) for index in ([path] if path.is_file() else _indices(path))}
    if not by_index:
        raise CorpusError(f"{INDEX}.tsv not found", path=path, key="reader", value=corpus.reader)
    if corpus.split and all(by_index.values()):
        requested_split(corpus, set(by_index.values()))
    selected = [index for index, gender in by_index.items() if not corpus.split or gender in ("", corpus.split)]
    names = NAMES._replace(split="gender" if corpus.split else None)
    seen: set[str] = set()
    row_iterators = (
        # The paths of the recordings are complete.
        validated_rows(_records(index, names), Origin.of(corpus, language, index, Path()), corpus.split, seen)
        for index in selected
    )
    rows, rejected = collect(chain.from_iterable(row_iterators), corpus.limit)
    require_split(corpus, seen)
    return rows, rejected


def _indices(folder: Path) -> list[Path]:
    for pattern in (f"{INDEX}*.tsv", f"*/{INDEX}*.tsv"):
        found = sorted(folder.glob(pattern))
        # `line_index.tsv` repeats the rows of the indices for female and male speakers.
        if found := [index for index in found if index.stem != INDEX or not _has_gender_indices(index.parent)]:
            return found
    return []


def _has_gender_indices(folder: Path) -> bool:
    return any(folder.glob(f"{INDEX}_*.tsv"))


def _gender(index: Path) -> str:
    """Return the gender in the name of an index or of its folder; empty if there is none."""
    for name in (index.name, index.parent.name):
        genders = set(re.findall("female|male", name))
        if len(genders) == 1:
            return str(genders.pop())
    return ""


def _records(index: Path, names: Names) -> Iterator[Record | Rejected]:
    clips, gender = recordings_below(index.parent), _gender(index)
    for record in read_records(index, {"audio": "file"}, header=("file", "text")):
        if isinstance(record, Rejected):
            yield record
            continue
        row, fields, _ = record
        stem = fields["file"].strip().removesuffix(".wav")
        clip = clips.get(f"{os.path.basename(stem)}.wav", index.parent / f"{stem}.wav") if stem else ""
        match = _NAME.match(os.path.basename(stem))
        speaker, letter = match.groups() if match else ("", "")
        added = {"file": str(clip), "speaker": speaker, "gender": gender or _GENDERS.get(letter, "")}
        yield row, {**fields, **added}, names
