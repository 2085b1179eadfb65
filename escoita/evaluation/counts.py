"""Count the edits and the faults of each utterance, by corpus and by slice."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from escoita.errors import RecordError
from escoita.evaluation.errors import HashedReferencesError, OtherPredictionsError
from escoita.evaluation.prediction_folder import CorpusPredictions, read_folder
from escoita.evaluation.predictions import counts_path, hashed, parquet
from escoita.metrics.error_types import FAULTS, find_faults
from escoita.metrics.normalizers import UNNORMALIZED, mark_changes, normalizer, word_changes
from escoita.metrics.wer import character_edits, word_edits
from escoita.models.ctc_vocabulary import training_text, unknown_characters, unknown_line
from escoita.recipe.schema import Corpus, Name
from escoita.records.evaluation import METRICS, EvaluationRecord, Slice
from escoita.records.training import RecordModel
from escoita.utils.files import write_atomically
from escoita.utils.limits import TRANSCRIPT_CHARACTERS
from escoita.utils.processes import say
from escoita.utils.untrusted import opened_parquet


By = Literal["duration", "speaker", "gender", "accent"]
# Upper bounds of the bins, in seconds, inclusive.
DURATIONS = (2, 5, 10, 20, 30)
# Values of one kind; the remaining ones, with fewer words, become one slice.
MOST_VALUES = 30


def slices(
    clips: pa.Table,
    words: np.ndarray,
    edits: Mapping[str, np.ndarray],
    kinds: tuple[By, ...],
    characters: np.ndarray | None = None,
    character_edits: Mapping[str, np.ndarray] | None = None,
) -> list[Slice]:
    """
    Divide a corpus into slices.

    Args:
        clips (`pa.Table`): Predictions of any system.
        words (`np.ndarray`): Number of words of each reference, of shape `(utterances,)`.
        edits (`Mapping[str, np.ndarray]`): Word edits of each system, of the same shape.
        kinds (`tuple[str, ...]`): Kinds of slices: `duration`, `speaker`, `gender`, `accent`. A kind without values
            in the corpus gives no slice.
        characters (`np.ndarray`, *optional*): Number of characters of each reference, if the CER is the primary
            metric.
        character_edits (`Mapping[str, np.ndarray]`, *optional*): Character edits of each system; given together.

    Returns:
        `list[Slice]`: Durations from short to long; for the other kinds, at most 30 values with the most words first,
        then the remaining values as one slice, then the clips without a value.
    """
    return [
        Slice(
            by=by,
            value=value,
            n=len(rows),
            reference_words=int(words[rows].sum()),
            wer=_rates_of(rows, words, edits),
            reference_characters=None if characters is None else int(characters[rows].sum()),
            cer=None if characters is None else _rates_of(rows, characters, character_edits or {}),
        )
        for by in kinds
        for value, rows in (_by_duration(clips) if by == "duration" else _by_value(clips[by].to_pylist(), words))
    ]


def _rates_of(rows: np.ndarray, lengths: np.ndarray, edits: Mapping[str, np.ndarray]) -> dict[str, float]:
    total = max(1, lengths[rows].sum())
    return {system: float(counts[rows].sum() / total) for system, counts in edits.items()}


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
# (form, tokens) for lengths of references, (form, tokens, system) for edits, (form, kind, system) for kinds of edits,
# ("faults", fault, system), ("references", "merged") and ("references", "split").
Key = tuple[str, ...]
FORMS: tuple[Form, ...] = get_args(Form)
KINDS = ("substitutions", "deletions", "insertions")
CHANGES = ("merged", "split")
_KEY = b"escoita"


class CountsProvenance(RecordModel):
    """
    Store the source of counts.

    Args:
        corpus (`str`): Name of the corpus.
        normalizer (`str`): Normalizer of the form `normalized`.
        references (`str`): Digest of all references.
        heard (`dict[str, str]`): Digest of the hypotheses of each system.
    """

    schema_version: Literal[1] = 1
    corpus: Name
    normalizer: str
    references: str
    heard: dict[Name, str]


def forms_of(normalizer_name: str) -> tuple[Form, ...]:
    """Return the forms of the texts; without a normalizer there is only `raw`."""
    return ("raw",) if normalizer_name in UNNORMALIZED else ("normalized", "raw")


def keys_of(normalizer_name: str, systems: Sequence[str]) -> list[Key]:
    """Return the keys of all counts of some systems under a normalizer."""
    keys: list[Key] = []
    for form in forms_of(normalizer_name):
        keys += [(form, tokens) for tokens in METRICS.values()]
        keys += [(form, counted, system) for system in systems for counted in (*METRICS.values(), *KINDS)]
    keys += [("faults", fault, system) for system in systems for fault in FAULTS]
    return keys + [("references", change) for change in CHANGES]


def count_utterances(corpus: CorpusPredictions, normalizer_name: str, compose: bool = True) -> dict[Key, np.ndarray]:
    """
    Count lengths, edits and faults of each utterance.

    Args:
        corpus ([`~escoita.evaluation.prediction_folder.CorpusPredictions`]): References and hypotheses.
        normalizer_name (`str`): Normalizer of the form `normalized`; the form `raw` is counted too.
        compose (`bool`, *optional*, defaults to `True`): Whether raw texts are composed (NFC), unless the normalizer
            is `bytes`; escoita 0.1.0 did not.

    Returns:
        `dict[tuple, np.ndarray]`: Counts of each key, of shape `(utterances,)`; booleans for faults and changes.
    """
    columns: dict[Key, np.ndarray] = {}
    forms: dict[str, list[str]] = {}
    raw = "raw" if compose and normalizer_name != "bytes" else "bytes"
    for form in forms_of(normalizer_name):
        normalize = normalizer(normalizer_name if form == "normalized" else raw)
        references = forms[form] = [normalize(text) for text in corpus.clips["reference"].to_pylist()]
        for system, table in corpus.tables.items():
            hypotheses = [normalize(text) for text in table["hypothesis"].to_pylist()]
            words, characters = word_edits(references, hypotheses), character_edits(references, hypotheses)
            columns |= {(form, "words"): words.reference, (form, "characters"): characters.reference}
            columns |= {(form, "words", system): words.total, (form, "characters", system): characters.total}
            columns |= {(form, kind, system): getattr(words, kind) for kind in KINDS}
    for system, table in corpus.tables.items():
        found = find_faults(forms["raw"], table["hypothesis"].to_pylist(), table["truncated"].to_pylist())
        columns |= {("faults", fault, system): rows for fault, rows in found.items()}
    changes = zip(CHANGES, _changes(forms["raw"], forms.get("normalized", forms["raw"])), strict=True)
    return columns | {("references", change): rows for change, rows in changes}


def warn_of_marks(corpus: str, references: Iterable[str]) -> None:
    """Print how many words of a corpus the normalizer `basic` splits at combining marks, if there are any."""
    if (marks := mark_changes(references)).words:
        say(f"{corpus}: {marks}; use --normalizer unicode")


def warn_of_characters(record: EvaluationRecord, references: Mapping[str, Iterable[str]]) -> None:
    """
    Print the characters of the references that the vocabulary of a CTC model lacks, so that it cannot write them.

    A character that the normalizer changes into one of the vocabulary, such as a capital letter, is not counted.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation, with systems and normalizer.
        references (`Mapping[str, Iterable[str]]`): The references of each corpus, by name.
    """
    for corpus, texts in references.items():
        normalize = training_text(normalizer(record.retention_normalizers.get(corpus, record.normalizer)))
        normalized = [normalize(text) for text in texts]
        total = sum(len(text.replace(" ", "")) for text in normalized)
        for system in record.systems:
            if system.characters is None:
                continue
            written = {*system.characters, *normalize(system.characters), *map(normalize, system.characters)}
            lacking = unknown_characters(normalized, written)
            if lacking:
                share = f"{sum(lacking.values()) / total:.1%} of the characters of the references"
                say(f"{corpus}, {system.name}: {unknown_line(lacking, 'which its vocabulary lacks')} ({share})")


def write_counts(
    folder: Path, corpora: Iterable[Corpus], normalizer_name: str, own_normalizers: Mapping[str, str] | None = None
) -> None:
    """
    Write the counts of the corpora whose references may not be published, and remove those of others.

    Args:
        folder (`Path`): Folder with the predictions of each corpus.
        corpora (`Iterable[Corpus]`): Corpora of the recipe.
        normalizer_name (`str`): Normalizer of the evaluation.
        own_normalizers (`Mapping[str, str]`, *optional*): Normalizers of corpora that have their own, by name.

    Raises:
        RecordError: Predictions are missing or cannot be read.
    """
    for entry in corpora:
        path = counts_path(folder, entry.name)
        if entry.publish_references:
            path.unlink(missing_ok=True)
            continue
        (corpus,) = read_folder(folder, [entry.name])[1]
        if corpus.counts:  # downloaded without the references
            continue
        name = (own_normalizers or {}).get(corpus.name, normalizer_name)
        columns = count_utterances(corpus, name)
        made = CountsProvenance(
            corpus=corpus.name,
            normalizer=name,
            references=_digest(map(hashed, corpus.clips["reference"].to_pylist())),
            heard={system: _hypotheses_digest(table) for system, table in corpus.tables.items()},
        )
        table = pa.table({"/".join(key): column for key, column in columns.items()})
        write_atomically(path, parquet(table.replace_schema_metadata({_KEY: made.model_dump_json().encode()})))


def read_counts(path: Path, corpus: CorpusPredictions, normalizer_name: str) -> dict[Key, np.ndarray]:
    """
    Read the counts that [`write_counts`] wrote for a corpus whose references are hashed.

    Args:
        path (`Path`): The file.
        corpus ([`~escoita.evaluation.prediction_folder.CorpusPredictions`]): Predictions in the same folder.
        normalizer_name (`str`): Normalizer of the counts, or `raw`.

    Returns:
        `dict[tuple, np.ndarray]`: Counts as [`count_utterances`] returns them.

    Raises:
        HashedReferencesError: The file is missing, or its counts are of another normalizer.
        OtherPredictionsError: The file was computed from other predictions.
        RecordError: The file cannot be read, or its counts contradict each other or the hypotheses.
    """
    if not path.is_file():
        raise HashedReferencesError("not found, and the references are hashed", path=path)
    keys = keys_of(normalizer_name, list(corpus.tables))
    what = "a file of counts"
    with opened_parquet(path, what) as file:
        try:
            made = CountsProvenance.from_json(file.schema_arrow.metadata[_KEY])
        except ValueError as error:
            raise RecordError(f"not {what} ({error})", path=path) from error
        # Columns of another normalizer, or unknown ones, are not read.
        table = file.read(columns=["/".join(key) for key in keys], use_threads=False)
    if normalizer_name not in ("raw", made.normalizer):
        raise HashedReferencesError(
            f"the counts are of the normalizer {made.normalizer}, and the references are hashed",
            path=path,
            key="normalizer",
            value=normalizer_name,
        )
    digests = {system: _hypotheses_digest(rows) for system, rows in corpus.tables.items()}
    references = _digest(corpus.clips["reference"].to_pylist())
    if (made.corpus, made.references) != (corpus.name, references) or not digests.items() <= made.heard.items():
        raise OtherPredictionsError(path=path)
    columns: dict[Key, np.ndarray] = {}
    for key in keys:
        kind = pa.bool_() if key[0] in ("faults", "references") else pa.int64()
        name = "/".join(key)
        if name not in table.column_names or table[name].type != kind or table[name].null_count:
            raise RecordError("column missing, incomplete or of another type", path=path, key=name)
        if len(table) != corpus.clips.num_rows or (kind == pa.int64() and not _plausible(table[name])):
            raise RecordError(f"expected a count for each of {corpus.clips.num_rows} utterances", path=path, key=name)
        columns[key] = table[name].to_numpy()
    _require_consistent(path, columns, corpus, normalizer_name)
    if normalizer_name in UNNORMALIZED:
        columns |= {("references", change): np.zeros(len(table), bool) for change in CHANGES}
    return columns


def _require_consistent(
    path: Path, columns: Mapping[Key, np.ndarray], corpus: CorpusPredictions, normalizer_name: str
) -> None:
    """Check that the kinds of edits add up, and turn the number of reference words into that of the hypothesis."""
    for form in forms_of(normalizer_name):
        normalize = normalizer(normalizer_name if form == "normalized" else "raw")
        words = columns[form, "words"]
        for system, table in corpus.tables.items():
            substitutions, deletions, insertions = (columns[form, kind, system] for kind in KINDS)
            hypotheses = [normalize(text) for text in table["hypothesis"].to_pylist()]
            found = word_edits(hypotheses, hypotheses).reference
            holds = columns[form, "words", system] == substitutions + deletions + insertions
            holds &= (words - deletions + insertions == found) & (substitutions + deletions <= words)
            if not holds.all():
                row = int(np.flatnonzero(~holds)[0]) + 1
                raise RecordError("the counts contradict the hypothesis", path=path, row=row, key=f"{form}/{system}")


def _plausible(counts: pa.ChunkedArray) -> bool:
    """Return whether counts are within the limits of the transcripts that [`read_predictions`] accepts."""
    found = pc.min_max(counts)
    return not len(counts) or 0 <= found["min"].as_py() <= found["max"].as_py() <= 2 * TRANSCRIPT_CHARACTERS


def _changes(references: Sequence[str], normalized: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return for which references normalization reduces, and for which it increases, the number of words."""
    merged, split = np.zeros((2, len(references)), bool)
    for row, (reference, changed) in enumerate(zip(references, normalized, strict=True)):
        if reference != changed:
            found = word_changes([reference], [changed])
            merged[row], split[row] = found.merged or found.emptied, found.split
    return merged, split


def _hypotheses_digest(table: pa.Table) -> str:
    """Return the digest of the columns of a system that counts depend on."""
    columns = (table[name].to_pylist() for name in ("hypothesis", "truncated"))
    return _digest(f"{text}\0{cut}" for text, cut in zip(*columns, strict=True))


def _digest(texts: Iterable[str]) -> str:
    """Return the digest of texts in their order, computed from the digest of each."""
    return hashlib.sha256("".join(map(hashed, texts)).encode()).hexdigest()
