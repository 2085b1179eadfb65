"""OpenSLR's crowd-sourced corpora, such as SLR77 (Galician): line indices and wavs."""

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from escoita.data.readers.base import Names, Origin, Record, asked_split, collect, refuse_absent, validated_rows
from escoita.data.readers.recordings import recordings_below
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus


INDEX = "line_index"
NAMES = Names(audio="file", text="text", speaker="speaker", gender="gender")
# glf_02484_01234567890: language and gender, number of the speaker, number of the recording.
_NAME = re.compile(r"([a-z]{2,3}([fm])_\d+)_\d+")
_GENDERS = {"f": "female", "m": "male"}


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Reads the line indices in a folder, or those in its subfolders where it has none itself.

        slr77/line_index_female.tsv
        slr77/line_index_male.tsv
        slr77/wavs/glf_02484_01234567890.wav …

    An index has no header: on each line the name of a recording, with or without `.wav`, a tab, and the transcript.
    Recordings are found by their names beside the index and in all folders below it. `line_index.tsv` is read where
    none tells female from male. The speaker is what a name begins with, `glf_02484`; the gender is told by the name of
    the index or of its folder, or else by the letter before the first underscore.

    Args:
        corpus ([`Corpus`]): `path` is the folder or one index. `split` may be `female` or `male`.
        language (`str`): Of all rows.

    Raises:
        CorpusError: There is no index, or none of the split.
    """
    path = Path(corpus.path)
    by_index = {index: _gender(index) for index in ([path] if path.is_file() else _indices(path))}
    if not by_index:
        raise CorpusError(f"{path}: is not in the layout of reader openslr: it holds no {INDEX}.tsv")
    if corpus.split and all(by_index.values()):
        asked_split(corpus, by_index.values())
    asked = [index for index, gender in by_index.items() if not corpus.split or gender in ("", corpus.split)]
    names = NAMES._replace(split="gender" if corpus.split else None)
    seen: set[str] = set()
    judgements = (
        # Each path is whole already.
        validated_rows(_described(index, names), Origin.of(corpus, language, index, Path()), corpus.split, seen)
        for index in asked
    )
    rows, rejected = collect(chain.from_iterable(judgements), corpus.limit)
    refuse_absent(corpus, seen)
    return rows, rejected


def _indices(folder: Path) -> list[Path]:
    for pattern in (f"{INDEX}*.tsv", f"*/{INDEX}*.tsv"):
        found = sorted(folder.glob(pattern))
        # The rows of both are in the common one again.
        if found := [index for index in found if index.stem != INDEX or not _told_apart(index.parent)]:
            return found
    return []


def _told_apart(folder: Path) -> bool:
    return any(folder.glob(f"{INDEX}_*.tsv"))


def _gender(index: Path) -> str:
    """What the name of an index, or of the folder into which it was unpacked, tells of all its rows."""
    for name in (index.name, index.parent.name):
        told = set(re.findall("female|male", name))
        if len(told) == 1:
            return str(told.pop())
    return ""


def _described(index: Path, names: Names) -> Iterator[Record | Rejected]:
    clips, gender = recordings_below(index.parent), _gender(index)
    for record in read_records(index, {"audio": "file"}, header=("file", "text")):
        if isinstance(record, Rejected):
            yield record
            continue
        row, fields, _ = record
        stem = fields["file"].strip().removesuffix(".wav")
        clip = clips.get(f"{os.path.basename(stem)}.wav", index.parent / f"{stem}.wav") if stem else ""
        told = _NAME.match(os.path.basename(stem))
        speaker, letter = told.groups() if told else ("", "")
        known = {"file": str(clip), "speaker": speaker, "gender": gender or _GENDERS.get(letter, "")}
        yield row, {**fields, **known}, names
