"""Prepare the plots, the tables, the utterances and the recordings of the report."""

import base64
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.clips import read_clip
from escoita.data.rows import Utterance, Utterances
from escoita.errors import AudioError
from escoita.evaluation.report.data import Confusions, ScoredPredictions
from escoita.evaluation.report.plots import SHARES, shares, wer_by_corpus, wer_by_duration, wer_distribution
from escoita.metrics.error_types import find_faults
from escoita.metrics.wer import Chunk, align
from escoita.records.evaluation import EvaluationRecord, Slice
from escoita.utils.formatting import percent, thousands


# Of one recording, in bytes: half a minute of speech as flac at 16 kHz.
LARGEST = 400_000
# Of all in one report, in bytes as they stand there.
TOTAL = 10_000_000


def share(fraction: float) -> str:
    """Return a fraction as percent with one decimal."""
    return f"{100 * fraction:.1f} %"


def player(utterance: Utterance) -> str | None:
    """
    A recording as a data URI for an `<audio>` element.

    Args:
        utterance ([`~escoita.data.rows.Utterance`]): A row of a corpus whose licence lets clips be shipped.

    Returns:
        `str`: Starts with `data:audio/`; nothing where the recording is not there, cannot be read, or is too large
        even at 16 kHz.
    """
    encoded = _own_bytes(utterance)
    if encoded is None or (kind := media_type(encoded)) is None:
        try:
            encoded, kind = _as_flac(utterance), "audio/flac"
        except AudioError:
            return None
    if len(encoded) > LARGEST:
        return None
    return f"data:{kind};base64,{base64.b64encode(encoded).decode()}"


def media_type(encoded: bytes) -> str | None:
    """The type of a recording that every browser plays, by its first bytes; nothing for any other."""
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WAVE":
        return "audio/wav"
    if encoded[:3] == b"ID3" or (len(encoded) > 1 and encoded[0] == 0xFF and encoded[1] & 0xE6 == 0xE2):
        return "audio/mpeg"
    return {b"OggS": "audio/ogg", b"fLaC": "audio/flac"}.get(encoded[:4])


def _own_bytes(utterance: Utterance) -> bytes | None:
    """The recording as it is; nothing for a part of one, for one that is too large, or not there."""
    if utterance.offset is not None:
        return None
    if utterance.embedded is not None:
        return utterance.embedded if len(utterance.embedded) <= LARGEST else None
    path = Path(utterance.audio)
    try:
        return path.read_bytes() if path.stat().st_size <= LARGEST else None
    except OSError:
        return None


