"""Find duplicates within a split, and the overlap of training with held-out data."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, cast

import numpy as np

from escoita.audio.fingerprint import CONFIRMED_SECONDS, LEAST_CORRELATION, correlation, duplicates, matches
from escoita.data.clips import read_clip
from escoita.data.rows import Utterance
from escoita.data.statistics import Measured
from escoita.errors import AudioError
from escoita.records.data import Clip, Duplicates, Leak, Pair, SharedBy


# A speaker name of at least this many characters is a digest, as in Common Voice, and means the same person in every
# corpus; a name such as `f3` or `17` means another person in another corpus.
CERTAIN_NAME = 16
EXAMPLES = 5
# The index of a clip without a match.
NONE = -1


def find_duplicates(parts: Sequence[Measured]) -> list[Duplicates]:
    """
    Find the transcripts and recordings that occur more than once in a split, over all its corpora.

    Args:
        parts (`Sequence[Measured]`): The corpora of the split.
    """
    total = sum(map(len, parts))
    found = []
    transcripts = _transcripts(parts)
    for by, first in (("transcript", _matches(transcripts, transcripts)), ("audio", _audio_duplicates(parts))):
        repeated = np.flatnonzero((first != NONE) & (first < np.arange(total)))
        found.append(
            Duplicates(
                split=parts[0].split,
                by=cast(Literal["transcript", "audio"], by),
                clips=len(repeated),
                share=len(repeated) / total,
                distinct=len(np.unique(first[repeated])),
                examples=_pairs(parts, repeated, parts, first),
            )
        )
    return found


def find_leaks(held_out: Measured, seen: Sequence[Measured]) -> list[Leak]:
    """
    Find the overlap of a held-out corpus with the corpora that the model is trained or selected on.

    Args:
        held_out ([`Measured`]): A test corpus, or a validation corpus.
        seen (`Sequence[Measured]`): The corpora that it must not overlap with.

    Returns:
        `list[Leak]`: The overlap by transcript, by speaker and by audio.
    """
    left, right = _speakers([held_out]), _speakers(seen)
    comparable = np.ones(len(held_out), bool)
    named = np.isin(_namespaces([held_out]), np.setdiff1d(_namespaces(seen), [0]))
    return [
        _leak("transcript", held_out, seen, _matches(_transcripts([held_out]), _transcripts(seen)), comparable),
        _leak("speaker", held_out, seen, _matches(left, right), named),
        _leak("audio", held_out, seen, _audio_matches(held_out, seen), comparable),
    ]


def _leak(by: SharedBy, held_out: Measured, seen: Sequence[Measured], first: np.ndarray, compared: np.ndarray) -> Leak:
    shared = np.flatnonzero(first != NONE)
    return Leak(
        corpus=held_out.corpus,
        split=cast(Literal["validation", "test"], held_out.split),
        seen=list(dict.fromkeys(part.split for part in seen)),
        by=by,
        compared=int(compared.sum()),
        clips=len(shared),
        share=len(shared) / len(held_out),
        distinct=len(np.unique(first[shared])),
        examples=_pairs([held_out], shared, seen, first),
    )


def _pairs(left: Sequence[Measured], indices: np.ndarray, right: Sequence[Measured], first: np.ndarray) -> list[Pair]:
    """Return some of the clips at `indices` with their matches, each match once."""
    _, positions = np.unique(first[indices], return_index=True)
    chosen = indices[np.sort(positions)[:EXAMPLES]].tolist()
    return [Pair(clip=_clip(left, index), like=_clip(right, int(first[index]))) for index in chosen]


def _clip(parts: Sequence[Measured], index: int) -> Clip:
    """Return the clip at an index that is counted over all corpora."""
    for part in parts:
        if index < len(part):
            return part.clip(index)
        index -= len(part)
    raise IndexError(index)


def _matches(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return, for each key of `left`, the index of the first equal key of `right`; the key 0 matches no key."""
    keys, firsts = np.unique(right, return_index=True)
    positions = np.minimum(np.searchsorted(keys, left), len(keys) - 1)
    return np.where((left != 0) & (keys[positions] == left), firsts[positions], NONE)


def _audio_matches(held_out: Measured, seen: Sequence[Measured]) -> np.ndarray:
    """Return for each clip the index of the first clip of `seen` with the same recording."""
    firsts: dict[bytes, int] = {}
    for index, fingerprint in enumerate(fingerprint for part in seen for fingerprint in part.fingerprints):
        firsts.setdefault(fingerprint, index)
    # Each fingerprint once: n copies on one side and m on the other would make n * m pairs.
    distinct = list(dict.fromkeys(held_out.fingerprints))
    positions = list(firsts.values())
    matched: dict[bytes, int] = {}
    own_positions = {fingerprint: index for index, fingerprint in reversed([*enumerate(held_out.fingerprints)])}
    for seen_index, own_index in matches(list(firsts), distinct):
        own, other = distinct[own_index], positions[seen_index]
        if own not in matched and (
            own in firsts or _are_copies(_row([held_out], own_positions[own]), _row(seen, other))
        ):
            matched[own] = firsts.get(own, other)
    return np.array([matched.get(fingerprint, NONE) for fingerprint in held_out.fingerprints], np.int64)


def _audio_duplicates(parts: Sequence[Measured]) -> np.ndarray:
    """Return for each clip the index of the first clip with the same recording, if there are several."""
    earliest = np.full(sum(map(len, parts)), NONE)
    prints = [fingerprint for part in parts for fingerprint in part.fingerprints]

    @cache
    def confirm(one: int, other: int) -> bool:
        return _are_copies(_row(parts, one), _row(parts, other))

    for first, own in duplicates(prints, confirm=confirm):
        earliest[own] = first
    return earliest


def _row(parts: Sequence[Measured], index: int) -> Utterance:
    """Return the row at an index that is counted over all corpora."""
    for part in parts:
        if index < len(part):
            return part.utterances[index]
        index -= len(part)
    raise IndexError(index)


def _are_copies(one: Utterance, other: Utterance) -> bool:
    """Return whether two rows with close fingerprints are one recording; short ones are compared sample by sample."""
    if min(one.audio_seconds, other.audio_seconds) >= CONFIRMED_SECONDS:
        return True
    try:
        return correlation(read_clip(one), read_clip(other)) >= LEAST_CORRELATION
    except AudioError:  # removed since it was measured: the fingerprints decide
        return True


def _transcripts(parts: Sequence[Measured]) -> np.ndarray:
    return np.concatenate([part.transcripts for part in parts])


def _speakers(parts: Sequence[Measured]) -> np.ndarray:
    return _speaker_keys(parts, lambda space, name: f"{space}\0{name}")


def _namespaces(parts: Sequence[Measured]) -> np.ndarray:
    return _speaker_keys(parts, lambda space, name: space)


def _speaker_keys(parts: Sequence[Measured], form: Callable[[str, str], str]) -> np.ndarray:
    """Return keys of a speaker name and the namespace in which it means one person: a corpus, or `*` for all."""

    def keys(part: Measured) -> np.ndarray:
        return part.keys("speaker", lambda name: name and form(part.corpus if len(name) < CERTAIN_NAME else "*", name))

    return np.concatenate([keys(part) for part in parts])
