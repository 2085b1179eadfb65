"""Measure the clips of one corpus in one split; the statistics of the data are computed from these measures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from escoita.data.clips import filter_clips
from escoita.data.loading import refuse_over_share
from escoita.data.readers import read_corpus
from escoita.data.rows import Rejected, Utterances, without_speaker
from escoita.metrics.characters import compared_form
from escoita.recipe.schema import Corpus
from escoita.records.data import Clip, Split
from escoita.utils.files import public_name


# The longest transcript that an example shows complete.
SHOWN_CHARACTERS = 160


def shortened(text: str) -> str:
    """Return a transcript as an example shows it."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


@dataclass(frozen=True)
class Measured:
    """
    Store the usable clips of one corpus with their measures.

    Args:
        corpus (`str`): The name of the corpus.
        split (`str`): The split of the recipe.
        utterances ([`Utterances`]): The clips with their measured lengths.
        fingerprints (`list[bytes]`): The fingerprint of each clip; empty if it has no audible content.
        channels (`list[int]`, *optional*): The number of the channel that is used of each clip, 0 if all are mixed.
            The default is 0 for all clips.
    """

    corpus: str
    split: Split
    utterances: Utterances
    fingerprints: list[bytes]
    channels: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.utterances)

    @cached_property
    def seconds(self) -> np.ndarray:
        """Return the length of each clip, in seconds."""
        return np.fromiter(self.utterances.each("audio_seconds"), np.float64, len(self))

    @cached_property
    def transcripts(self) -> np.ndarray:
        """Return keys of the transcripts, which are equal if their words are."""
        return self.keys("text", compared_form)

    def keys(self, column: str, form: Callable[[str], str]) -> np.ndarray:
        """Return an integer for each clip, which in this process is equal if `form` of the column is; 0 if empty."""
        return np.fromiter((hash(form(value)) for value in self.utterances.each(column)), np.int64, len(self))

    def clip(self, index: int) -> Clip:
        """Return a clip as an example of the record."""
        row = self.utterances[index]
        name = public_name(row.id)
        public_id = without_speaker(name, row.speaker, "speaker")
        return Clip(
            split=self.split,
            corpus=self.corpus,
            id=name,
            text=shortened(row.text),
            public_id=public_id if public_id != name else "",
        )


def measure(corpus: Corpus, split: Split, language: str) -> tuple[Measured, list[Rejected]]:
    """
    Read a corpus and measure its clips; measures of earlier runs are taken from the cache.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus of the recipe.
        split (`str`): The split of the recipe.
        language (`str`): The language of rows that name none, in a corpus that names none.

    Returns:
        `tuple[Measured, list[Rejected]]`: The usable clips of any length, and the rows that cannot be used.

    Raises:
        CorpusError: The corpus cannot be read, or none of its clips can.
    """
    rows, rejected = read_corpus(corpus, language)
    title = f"Checking {corpus.name} ({split})"
    usable, measures, broken = filter_clips(rows, title, lambda text, clip: clip.reason)
    rejected += broken
    refuse_over_share(len(usable), rejected, max_share=1.0)
    fingerprints, channels = [each.fingerprint for each in measures], [each.channel for each in measures]
    return Measured(corpus.name, split, usable, fingerprints, channels), rejected
