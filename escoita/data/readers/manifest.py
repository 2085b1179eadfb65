"""Read manifests, which list recordings and transcripts in JSON lines, csv or tsv."""

import os
from collections.abc import Iterator
from pathlib import Path

from escoita.data.readers.base import Origin, Record, collect, require_split, validated_rows
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.recipe.schema import Column, Corpus


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read a manifest in the format of its suffix; paths of recordings are relative to its folder.

    In `.jsonl` or `.json` each line is an object, as in NeMo: `audio_filepath`, `text`, and optionally `duration`,
    `offset`, `id`, `lang`, `speaker`, `gender`, `accent` and `split`. A row with an `offset` is the segment of a
    recording that begins there, in seconds, and lasts `duration` seconds; without an offset, `duration` is not used.

    A `.csv` or `.tsv` begins with a header. Columns with usual names are recognized; `columns` names the others, and
    excludes one by an empty name. For example, tables such as those of FalAI or Transcrispeech,

        Ficheiro,Transcrición,Locutor
        audios/00/0001.wav,"ola, bo día",f017

    are read by

        corpora:
          test:
            - name: falai
              path: falai/test.csv
              columns: {audio: Ficheiro, text: Transcrición, speaker: Locutor}

    In a `.csv`, fields may be quoted, as spreadsheets write them; in a `.tsv`, a quote is a character of the text. A
    `.csv` whose header contains no comma is separated by semicolons or tabs.

    With `audio_root`, paths are relative to that folder. Paths with backslashes, as Windows writes them, are read.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus; `split` selects the rows by the column of the split.
        language (`str`): The language of rows that name none.

    Raises:
        CorpusError: The manifest, its split or a column is not found.
    """
    path = Path(corpus.path)
    needed: tuple[Column, ...] = ("audio", "text", "split") if corpus.split else ("audio", "text")
    records = read_records(path, corpus.columns, needed)
    folder = Path(corpus.audio_root) if corpus.audio_root else path.parent
    origin = Origin.of(corpus, language, path, folder)
    seen: set[str] = set()
    rows, rejected = collect(validated_rows(_with_slashes(records, folder), origin, corpus.split, seen), corpus.limit)
    require_split(corpus, seen)
    return rows, rejected


def _with_slashes(records: Iterator[Record | Rejected], folder: Path) -> Iterator[Record | Rejected]:
    """Replace the backslashes of Windows in paths, except in names of files that contain one."""
    for record in records:
        if not isinstance(record, Rejected) and os.sep != "\\":
            row, fields, names = record
            audio = fields.get(names.audio)
            if isinstance(audio, str) and "\\" in audio and "\0" not in audio and not (folder / audio).exists():
                record = row, {**fields, names.audio: audio.replace("\\", "/")}, names
        yield record
