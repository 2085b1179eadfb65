"""`predictions.parquet`: what was said, what one system heard, how long it took. Rates are made from it alone."""

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from escoita.data.rows import Utterances, without_speaker
from escoita.errors import RecordError
from escoita.records.evaluation import SUBJECT, System
from escoita.records.training import Name, RecordModel
from escoita.records.transcript import Transcript
from escoita.utils.files import public_name, write_atomically
from escoita.utils.limits import (
    ALIGNMENT_CELLS,
    CELL_CHARACTERS,
    COMBINING_MARKS,
    TRANSCRIPT_CHARACTERS,
    TRANSCRIPT_WORDS,
)
from escoita.utils.untrusted import decoded, opened_parquet, plain_schema


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("language", pa.string()),
        ("speaker", pa.string()),
        ("gender", pa.string()),
        ("accent", pa.string()),
        ("reference", pa.string()),
        ("hypothesis", pa.string()),
        ("audio_seconds", pa.float64()),
        ("compute_seconds", pa.float64()),
        ("tokens", pa.int64()),
        ("truncated", pa.bool_()),
    ]
)
TEXTS = tuple(field.name for field in SCHEMA if field.type == pa.string())
_KEY = b"escoita"
# Characters of a text that nothing takes long for, whatever it says.
_SHORT = 500
# Seconds and tokens of one clip; a billion seconds are 30 years.
_LARGEST = 1_000_000_000


class Provenance(RecordModel):
    """
    What the rows of a file do not say.

    Args:
        corpus (`str`): Name of the corpus.
        rejected (`int`): Rows of the corpus that could not be used.
        system ([`System`]): What heard the clips.
        references (`str`): `open`, or `hashed` where they may not be published: SHA-256 of each, in hexadecimal.
    """

    schema_version: int = 1
    corpus: Name
    rejected: int
    system: System
    references: Literal["open", "hashed"] = "open"


def predictions_path(folder: Path, corpus: str, system: str) -> Path:
    """Where the predictions of a system stand: those of the adapter in `predictions.parquet`, others by their name."""
    return folder / corpus / ("predictions.parquet" if system == SUBJECT else f"predictions-{system}.parquet")


def counts_path(folder: Path, corpus: str) -> Path:
    """Where the counts of a corpus stand whose references may not be published."""
    return folder / corpus / "counts.parquet"


def predictions_table(clips: Utterances, heard: Sequence[Transcript], provenance: Provenance) -> pa.Table:
    """Puts what was said beside what was heard, in the order of the corpus."""
    columns = {
        "id": clips.column("id"),
        "language": clips.column("language"),
        "speaker": clips.column("speaker"),
        "gender": clips.column("gender"),
        "accent": clips.column("accent"),
        "reference": clips.column("text"),
        "hypothesis": [transcript.text for transcript in heard],
        "audio_seconds": [transcript.audio_seconds for transcript in heard],
        "compute_seconds": [transcript.compute_seconds for transcript in heard],
        "tokens": [transcript.tokens for transcript in heard],
        "truncated": [transcript.truncated for transcript in heard],
    }
    return described(pa.table(columns, schema=SCHEMA), provenance)


def described(table: pa.Table, provenance: Provenance) -> pa.Table:
    """The same rows with what is to be known of them."""
    return table.replace_schema_metadata({_KEY: provenance.model_dump_json().encode()})


def parquet(table: pa.Table) -> bytes:
    """A table as a file holds it."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def write_predictions(table: pa.Table, path: Path) -> None:
    """Writes one corpus' predictions."""
    write_atomically(path, parquet(table))


def public_speakers(speakers: Iterable[str]) -> dict[str, str]:
    """
    What speakers are called in public: `s001`, `s002` and so on, in the order of their ids, so that whatever is sorted
    or drawn by them stays as it was. Who is not named stays unnamed; names given here are given again.

    Args:
        speakers (`Iterable[str]`): Of one corpus, of each clip.
    """
    known = sorted(set(speakers) - {""})
    width = max(3, len(str(len(known))))
    return {"": ""} | {name: f"s{place:0{width}}" for place, name in enumerate(known, start=1)}


def public_ids(ids: Sequence[str], speakers: Sequence[str]) -> list[str]:
    """
    What clips are called in public.

    Many corpora write the speaker into the id of a clip, `maria_0001`; somebody who reads `s001` beside it would know
    who that is, so the clip becomes `s001_0001`. An id of six characters or more is found anywhere; a shorter one
    where no other letter goes on before or after it, or no other digit, so that speaker `1` changes `1-11` to
    `s001-11`. The names of others than who speaks stay, as nobody could tell them from words. Where two clips would
    then have one id, all get their place in the corpus instead. Other ids stay, so that clips of a public corpus can
    be found there; of an absolute path the file's name does.

    Args:
        ids (`Sequence[str]`): Of one corpus.
        speakers (`Sequence[str]`): Of the same clips.
    """
    names = public_speakers(speakers)
    public = [without_speaker(public_name(id), who, names[who]) for id, who in zip(ids, speakers, strict=True)]
    if len(set(public)) < len(set(ids)):
        return [f"{place:06}" for place in range(1, len(ids) + 1)]
    return public


def hashed(reference: str) -> str:
    """What stands in the place of a reference that may not be published: its SHA-256, in hexadecimal."""
    return hashlib.sha256(reference.encode()).hexdigest()


