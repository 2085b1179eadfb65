"""Manifests: whatever lists recordings and transcripts in JSON lines, csv or tsv."""

from pathlib import Path

from escoita.data.readers.base import Origin, collect, refuse_absent, validated_rows
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.recipe.schema import Column, Corpus


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Reads a manifest, in the format that its suffix says; paths of recordings are relative to it.

    In `.jsonl` or `.json` each line is an object, as NeMo writes them: `audio_filepath`, `text`, and where known
    `duration`, `offset`, `id`, `lang`, `speaker`, `gender`, `accent` and `split`. A row with an `offset` is the part
    of a recording that begins there, in seconds, and lasts `duration` seconds; without one `duration` decides nothing.

    A `.csv` or `.tsv` begins with a header. Columns that go by a usual name are recognised; `columns` names the
    others, and leaves one out by an empty name. So the tables of FalAI or Transcrispeech, of which one may look like

        Ficheiro,Transcrición,Locutor
        audios/00/0001.wav,"ola, bo día",f017

    are read by

        corpora:
          test:
            - name: falai
              path: falai/test.csv
              columns: {audio: Ficheiro, text: Transcrición, speaker: Locutor}

    In a `.csv` a field may stand in quotes, as spreadsheets write it; in a `.tsv` a quote is a letter of the text. A
    `.csv` whose header has no comma is parted at its semicolons or tabs.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): `split` keeps the rows whose column of that name says so.
        language (`str`): Of rows that name none.

    Raises:
        CorpusError: It is missing, has no such split, or its columns are not known.
    """
    path = Path(corpus.path)
    needed: tuple[Column, ...] = ("audio", "text", "split") if corpus.split else ("audio", "text")
    records = read_records(path, corpus.columns, needed)
    seen: set[str] = set()
    rows, rejected = collect(
        validated_rows(records, Origin.of(corpus, language, path), corpus.split, seen), corpus.limit
    )
    refuse_absent(corpus, seen)
    return rows, rejected
