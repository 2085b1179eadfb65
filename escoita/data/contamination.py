"""What is there twice: within a split, and in what the model learns from and what it is measured on."""

from collections.abc import Callable, Sequence
from typing import Literal, cast

import numpy as np

from escoita.audio.fingerprint import duplicates, matches
from escoita.data.statistics import Measured
from escoita.records.data import Clip, Duplicates, Leak, Pair, SharedBy


# From so many characters on a speaker's name is a digest, as in Common Voice, and the same in another corpus is no
# accident; `f3` or `17` is somebody else there.
CERTAIN_NAME = 16
EXAMPLES = 5
# Instead of a place: there is no twin.
NONE = -1


def find_duplicates(parts: Sequence[Measured]) -> list[Duplicates]:
    """
    Finds what one split holds more than once, in all its corpora together.

    Args:
        parts (`Sequence[Measured]`): The corpora of the split.
    """
    total = sum(map(len, parts))
    found = []
    said = _transcripts(parts)
    for by, first in (("transcript", _twins(said, said)), ("audio", _heard_before(parts))):
        again = np.flatnonzero((first != NONE) & (first < np.arange(total)))
        found.append(
            Duplicates(
                split=parts[0].split,
                by=cast(Literal["transcript", "audio"], by),
                clips=len(again),
                share=len(again) / total,
                distinct=len(np.unique(first[again])),
                examples=_pairs(parts, again, parts, first),
            )
        )
    return found


def find_leaks(held_out: Measured, seen: Sequence[Measured]) -> list[Leak]:
    """
    Finds what a corpus that is held out shares with what the model learns from.

    Args:
        held_out ([`Measured`]): A test corpus, or a validation corpus.
        seen (`Sequence[Measured]`): The corpora it must not overlap with.

    Returns:
        `list[Leak]`: By transcript, by speaker and by audio.
    """
    left, right = _speakers([held_out]), _speakers(seen)
    comparable = np.ones(len(held_out), bool)
    named = np.isin(_namespaces([held_out]), np.setdiff1d(_namespaces(seen), [0]))
    return [
        _leak("transcript", held_out, seen, _twins(_transcripts([held_out]), _transcripts(seen)), comparable),
        _leak("speaker", held_out, seen, _twins(left, right), named),
        _leak("audio", held_out, seen, _heard_twins(held_out, seen), comparable),
    ]


def _leak(by: SharedBy, held_out: Measured, seen: Sequence[Measured], twins: np.ndarray, compared: np.ndarray) -> Leak:
    shared = np.flatnonzero(twins != NONE)
    return Leak(
        corpus=held_out.corpus,
        split=cast(Literal["validation", "test"], held_out.split),
        seen=list(dict.fromkeys(part.split for part in seen)),
        by=by,
        compared=int(compared.sum()),
        clips=len(shared),
        share=len(shared) / len(held_out),
        distinct=len(np.unique(twins[shared])),
        examples=_pairs([held_out], shared, seen, twins),
    )


def _pairs(left: Sequence[Measured], indices: np.ndarray, right: Sequence[Measured], twins: np.ndarray) -> list[Pair]:
    """A few of the clips at `indices` with their twins, each twin once."""
    _, firsts = np.unique(twins[indices], return_index=True)
    chosen = indices[np.sort(firsts)[:EXAMPLES]].tolist()
    return [Pair(clip=_clip(left, index), like=_clip(right, int(twins[index]))) for index in chosen]


def _clip(parts: Sequence[Measured], index: int) -> Clip:
    """The clip at a place counted through all parts."""
    for part in parts:
        if index < len(part):
            return part.clip(index)
        index -= len(part)
    raise IndexError(index)


def _twins(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Where in `right` each key of `left` is first; 0 is no key."""
    keys, firsts = np.unique(right, return_index=True)
    places = np.minimum(np.searchsorted(keys, left), len(keys) - 1)
    return np.where((left != 0) & (keys[places] == left), firsts[places], NONE)


def _heard_twins(held_out: Measured, seen: Sequence[Measured]) -> np.ndarray:
    """Where among the clips of `seen` the recording of each clip is first."""
    firsts: dict[bytes, int] = {}
    for index, known in enumerate(known for part in seen for known in part.prints):
        firsts.setdefault(known, index)
    # Each fingerprint once, or copies of copies would make as many pairs as there are of one times of the other.
    ours = list(dict.fromkeys(held_out.prints))
    places = list(firsts.values())
    twins: dict[bytes, int] = {}
    for known_index, our_index in matches(list(firsts), ours):
        twins.setdefault(ours[our_index], places[known_index])
    return np.array([twins.get(known, NONE) for known in held_out.prints], np.int64)


def _heard_before(parts: Sequence[Measured]) -> np.ndarray:
    """Where the recording of each clip comes for the first time; nowhere unless it comes again."""
    earliest = np.full(sum(map(len, parts)), NONE)
    for first, own in duplicates([known for part in parts for known in part.prints]):
        earliest[own] = first
    return earliest


def _transcripts(parts: Sequence[Measured]) -> np.ndarray:
    return np.concatenate([part.transcripts for part in parts])


def _speakers(parts: Sequence[Measured]) -> np.ndarray:
    return _speaker_keys(parts, lambda space, name: f"{space}\0{name}")


def _namespaces(parts: Sequence[Measured]) -> np.ndarray:
    return _speaker_keys(parts, lambda space, name: space)


def _speaker_keys(parts: Sequence[Measured], form: Callable[[str, str], str]) -> np.ndarray:
    """Keys made of a name and the space in which it means one person: its corpus, or everywhere, `*`."""

    def keys(part: Measured) -> np.ndarray:
        return part.keys("speaker", lambda name: name and form(part.corpus if len(name) < CERTAIN_NAME else "*", name))

    return np.concatenate([keys(part) for part in parts])
