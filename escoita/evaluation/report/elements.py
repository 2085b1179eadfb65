"""Make the elements of the report: plots, tables, utterances and recordings."""

import base64
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.clips import read_clip
from escoita.data.rows import Utterance, Utterances
from escoita.errors import AudioError
from escoita.evaluation.predictions import public_speakers
from escoita.evaluation.report.data import Confusions, ScoredPredictions
from escoita.evaluation.report.plots import SHARES, shares, wer_by_corpus, wer_by_duration, wer_distribution
from escoita.metrics.error_types import find_faults
from escoita.metrics.primary import metric_name, token_name
from escoita.metrics.wer import Chunk, align
from escoita.records.evaluation import METRICS, EvaluationRecord, Slice
from escoita.utils.formatting import percent, thousands


# Limit of one recording: half a minute of speech as FLAC at 16 kHz.
MAX_RECORDING_BYTES = 400_000
# Limit of all recordings in one report, encoded as base64.
MAX_TOTAL_BYTES = 10_000_000


def share(fraction: float) -> str:
    """Return a fraction as a percentage with one decimal."""
    return f"{100 * fraction:.1f} %"


def player(utterance: Utterance) -> str | None:
    """
    Return a recording as a data URI for an `<audio>` element.

    Args:
        utterance ([`~escoita.data.rows.Utterance`]): Row of a corpus whose license permits publishing clips.

    Returns:
        `str`: A URI that starts with `data:audio/`; None if the recording cannot be read or is too large at 16 kHz.
    """
    encoded = _own_bytes(utterance)
    if encoded is None or (kind := media_type(encoded)) is None:
        try:
            encoded, kind = _as_flac(utterance), "audio/flac"
        except AudioError:
            return None
    if len(encoded) > MAX_RECORDING_BYTES:
        return None
    return f"data:{kind};base64,{base64.b64encode(encoded).decode()}"


def media_type(encoded: bytes) -> str | None:
    """Return the media type of a recording by its first bytes, or None if not every browser plays it."""
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WAVE":
        return "audio/wav"
    if encoded[:3] == b"ID3" or (len(encoded) > 1 and encoded[0] == 0xFF and encoded[1] & 0xE6 == 0xE2):
        return "audio/mpeg"
    return {b"OggS": "audio/ogg", b"fLaC": "audio/flac"}.get(encoded[:4])


def _own_bytes(utterance: Utterance) -> bytes | None:
    """Return the bytes of the file; None for a segment, for a file that is too large, or that does not exist."""
    if utterance.offset is not None:
        return None
    if utterance.embedded is not None:
        return utterance.embedded if len(utterance.embedded) <= MAX_RECORDING_BYTES else None
    path = Path(utterance.audio)
    try:
        return path.read_bytes() if path.stat().st_size <= MAX_RECORDING_BYTES else None
    except OSError:
        return None


