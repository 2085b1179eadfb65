"""Read and write `predictions.parquet`: references, hypotheses and compute times of one system on one corpus."""

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
from pydantic import Field

from escoita.data.rows import Utterances, without_speaker
from escoita.errors import RecordError
from escoita.evaluation.errors import MissingPredictionsError
from escoita.records.evaluation import ADAPTER_SYSTEM, System
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
# Characters of a text that is always fast to score.
_SHORT = 500
# Maximum of seconds and of tokens of one clip; a billion seconds are 30 years.
_LARGEST = 1_000_000_000


class Provenance(RecordModel):
    """
    Store the source of the rows of a file.

    Args:
        corpus (`str`): Name of the corpus.
        rejected (`int`): Number of rows of the corpus that could not be used.
        system ([`System`]): System that transcribed the clips.
        references (`str`): `open`, or `hashed` if the file contains the SHA-256 of each reference in hexadecimal.
        use (`str`): `test`, or `retention` for a corpus of another language that measures forgetting.
        key (`str`): Digest of all that the predictions depend on, for their use by a later evaluation; empty if it is
            not known, and in published files.
    """

    schema_version: int = 1
    corpus: Name
    rejected: int
    system: System
    references: Literal["open", "hashed"] = "open"
    use: Literal["test", "retention"] = "test"
    key: str = Field("", max_length=64)


def predictions_path(folder: Path, corpus: str, system: str) -> Path:
    """Return the path of the predictions of a system: `predictions.parquet` for the adapter, else with its name."""
    return folder / corpus / ("predictions.parquet" if system == ADAPTER_SYSTEM else f"predictions-{system}.parquet")


def counts_path(folder: Path, corpus: str) -> Path:
    """Return the path of the counts of a corpus whose references may not be published."""
    return folder / corpus / "counts.parquet"


def predictions_table(clips: Utterances, transcripts: Sequence[Transcript], provenance: Provenance) -> pa.Table:
    """Return the table of references and hypotheses, in the order of the corpus."""
    columns = {
        "id": clips.column("id"),
        "language": clips.column("language"),
        "speaker": clips.column("speaker"),
        "gender": clips.column("gender"),
        "accent": clips.column("accent"),
        "reference": clips.column("text"),
        "hypothesis": [transcript.text for transcript in transcripts],
        "audio_seconds": [transcript.audio_seconds for transcript in transcripts],
        "compute_seconds": [transcript.compute_seconds for transcript in transcripts],
        "tokens": [transcript.tokens for transcript in transcripts],
        "truncated": [transcript.truncated for transcript in transcripts],
    }
    return described(pa.table(columns, schema=SCHEMA), provenance)


def described(table: pa.Table, provenance: Provenance) -> pa.Table:
    """Return the same rows with their provenance as metadata."""
    return table.replace_schema_metadata({_KEY: provenance.model_dump_json().encode()})


