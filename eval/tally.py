"""Edits of a corpus by utterance, their sums, and the sums over corpora drawn anew, from which all rates are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from escoita.scoring import character_edits, word_edits
from escoita.text import normalizer, word_changes
from eval.bootstrap import PairedDifference, difference, rates, resampled, resampling_unit, seed_of, smallest_p_value
from eval.faults import find_faults
from eval.folder import CorpusPredictions


Form = Literal["normalized", "raw"]
Tokens = Literal["words", "characters"]
# (form, tokens) of the lengths of references, (form, tokens, system) of edits, (form, kind, system) of their kinds.
Key = tuple[str, ...]
KINDS = ("substitutions", "deletions", "insertions")


@dataclass(frozen=True)
class Counts:
    """
    What is counted in one corpus.

    Args:
        columns (`dict[tuple, np.ndarray]`): For each key the counts, of shape `(utterances,)`.
        unit (`str`): What the bootstrap is to draw, `speaker` or `utterance`.
        units (`int`): How many there are.
        speakers (`list[str]`): Of each utterance.
        merged (`int`): References of which the normaliser makes fewer words, or none.
        split (`int`): References of which it makes more.
        faults (`dict[str, dict[str, int]]`): Of each system, how many utterances have which.
    """

    columns: dict[Key, np.ndarray]
    unit: Literal["utterance", "speaker"]
    units: int
    speakers: list[str]
    merged: int
    split: int
    faults: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Tally:
    """
    Sums over one corpus, or over several that are drawn each by itself.

    Args:
        units (`int`): Speakers or utterances that were drawn.
        observed (`dict[tuple, int]`): The sums.
        drawn (`dict[tuple, np.ndarray]`): The same of corpora drawn anew, of shape `(resamples,)`, all of one draw;
            not of the kinds of edits.
    """

    units: int
    observed: dict[Key, int]
    drawn: dict[Key, np.ndarray]

    def __add__(self, other: "Tally") -> "Tally":
        observed = {key: total + other.observed[key] for key, total in self.observed.items()}
        return Tally(
            self.units + other.units, observed, {key: self.drawn[key] + other.drawn[key] for key in self.drawn}
        )

    def rate(self, form: Form, tokens: Tokens, system: str) -> tuple[float, np.ndarray]:
        """The rate of a system, and its rates on the corpora drawn anew; of shape `(resamples,)`."""
        edits, reference = (form, tokens, system), (form, tokens)
        observed = self.observed[edits] / max(1, self.observed[reference])
        return observed, rates(self.drawn[edits], self.drawn[reference])

    def difference(self, form: Form, system: str, other: str) -> PairedDifference:
        """
        Word error rate of one system minus that of another.

        No p-value is below [`smallest_p_value`], and of too few pairs nothing can be said.
        """
        (observed, drawn), (other_observed, other_drawn) = (self.rate(form, "words", name) for name in (system, other))
        return difference(observed, other_observed, drawn, other_drawn, smallest_p_value(self.units))


def forms_of(normalizer_name: str) -> tuple[Form, ...]:
    """The forms of the texts that differ: of texts as they are, there is one."""
    return ("raw",) if normalizer_name == "raw" else ("normalized", "raw")


def count(corpus: CorpusPredictions, normalizer_name: str) -> Counts:
    """
    Counts the edits and faults of all systems in one corpus.

    Args:
        corpus ([`~eval.folder.CorpusPredictions`]): References and what was heard.
        normalizer_name (`str`): Of the form `normalized`; the texts as they are, `raw`, are counted too.
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
    speakers = corpus.clips["speaker"].to_pylist()
    changes = word_changes(said["raw"], said.get("normalized", said["raw"]))
    faults = {
        system: {
            kind: int(found.sum())
            for kind, found in find_faults(
                said["raw"], table["hypothesis"].to_pylist(), table["truncated"].to_pylist()
            ).items()
        }
        for system, table in corpus.tables.items()
    }
    merged = changes.merged + changes.emptied
    return Counts(columns, *resampling_unit(speakers), speakers, merged, changes.split, faults)


def tally(name: str, counts: Counts, resamples: int) -> Tally:
    """
    Sums the counts of a corpus, and draws it anew.

    Args:
        name (`str`): The corpus, which has a stream of draws of its own.
        counts ([`Counts`]): Of its utterances.
        resamples (`int`): How often it is drawn.
    """
    observed = {key: int(column.sum()) for key, column in counts.columns.items()}
    keys = [key for key in counts.columns if key[1] not in KINDS]
    if not counts.units:
        return Tally(0, observed, dict.fromkeys(keys, np.zeros(resamples)))
    matrix = np.stack([counts.columns[key] for key in keys], axis=1)
    groups = counts.speakers if counts.unit == "speaker" else None
    sums = resampled(matrix, resamples, groups, seed_of(name))
    return Tally(counts.units, observed, dict(zip(keys, sums.T, strict=True)))


def pooled(tallies: Sequence[Tally]) -> Tally:
    """All corpora together, each drawn by itself (stratified)."""
    return reduce(lambda left, right: left + right, tallies)
