"""Count the edits and the errors of each utterance, by corpus and by part of it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from escoita.errors import RecordError
from escoita.evaluation.prediction_folder import CorpusPredictions, read_folder
from escoita.evaluation.predictions import counts_path, hashed, parquet
from escoita.metrics.error_types import FAULTS, find_faults
from escoita.metrics.normalizers import normalizer, word_changes
from escoita.metrics.wer import character_edits, word_edits
from escoita.recipe.schema import Corpus, Name
from escoita.records.evaluation import METRICS, Slice
from escoita.records.training import RecordModel
from escoita.utils.files import write_atomically
from escoita.utils.limits import TRANSCRIPT_CHARACTERS
from escoita.utils.untrusted import opened_parquet


By = Literal["duration", "speaker", "gender", "accent"]
# Upper ends of the bins, in seconds; each belongs to the bin that it ends.
DURATIONS = (2, 5, 10, 20, 30)
# Of one kind; the others, fewer words each, are put together.
MOST_VALUES = 30


def slices(clips: pa.Table, words: np.ndarray, edits: Mapping[str, np.ndarray], kinds: tuple[By, ...]) -> list[Slice]:
    """
    Cuts a corpus into parts.

    Args:
        clips (`pa.Table`): Predictions of any system.
        words (`np.ndarray`): Words of each reference, of shape `(utterances,)`.
        edits (`Mapping[str, np.ndarray]`): Word edits of each system, of the same shape.
        kinds (`tuple[str, ...]`): `duration`, `speaker`, `gender`, `accent`; of those that no clip names, there is
            no slice.

    Returns:
        `list[Slice]`: Durations from short to long; of the other kinds the value with the most words first, at most
        30, then the rest together and the clips that name none.
    """
    return [
        Slice(
            by=by,
            value=value,
            n=len(rows),
            reference_words=int(words[rows].sum()),
            wer={system: float(counts[rows].sum() / max(1, words[rows].sum())) for system, counts in edits.items()},
        )
        for by in kinds
        for value, rows in (_by_duration(clips) if by == "duration" else _by_value(clips[by].to_pylist(), words))
    ]


def _by_duration(clips: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    bins = np.digitize(clips["audio_seconds"].to_numpy(), DURATIONS, right=True)
    names = [f"{low}-{high} s" for low, high in zip((0, *DURATIONS), DURATIONS, strict=False)]
    for place, name in enumerate([*names, f"over {DURATIONS[-1]} s"]):
        if len(rows := np.flatnonzero(bins == place)):
            yield name, rows


def _by_value(values: list[str], words: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    known, members = np.unique(np.array(values, dtype=object), return_inverse=True)
    totals = np.bincount(members, words, minlength=len(known))
    places = sorted((place for place, value in enumerate(known) if value), key=lambda place: (-totals[place], place))
    for place in places[:MOST_VALUES]:
        yield known[place], np.flatnonzero(members == place)
    if rest := places[MOST_VALUES:]:
        yield f"others ({len(rest)})", np.flatnonzero(np.isin(members, rest))
    if 0 < len(places) < len(known):
        yield "not stated", np.flatnonzero(members == known.tolist().index(""))


Form = Literal["normalized", "raw"]
# (form, tokens) of the lengths of references, (form, tokens, system) of edits, (form, kind, system) of their kinds;
# ("faults", fault, system); ("references", "merged") and ("references", "split").
Key = tuple[str, ...]
FORMS: tuple[Form, ...] = get_args(Form)
KINDS = ("substitutions", "deletions", "insertions")
CHANGES = ("merged", "split")
_KEY = b"escoita"


class CountsProvenance(RecordModel):
    """
    What counts were made from.

    Args:
        corpus (`str`): Name of the corpus.
        normalizer (`str`): Of the form `normalized`.
        references (`str`): Digest of all references.
        heard (`dict[str, str]`): Digest of what each system heard.
    """

    schema_version: Literal[1] = 1
    corpus: Name
    normalizer: str
    references: str
    heard: dict[Name, str]


def forms_of(normalizer_name: str) -> tuple[Form, ...]:
    """The forms of the texts that differ: of texts as they are, there is one."""
    return ("raw",) if normalizer_name == "raw" else ("normalized", "raw")


def keys_of(normalizer_name: str, systems: Sequence[str]) -> list[Key]:
    """All that is counted of some systems under a normaliser."""
    keys: list[Key] = []
    for form in forms_of(normalizer_name):
        keys += [(form, tokens) for tokens in METRICS.values()]
        keys += [(form, what, system) for system in systems for what in (*METRICS.values(), *KINDS)]
    keys += [("faults", fault, system) for system in systems for fault in FAULTS]
    return keys + [("references", change) for change in CHANGES]


def count_utterances(corpus: CorpusPredictions, normalizer_name: str) -> dict[Key, np.ndarray]:
    """
    Counts lengths, edits and faults of each utterance.

    Args:
        corpus ([`~escoita.evaluation.prediction_folder.CorpusPredictions`]): References and what was heard.
        normalizer_name (`str`): Of the form `normalized`; the texts as they are, `raw`, are counted too.

    Returns:
        `dict[tuple, np.ndarray]`: For each key the counts, of shape `(utterances,)`; booleans of faults and changes.
    """
    columns: dict[Key, np.ndarray] = {}
    said: dict[str, list[str]] = {}
    for form in forms_of(normalizer_name):
        normalise = normalizer(normalizer_name if form == "normalized" else "raw")
        references = said[form] = [normalise(text) for text in corpus.clips["reference"].to_pylist()]
        for system, table in corpus.tables.items():
            heard = [normalise(text) for text in table["hypothesis"].to_pylist()]
            words, characters = word_edits(references, heard), character_edits(references, heard)
            columns |= {(form, "words"): words.reference, (form, "characters"): characters.reference}
            columns |= {(form, "words", system): words.total, (form, "characters", system): characters.total}
            columns |= {(form, kind, system): getattr(words, kind) for kind in KINDS}
    for system, table in corpus.tables.items():
        found = find_faults(said["raw"], table["hypothesis"].to_pylist(), table["truncated"].to_pylist())
        columns |= {("faults", fault, system): rows for fault, rows in found.items()}
    changes = zip(CHANGES, _changes(said["raw"], said.get("normalized", said["raw"])), strict=True)
    return columns | {("references", change): rows for change, rows in changes}


def write_counts(folder: Path, corpora: Iterable[Corpus], normalizer_name: str) -> None:
    """
    Writes the counts of the corpora whose references may not be published, and removes those of others.

    Args:
        folder (`Path`): Holds the predictions of each corpus.
        corpora (`Iterable[Corpus]`): As the recipe has them.
        normalizer_name (`str`): Under which they were scored.

    Raises:
        RecordError: A file of predictions is missing, or not one of ours.
    """
    for asked in corpora:
        path = counts_path(folder, asked.name)
        if asked.publish_references:
            path.unlink(missing_ok=True)
            continue
        (corpus,) = read_folder(folder, [asked.name])[1]
        if corpus.counts:  # published before; the references are not here
            continue
        columns = count_utterances(corpus, normalizer_name)
        made = CountsProvenance(
            corpus=corpus.name,
            normalizer=normalizer_name,
            references=_digest(map(hashed, corpus.clips["reference"].to_pylist())),
            heard={system: _heard(table) for system, table in corpus.tables.items()},
        )
        table = pa.table({"/".join(key): column for key, column in columns.items()})
        write_atomically(path, parquet(table.replace_schema_metadata({_KEY: made.model_dump_json().encode()})))


def read_counts(path: Path, corpus: CorpusPredictions, normalizer_name: str) -> dict[Key, np.ndarray]:
    """
    Reads what [`write_counts`] wrote of a corpus whose references are hashed.

    Args:
        path (`Path`): The file.
        corpus ([`~escoita.evaluation.prediction_folder.CorpusPredictions`]): What stands beside it.
        normalizer_name (`str`): The one that was counted under, or `raw`.

    Returns:
        `dict[tuple, np.ndarray]`: As [`count_utterances`] gives it.

    Raises:
        RecordError: The file is missing, not one of ours, of other predictions, or was counted under another
            normaliser.
    """
    if not path.is_file():
        raise RecordError(f"{path}: missing, and without it nothing can be counted, as the references are hashed")
    keys = keys_of(normalizer_name, list(corpus.tables))
    what = "a file of counts"
    with opened_parquet(path, what) as file:
        try:
            made = CountsProvenance.from_json(file.schema_arrow.metadata[_KEY])
        except ValueError as error:
            raise RecordError(f"{path}: not {what} ({error})") from error
        # Other columns, of another normaliser or of strangers, are not read.
        table = file.read(columns=["/".join(key) for key in keys], use_threads=False)
    if normalizer_name not in ("raw", made.normalizer):
        raise RecordError(
            f"{path}: counted under {made.normalizer}; nothing can be counted under {normalizer_name}, as the"
            " references are hashed"
        )
    digests = {system: _heard(rows) for system, rows in corpus.tables.items()}
    references = _digest(corpus.clips["reference"].to_pylist())
    if (made.corpus, made.references) != (corpus.name, references) or not digests.items() <= made.heard.items():
        raise RecordError(f"{path}: counts of other predictions than those beside it; evaluate again")
    columns: dict[Key, np.ndarray] = {}
    for key in keys:
        kind = pa.bool_() if key[0] in ("faults", "references") else pa.int64()
        name = "/".join(key)
        if name not in table.column_names or table[name].type != kind or table[name].null_count:
            raise RecordError(f"{path}: holds no whole column {name}")
        if len(table) != corpus.clips.num_rows or (kind == pa.int64() and not _plausible(table[name])):
            raise RecordError(f"{path}: column {name} is no count of each of {corpus.clips.num_rows} utterances")
        columns[key] = table[name].to_numpy()
    if normalizer_name == "raw":
        columns |= {("references", change): np.zeros(len(table), bool) for change in CHANGES}
    return columns


def _plausible(counts: pa.ChunkedArray) -> bool:
    """Whether counts are of transcripts that [`read_predictions`] would take."""
    found = pc.min_max(counts)
    return not len(counts) or 0 <= found["min"].as_py() <= found["max"].as_py() <= 2 * TRANSCRIPT_CHARACTERS


def _changes(references: Sequence[str], normalised: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Of which references a normaliser makes fewer words, or none; and of which more."""
    merged, split = np.zeros((2, len(references)), bool)
    for row, (said, made) in enumerate(zip(references, normalised, strict=True)):
        if said != made:
            found = word_changes([said], [made])
            merged[row], split[row] = found.merged or found.emptied, found.split
    return merged, split


def _heard(table: pa.Table) -> str:
    """Digest of all that is counted of a system beside the references."""
    columns = (table[name].to_pylist() for name in ("hypothesis", "truncated"))
    return _digest(f"{text}\0{cut}" for text, cut in zip(*columns, strict=True))


def _digest(texts: Iterable[str]) -> str:
    """Of texts in their order; each by its own digest, so that none can run into the next."""
    return hashlib.sha256("".join(map(hashed, texts)).encode()).hexdigest()