def public(table: pa.Table, provenance: Provenance, withheld: bool) -> tuple[pa.Table, Provenance]:
    """
    Predictions as they are published: speakers without their names and, where the references may not be published,
    these as digests. Of what is public already, the same.

    Args:
        table (`pa.Table`): As [`read_predictions`] gives it.
        provenance ([`Provenance`]): The same.
        withheld (`bool`): Whether the references may not be published.
    """
    ids, speakers = table["id"].to_pylist(), table["speaker"].to_pylist()
    names = public_speakers(speakers)
    columns = {"id": public_ids(ids, speakers), "speaker": [names[speaker] for speaker in speakers]}
    if withheld and provenance.references == "open":
        columns["reference"] = [hashed(text) for text in table["reference"].to_pylist()]
        provenance = provenance.model_copy(update={"references": "hashed"})
    return described(replaced(table, columns), provenance), provenance


def opened(table: pa.Table, provenance: Provenance, references: Sequence[str]) -> tuple[pa.Table, Provenance]:
    """
    Predictions whose references were not published, with the references of who has them.

    Args:
        table (`pa.Table`): As [`read_predictions`] gives it.
        provenance ([`Provenance`]): The same.
        references (`Sequence[str]`): Of all clips, in their order.

    Raises:
        RecordError: These are other references.
    """
    told = [hashed(text) for text in references] if provenance.references == "hashed" else list(references)
    known = table["reference"].to_pylist()
    if len(told) != len(known):
        raise RecordError(f"{provenance.corpus}: {len(told)} transcripts for {len(known)} clips")
    for row, (ours, theirs) in enumerate(zip(told, known, strict=True), start=1):
        if ours != theirs:
            raise RecordError(f"{provenance.corpus}: clip {row} was measured with another transcript")
    provenance = provenance.model_copy(update={"references": "open"})
    return described(replaced(table, {"reference": list(references)}), provenance), provenance


def replaced(table: pa.Table, columns: dict[str, list[str]]) -> pa.Table:
    """The same rows with other values in some columns of text."""
    for name, values in columns.items():
        place = SCHEMA.get_field_index(name)
        table = table.set_column(place, SCHEMA.field(name), pa.array(values, pa.string()))
    return table


def read_predictions(path: Path) -> tuple[pa.Table, Provenance]:
    """
    Reads one corpus' predictions.

    Raises:
        RecordError: The file is missing, or is not one of ours.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such predictions; escoita eval writes them")
    what = "a file of predictions"
    with opened_parquet(path, what, TEXTS) as file:
        schema = file.schema_arrow
        try:
            provenance = Provenance.from_json(schema.metadata[_KEY])
        except ValueError as error:
            raise RecordError(f"{path}: not {what} ({error})") from error
        if provenance.schema_version != 1 or not plain_schema(schema).equals(SCHEMA):
            raise RecordError(f"{path}: predictions of another schema")
        table = decoded(path, file.read(use_threads=False), TEXTS)
    if missing := [name for name in SCHEMA.names if table[name].null_count]:
        raise RecordError(f"{path}: predictions without a value in some rows of {missing[0]!r}")
    _require_scorable(path, table)
    return described(table, provenance), provenance


def _require_scorable(path: Path, table: pa.Table) -> None:
    """Refuses numbers that no measurement gives, and texts for which scoring would take hours."""
    for name in ("audio_seconds", "compute_seconds", "tokens"):
        found = pc.min_max(table[name])
        finite = pc.all(pc.is_finite(table[name])).as_py() is not False
        if len(table) and not (finite and found["min"].as_py() >= 0 and found["max"].as_py() <= _LARGEST):
            raise RecordError(f"{path}: {name} of some rows is negative, too large, or no number")
    ours, theirs = (pc.utf8_length(table[name]).cast(pa.float64()) for name in ("reference", "hypothesis"))
    if (pc.sum(pc.multiply(ours, theirs)).as_py() or 0) > ALIGNMENT_CELLS:
        raise RecordError(f"{path}: so many long transcripts that scoring would take hours; split the test set")
    for name in TEXTS:
        transcript = name in ("reference", "hypothesis")
        most = TRANSCRIPT_CHARACTERS if transcript else CELL_CHARACTERS
        lengths = pc.utf8_length(table[name])
        if (longest := pc.max(lengths).as_py() or 0) > most:
            raise RecordError(f"{path}: {name} of some row has {longest:,} characters; at most {most:,} are scored")
        for text in table[name].filter(pc.greater(lengths, _SHORT)).to_pylist():
            if len(text) > TRANSCRIPT_WORDS and (words := len(text.split())) > TRANSCRIPT_WORDS:
                raise RecordError(
                    f"{path}: {name} of some row has {words:,} words; at most {TRANSCRIPT_WORDS:,} are scored"
                )
            if _marks().search(text):
                raise RecordError(
                    f"{path}: {name} of some row has more than {COMBINING_MARKS} combining marks in a row"
                )


@cache
def _marks() -> re.Pattern[str]:
    """Too many combining marks in a row."""
    combining = "".join(each for each in map(chr, range(sys.maxunicode)) if unicodedata.combining(each))
    return re.compile(f"[{combining}]{{{COMBINING_MARKS + 1}}}")