def _as_flac(utterance: Utterance) -> bytes:
    """What the model hears of it; never ogg, whose streams are numbered by the clock."""
    buffer = io.BytesIO()
    soundfile.write(buffer, read_clip(utterance), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


@dataclass(frozen=True)
class Worst:
    """
    One utterance in which something was heard wrong.

    Args:
        corpus (`str`): Its corpus.
        id (`str`): Unique there.
        language (`str`): ISO code.
        seconds (`float`): Length of the recording.
        edits (`int`): Words.
        words (`int`): Of the reference.
        chunks (`list[Chunk]`): The normalised texts, aligned.
        reference (`str`, *optional*): As the corpus has it, where the normaliser changed it.
        hypothesis (`str`, *optional*): As the system wrote it, where the normaliser changed it.
        faults (`list[str]`): As [`~escoita.records.evaluation.Faults`] calls them.
        player (`str`, *optional*): The recording as a data URI.
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
    def wer(self) -> float:
        """Edits over words of the reference; of an empty reference, the words that were heard."""
        return self.edits / max(1, self.words)


def worst_utterances(heard: Sequence[ScoredPredictions], limit: int) -> list[Worst]:
    """
    The utterances with the most edits, those of the higher rate first among equals; none without an edit.

    Args:
        heard (`Sequence[Heard]`): What one system heard, corpus by corpus.
        limit (`int`): Most of them.
    """
    edits, rates = (np.concatenate([getattr(part, name) for part in heard]) for name in ("edits", "wer"))
    order = np.lexsort((-rates, -edits))[: min(limit, np.count_nonzero(edits))]
    starts = np.cumsum([0, *(len(part.edits) for part in heard)])
    places = (np.searchsorted(starts, order, side="right") - 1).tolist()
    faults = {place: _faults(heard[place]) for place in set(places)}
    return [
        _worst(heard[place], int(index - starts[place]), faults[place])
        for index, place in zip(order, places, strict=True)
    ]


def with_players(
    worst: Sequence[Worst], clips: Mapping[str, Utterances], playable: Collection[str]
) -> tuple[list[Worst], list[str]]:
    """
    Puts recordings beside utterances.

    Args:
        worst (`Sequence[Worst]`): What is shown.
        clips (`Mapping[str, Utterances]`): Rows of each corpus, as far as they are at hand.
        playable (`Collection[str]`): Corpora whose licence lets clips be shipped.

    Returns:
        `tuple[list[Worst], list[str]]`: The same utterances, and a sentence for every reason why some have no player.
    """
    found = {name: dict(zip(rows.column("id"), range(len(rows)), strict=True)) for name, rows in clips.items()}
    shown: list[Worst] = []
    silent: dict[str, int] = {}
    left = TOTAL
    for utterance in worst:
        index = found.get(utterance.corpus, {}).get(utterance.id)
        uri = None
        if utterance.corpus not in playable:
            reason = f"the recipe does not say of {utterance.corpus} that its clips may be shipped (publish_audio)"
        elif index is None:
            reason = f"{utterance.corpus} was not at hand, or no longer has these rows"
        elif (uri := player(clips[utterance.corpus][index])) is None:
            reason = f"the recording cannot be read, or is over {LARGEST // 1000} kB"
        elif len(uri) > left:
            uri, reason = None, f"all together would be over {TOTAL // 1_000_000} MB"
        if uri is None:
            silent[reason] = silent.get(reason, 0) + 1
        else:
            left -= len(uri)
        shown.append(replace(utterance, player=uri))
    return shown, [f"{count} without a player, as {reason}." for reason, count in silent.items()]


def _faults(heard: ScoredPredictions) -> dict[str, np.ndarray]:
    """Of the whole corpus, by whose script and words a single utterance is judged."""
    return find_faults(*(heard.rows[name].to_pylist() for name in ("reference", "hypothesis", "truncated")))


def _worst(heard: ScoredPredictions, index: int, faults: dict[str, np.ndarray]) -> Worst:
    row = {name: column[0] for name, column in heard.rows.slice(index, 1).to_pydict().items()}
    reference, hypothesis = heard.references[index], heard.hypotheses[index]
    return Worst(
        corpus=heard.corpus,
        id=row["id"],
        language=row["language"],
        seconds=row["audio_seconds"],
        edits=int(heard.edits[index]),
        words=int(heard.words[index]),
        chunks=align(reference, hypothesis),
        reference=_unless_same(row["reference"], reference),
        hypothesis=_unless_same(row["hypothesis"], hypothesis),
        faults=[kind for kind, found in faults.items() if found[index]],
    )


def _unless_same(text: str, normalised: str) -> str | None:
    """The text where more than its spaces were changed."""
    return text if text.split() != normalised.split() else None


# Words of each list of confusions: as many as a person reads.
_MOST = 20


@dataclass(frozen=True)
class Table:
    """
    Figures in rows.

    Args:
        title (`str`): What they are.
        head (`list[str]`): Names of the columns; the first names the rows.
        rows (`list[list[str]]`): What stands in them.
    """

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Plot:
    """
    A plot of the report.

    Args:
        name (`str`): Of its file, without the ending.
        title (`str`): What it shows.
        caption (`str`): Stands below it.
        svg (`str`): An `<svg>` element.
        table ([`Table`], *optional*): Its figures, where no other table has them.
    """

    name: str
    title: str
    caption: str
    svg: str
    table: Table | None = None


@dataclass(frozen=True)
class Confused:
    """
    What went wrong most often.

    Args:
        title (`str`): In which way.
        head (`list[str]`): Names of the columns.
        rows (`list[tuple[list[str], int]]`): Words and how often, most often first.
        kinds (`int`): How many rows there would be of all.
    """

    title: str
    head: list[str]
    rows: list[tuple[list[str], int]]
    kinds: int


def plots(record: EvaluationRecord, heard: Mapping[str, Sequence[ScoredPredictions]]) -> list[Plot]:
    """
    Draws what the report and the card show.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): Gives the rates.
        heard (`Mapping[str, Sequence[Heard]]`): Of each system, corpus by corpus.
    """
    together = ", all corpora together" if len(record.corpora) > 1 else ""
    caption = "With 95 % intervals; the figures are in the table above."
    drawn = [Plot("wer-by-corpus", "WER by corpus", caption, wer_by_corpus(record))]
    if by_duration := wer_by_duration(record):
        parts = [part for part in record.rows[-1].slices if part.by == "duration"]
        title = f"WER by length of the clip{together}"
        caption = "n counts clips; where they are few, the rate is rough."
        drawn.append(Plot("wer-by-duration", title, caption, by_duration, _slices(title, parts, record)))
    rates = {name: np.concatenate([part.wer for part in parts]) for name, parts in heard.items()}
    columns = {name: shares(found) for name, found in rates.items()}
    rows = [[label, *(share(column[row]) for column in columns.values())] for row, label in enumerate(SHARES)]
    title = f"Utterances by their WER{together}"
    caption = "0: heard without an error. \N{LESS-THAN OR EQUAL TO}\N{NO-BREAK SPACE}10: up to 10 %, and so on."
    table = Table(title, ["WER, %", *columns], rows)
    return [*drawn, Plot("wer-distribution", title, caption, wer_distribution(rates), table)]


def slice_tables(record: EvaluationRecord) -> list[Table]:
    """WER by speaker, gender and accent, of each corpus that tells two or more apart; durations are plotted."""
    tables = []
    for result in record.rows:
        name = "All together" if result.unit == "corpus" else result.name
        for by, group in groupby(result.slices, key=lambda part: part.by):
            parts = list(group)
            if by != "duration" and len(parts) > 1:
                tables.append(_slices(f"{name}, by {by}", parts, record))
    return tables


def confusion_tables(counted: Confusions) -> list[Confused]:
    """The words most often heard as others, not heard, and heard without being said."""
    return [
        Confused("Heard as another", ["said", "heard", "times"], *_most(counted.substituted)),
        Confused("Not heard", ["said", "times"], *_most(counted.deleted)),
        Confused("Heard but not said", ["heard", "times"], *_most(counted.inserted)),
    ]


def _slices(title: str, parts: Sequence[Slice], record: EvaluationRecord) -> Table:
    systems = [system.name for system in record.systems]
    rows = [
        [
            part.value,
            thousands(part.n),
            thousands(part.reference_words),
            *(percent(part.wer[name]) for name in systems),
        ]
        for part in parts
    ]
    return Table(title, ["", "clips", "words", *systems], rows)


def _most(counts: Counter[tuple[str, ...]]) -> tuple[list[tuple[list[str], int]], int]:
    """Most often first, and among equals by the words, whatever corpus they came from."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(list(words), count) for words, count in ranked[:_MOST]], len(counts)
