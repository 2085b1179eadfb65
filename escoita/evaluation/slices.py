"""Word error rates of parts of a corpus: by duration, and by speaker, gender and accent where they are known."""

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa

from escoita.records.evaluation import Slice


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