def parquet(table: pa.Table) -> bytes:
    """Return a table as the content of a parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def write_predictions(table: pa.Table, path: Path) -> None:
    """Write the predictions of one corpus."""
    write_atomically(path, parquet(table))


def public_speakers(speakers: Iterable[str]) -> dict[str, str]:
    """
    Return the published names of speakers: `s001`, `s002` and so on, in the order of their ids, so that the order and
    the random draws of the bootstrap stay the same. An unknown speaker stays unknown. Names that were returned before
    stay the same.

    Args:
        speakers (`Iterable[str]`): Speaker of each clip of one corpus.
    """
    known = sorted(set(speakers) - {""})
    width = max(3, len(str(len(known))))
    return {"": ""} | {name: f"s{place:0{width}}" for place, name in enumerate(known, start=1)}


def public_ids(ids: Sequence[str], speakers: Sequence[str]) -> list[str]:
    """
    Return the published ids of clips.

    Many corpora write the speaker into the id of a clip, such as `maria_0001`, which would identify the speaker `s001`
    of this clip; so the id becomes `s001_0001`. A speaker id of six characters or more is replaced anywhere in the id
    of the clip; a shorter one only if no letter, or no digit, precedes or follows it, so that speaker `1` changes
    `1-11` to `s001-11`. Names of other speakers stay, because they cannot be distinguished from words. If two clips
    would get the same id, all get their position in the corpus instead. Other ids stay, so that clips can be found in
    a public corpus; an absolute path is reduced to the name of the file.

    Args:
        ids (`Sequence[str]`): Id of each clip of one corpus.
        speakers (`Sequence[str]`): Speaker of each clip.
    """
    names = public_speakers(speakers)
    public = [without_speaker(public_name(id), who, names[who]) for id, who in zip(ids, speakers, strict=True)]
    if len(set(public)) < len(set(ids)):
        return [f"{place:06}" for place in range(1, len(ids) + 1)]
    return public


def hashed(reference: str) -> str:
    """Return the SHA-256 of a reference in hexadecimal, which replaces a reference that may not be published."""
    return hashlib.sha256(reference.encode()).hexdigest()


def public(table: pa.Table, provenance: Provenance, withheld: bool) -> tuple[pa.Table, Provenance]:
    """
    Return predictions for publication: without names of speakers and, if the references may not be published, with
    their digests. Published predictions stay the same.

    Args:
        table (`pa.Table`): Predictions from [`read_predictions`].
        provenance ([`Provenance`]): Provenance from [`read_predictions`].
        withheld (`bool`): Whether the references may not be published.
    """
    ids, speakers = table["id"].to_pylist(), table["speaker"].to_pylist()
    names = public_speakers(speakers)
    columns = {"id": public_ids(ids, speakers), "speaker": [names[speaker] for speaker in speakers]}
    if withheld and provenance.references == "open":
        columns["reference"] = [hashed(text) for text in table["reference"].to_pylist()]
        provenance = provenance.model_copy(update={"references": "hashed"})
    provenance = provenance.model_copy(update={"key": ""})  # a digest of the private names, too
    return described(replaced(table, columns), provenance), provenance


def opened(table: pa.Table, provenance: Provenance, references: Sequence[str]) -> tuple[pa.Table, Provenance]:
    """
    Return predictions with hashed references replaced by the references themselves.

    Args:
        table (`pa.Table`): Predictions from [`read_predictions`].
        provenance ([`Provenance`]): Provenance from [`read_predictions`].
        references (`Sequence[str]`): References of all clips, in their order.

    Raises:
        RecordError: The references differ from those of the predictions.
    """
    given = [hashed(text) for text in references] if provenance.references == "hashed" else list(references)
    known = table["reference"].to_pylist()
    if len(given) != len(known):
        raise RecordError(f"{len(given)} references for {len(known)} clips", path=provenance.corpus)
    for row, (reference, expected) in enumerate(zip(given, known, strict=True), start=1):
        if reference != expected:
            raise RecordError("evaluated with another reference", path=provenance.corpus, row=row, key="reference")
    provenance = provenance.model_copy(update={"references": "open"})
    return described(replaced(table, {"reference": list(references)}), provenance), provenance


def replaced(table: pa.Table, columns: dict[str, list[str]]) -> pa.Table:
    """Return the same rows with new values in some text columns."""
    for name, values in columns.items():
        place = SCHEMA.get_field_index(name)
        table = table.set_column(place, SCHEMA.field(name), pa.array(values, pa.string()))
    return table


def open_references(content: bytes) -> tuple[str, int]:
    """
    Return the corpus of a file of predictions, and the number of references that readers of the file can read.

    Args:
        content (`bytes`): The content of a file that [`parquet`] wrote.
    """
    schema = pq.read_schema(pa.BufferReader(content))
    provenance = Provenance.from_json(schema.metadata[_KEY])
    rows = pq.read_metadata(pa.BufferReader(content)).num_rows
    return provenance.corpus, rows if provenance.references == "open" else 0


def read_predictions(path: Path) -> tuple[pa.Table, Provenance]:
    """
    Read the predictions of one corpus.

    Raises:
        MissingPredictionsError: The file does not exist.
        RecordError: The file is not a file of predictions, or exceeds the limits.
    """
    if not path.is_file():
        raise MissingPredictionsError(path=path)
    what = "a file of predictions"
    with opened_parquet(path, what, TEXTS) as file:
        schema = file.schema_arrow
        try:
            provenance = Provenance.from_json(schema.metadata[_KEY])
        except ValueError as error:
            raise RecordError(f"not {what} ({error})", path=path) from error
        if provenance.schema_version != 1 or not plain_schema(schema).equals(SCHEMA):
            raise RecordError("the schema is not that of predictions", path=path)
        table = decoded(path, file.read(use_threads=False), TEXTS)
    if missing := [name for name in SCHEMA.names if table[name].null_count]:
        raise RecordError("some rows have no value", path=path, key=missing[0])
    _require_scorable(path, table)
    return described(table, provenance), provenance


def _require_scorable(path: Path, table: pa.Table) -> None:
    """Refuse impossible numbers, and texts that would take hours to score."""
    for name in ("audio_seconds", "compute_seconds", "tokens"):
        found = pc.min_max(table[name])
        finite = pc.all(pc.is_finite(table[name])).as_py() is not False
        if len(table) and not (finite and found["min"].as_py() >= 0 and found["max"].as_py() <= _LARGEST):
            raise RecordError(
                "some rows have a value that is negative, too large or not a number", path=path, key=name
            )
    references, hypotheses = (pc.utf8_length(table[name]).cast(pa.float64()) for name in ("reference", "hypothesis"))
    if (pc.sum(pc.multiply(references, hypotheses)).as_py() or 0) > ALIGNMENT_CELLS:
        raise RecordError(
            "too many long transcripts: scoring would take hours", path=path, hint="split the test corpus"
        )
    for name in TEXTS:
        transcript = name in ("reference", "hypothesis")
        most = TRANSCRIPT_CHARACTERS if transcript else CELL_CHARACTERS
        lengths = pc.utf8_length(table[name])
        if (longest := pc.max(lengths).as_py() or 0) > most:
            raise RecordError(f"a text of {longest:,} characters; the maximum is {most:,}", path=path, key=name)
        for text in table[name].filter(pc.greater(lengths, _SHORT)).to_pylist():
            if len(text) > TRANSCRIPT_WORDS and (words := len(text.split())) > TRANSCRIPT_WORDS:
                raise RecordError(
                    f"a text of {words:,} words; the maximum is {TRANSCRIPT_WORDS:,}", path=path, key=name
                )
            if many_marks().search(text):
                raise RecordError(
                    f"a text with more than {COMBINING_MARKS} consecutive combining marks", path=path, key=name
                )


@cache
def many_marks() -> re.Pattern[str]:
    """Return the expression of too many consecutive combining marks."""
    combining = "".join(each for each in map(chr, range(sys.maxunicode)) if unicodedata.combining(each))
    return re.compile(f"[{combining}]{{{COMBINING_MARKS + 1}}}")