def _as_flac(utterance: Utterance) -> bytes:
    """Return the model's input as FLAC; not Ogg, whose stream number depends on the time."""
    buffer = io.BytesIO()
    soundfile.write(buffer, read_clip(utterance), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


@dataclass(frozen=True)
class WorstUtterance:
    """
    Store an utterance with errors.

    Args:
        corpus (`str`): Name of the corpus.
        id (`str`): Id of the clip, unique in the corpus.
        language (`str`): tag of the language.
        seconds (`float`): Duration of the recording.
        edits (`int`): Number of edits, of words or, if the CER is the primary metric, of characters.
        words (`int`): Number of words of the reference, or of characters.
        chunks (`list[Chunk]`): Alignment of the normalized texts.
        reference (`str`, *optional*): Reference without normalization, if the normalizer changed it.
        hypothesis (`str`, *optional*): Hypothesis without normalization, if the normalizer changed it.
        faults (`list[str]`): Names of fields of [`~escoita.records.evaluation.Faults`].
        player (`str`, *optional*): Recording as a data URI.
    """

    corpus: str
    id: str
    language: str
    seconds: float
    edits: int
    words: int
    chunks: list[Chunk]
    reference: str | None
    hypothesis: str | None
    faults: list[str]
    player: str | None = None

    @property
    def rate(self) -> float:
        """Return edits over words of the reference; for an empty reference, the number of insertions."""
        return self.edits / max(1, self.words)


def worst_utterances(predictions: Sequence[ScoredPredictions], limit: int) -> list[WorstUtterance]:
    """
    Return the utterances with the most edits, sorted by edits and then by rate; those without edits are excluded.

    Args:
        predictions (`Sequence[ScoredPredictions]`): Predictions of one system, by corpus.
        limit (`int`): Maximum number of utterances.
    """
    edits, rates = (np.concatenate([getattr(part, name) for part in predictions]) for name in ("edits", "rates"))
    order = np.lexsort((-rates, -edits))[: min(limit, np.count_nonzero(edits))]
    starts = np.cumsum([0, *(len(part.edits) for part in predictions)])
    places = (np.searchsorted(starts, order, side="right") - 1).tolist()
    faults = {place: _faults(predictions[place]) for place in set(places)}
    return [
        _worst(predictions[place], int(index - starts[place]), faults[place])
        for index, place in zip(order, places, strict=True)
    ]


def with_players(
    worst: Sequence[WorstUtterance], clips: Mapping[str, Utterances], playable: Collection[str]
) -> tuple[list[WorstUtterance], list[str]]:
    """
    Add recordings to utterances.

    Args:
        worst (`Sequence[WorstUtterance]`): The utterances.
        clips (`Mapping[str, Utterances]`): Rows of each corpus that is available.
        playable (`Collection[str]`): Corpora whose license permits publishing clips.

    Returns:
        `tuple[list[WorstUtterance], list[str]]`: The same utterances, and a sentence for each reason of a missing
        recording.
    """
    found = {name: dict(zip(rows.column("id"), range(len(rows)), strict=True)) for name, rows in clips.items()}
    shown: list[WorstUtterance] = []
    missing: dict[str, int] = {}
    remaining = MAX_TOTAL_BYTES
    for utterance in worst:
        index = found.get(utterance.corpus, {}).get(utterance.id)
        uri = None
        if utterance.corpus not in playable:
            reason = f"the recipe does not permit publishing clips of {utterance.corpus} (publish_audio)"
        elif index is None:
            reason = f"{utterance.corpus} was not available, or no longer has these rows"
        elif (uri := player(clips[utterance.corpus][index])) is None:
            reason = f"the recording cannot be read, or is larger than {MAX_RECORDING_BYTES // 1000} kB"
        elif len(uri) > remaining:
            uri, reason = None, f"all recordings together would be larger than {MAX_TOTAL_BYTES // 1_000_000} MB"
        if uri is None:
            missing[reason] = missing.get(reason, 0) + 1
        else:
            remaining -= len(uri)
        shown.append(replace(utterance, player=uri))
    note = "Utterances without a recording in this report"
    return shown, [f"{note}: {count}. Reason: {reason}." for reason, count in missing.items()]


def _faults(predictions: ScoredPredictions) -> dict[str, np.ndarray]:
    """Return the faults of a corpus; its script and its words determine those of each utterance."""
    return find_faults(*(predictions.rows[name].to_pylist() for name in ("reference", "hypothesis", "truncated")))


def _worst(predictions: ScoredPredictions, index: int, faults: dict[str, np.ndarray]) -> WorstUtterance:
    row = {name: column[0] for name, column in predictions.rows.slice(index, 1).to_pydict().items()}
    reference, hypothesis = predictions.references[index], predictions.hypotheses[index]
    return WorstUtterance(
        corpus=predictions.corpus,
        id=row["id"],
        language=row["language"],
        seconds=row["audio_seconds"],
        edits=int(predictions.edits[index]),
        words=int(predictions.words[index]),
        chunks=align(reference, hypothesis),
        reference=_unless_same(row["reference"], reference),
        hypothesis=_unless_same(row["hypothesis"], hypothesis),
        faults=[kind for kind, found in faults.items() if found[index]],
    )


def _unless_same(text: str, normalized: str) -> str | None:
    """Return the text if the normalizer changed more than its spaces."""
    return text if text.split() != normalized.split() else None


# Rows of each table of confusions.
_MOST = 20


@dataclass(frozen=True)
class Table:
    """
    Store a table.

    Args:
        title (`str`): Title of the table.
        head (`list[str]`): Names of the columns; the first one contains the names of the rows.
        rows (`list[list[str]]`): Cells of each row.
    """

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Plot:
    """
    Store a plot of the report.

    Args:
        name (`str`): Name of its file without the suffix.
        title (`str`): Title of the plot.
        caption (`str`): Caption below the plot.
        svg (`str`): An `<svg>` element.
        table ([`Table`], *optional*): Figures of the plot, if no other table contains them.
    """

    name: str
    title: str
    caption: str
    svg: str
    table: Table | None = None


@dataclass(frozen=True)
class ConfusionTable:
    """
    Store the most frequent word errors of one kind.

    Args:
        title (`str`): The kind.
        head (`list[str]`): Names of the columns.
        rows (`list[tuple[list[str], int]]`): Words and their count, the most frequent first.
        kinds (`int`): Number of rows without a limit.
    """

    title: str
    head: list[str]
    rows: list[tuple[list[str], int]]
    kinds: int


def plots(record: EvaluationRecord, predictions: Mapping[str, Sequence[ScoredPredictions]]) -> list[Plot]:
    """
    Draw the plots of the report and the card.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        predictions (`Mapping[str, Sequence[ScoredPredictions]]`): Predictions of each system, by corpus.
    """
    scope = ", all corpora pooled" if len(record.corpora) > 1 else ""
    metric = metric_name(record.primary)
    kind = token_name(record.primary).capitalize()
    caption = f"{kind} error rate with its 95 % confidence interval; the table above contains the same figures."
    drawn = [Plot("wer-by-corpus", f"{metric} by corpus", caption, wer_by_corpus(record))]
    if by_duration := wer_by_duration(record):
        parts = [part for part in record.rows[-1].slices if part.by == "duration"]
        title = f"{metric} by duration of the clip{scope}"
        caption = f"n is the number of clips. A {metric} that is computed from few clips is imprecise."
        drawn.append(Plot("wer-by-duration", title, caption, by_duration, _slices(title, parts, record)))
    rates = {name: np.concatenate([part.rates for part in parts]) for name, parts in predictions.items()}
    columns = {name: shares(found) for name, found in rates.items()}
    rows = [[label, *(share(column[row]) for column in columns.values())] for row, label in enumerate(SHARES)]
    title = f"Distribution of the {metric} over utterances{scope}"
    caption = (
        "The bin 0 contains utterances without errors, the bin \N{LESS-THAN OR EQUAL TO}\N{NO-BREAK SPACE}10 contains"
        f" utterances with a {metric} above 0 and up to 10 %, and so on."
    )
    table = Table(title, [f"{metric}, %", *columns], rows)
    return [*drawn, Plot("wer-distribution", title, caption, wer_distribution(rates, record.primary), table)]


def slice_tables(record: EvaluationRecord, speakers: Mapping[str, Iterable[str]]) -> list[Table]:
    """
    Return WER by speaker, gender and accent of each corpus with two or more values; durations are plotted.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The record.
        speakers (`Mapping[str, Iterable[str]]`): Speaker of each clip, by corpus; they get their published names.
    """
    tables = []
    for result in record.rows:
        name = "All corpora pooled" if result.unit == "corpus" else result.name
        for by, group in groupby(result.slices, key=lambda part: part.by):
            parts = list(group)
            if by == "speaker":
                names = public_speakers(speakers[result.name])
                parts = [part.model_copy(update={"value": names.get(part.value, part.value)}) for part in parts]
            if by != "duration" and len(parts) > 1:
                tables.append(_slices(f"{name}, by {by}", parts, record))
    return tables


def confusion_tables(counted: Confusions) -> list[ConfusionTable]:
    """Return the most frequent substitutions, deletions and insertions."""
    return [
        ConfusionTable("Substitutions", ["reference", "hypothesis", "count"], *_most(counted.substituted)),
        ConfusionTable("Deletions", ["reference", "count"], *_most(counted.deleted)),
        ConfusionTable("Insertions", ["hypothesis", "count"], *_most(counted.inserted)),
    ]


def _slices(title: str, parts: Sequence[Slice], record: EvaluationRecord) -> Table:
    systems, unit = [system.name for system in record.systems], METRICS[record.primary]
    rows = [
        [
            part.value,
            thousands(part.n),
            thousands(part.reference_words if part.reference_characters is None else part.reference_characters),
            *(percent(part.rates[name]) for name in systems),
        ]
        for part in parts
    ]
    return Table(title, ["", "clips", unit, *systems], rows)


def _most(counts: Counter[tuple[str, ...]]) -> tuple[list[tuple[list[str], int]], int]:
    """Return the most frequent words, sorted by count and then by word, and the number of all words."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(list(words), count) for words, count in ranked[:_MOST]], len(counts)
