"""The clips of one corpus in one split, measured: what everything that is said of the data is made from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from escoita.data.clips import sift
from escoita.data.readers import read_corpus
from escoita.data.rows import Rejected, Utterances, without_speaker
from escoita.errors import CorpusError
from escoita.metrics.characters import compared_form
from escoita.recipe.schema import Corpus
from escoita.records.data import Clip, Split
from escoita.utils.files import public_name


# Of a transcript in an example.
SHOWN_CHARACTERS = 160


def shortened(text: str) -> str:
    """A transcript as an example shows it."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


@dataclass(frozen=True)
class Measured:
    """
    Usable clips of one corpus.

    Args:
        corpus (`str`): Its name.
        split (`str`): Of the recipe.
        utterances ([`Utterances`]): With their measured lengths.
        prints (`list[bytes]`): Fingerprint of each; empty where nothing can be heard.
        channels (`list[int]`, *optional*): Number of the channel that is used of each, 0 if all are mixed; all are
            mixed unless given.
    """

    corpus: str
    split: Split
    utterances: Utterances
    prints: list[bytes]
    channels: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.utterances)

    @cached_property
    def seconds(self) -> np.ndarray:
        """Length of each clip."""
        return np.fromiter(self.utterances.each("audio_seconds"), np.float64, len(self))

    @cached_property
    def transcripts(self) -> np.ndarray:
        """Keys of the transcripts: equal where the words are."""
        return self.keys("text", compared_form)

    def keys(self, column: str, form: Callable[[str], str]) -> np.ndarray:
        """For each clip an integer that is equal, in this process, where a form of a column is; 0 for an empty one."""
        return np.fromiter((hash(form(value)) for value in self.utterances.each(column)), np.int64, len(self))

    def clip(self, index: int) -> Clip:
        """One clip as an example names it."""
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
    Reads a corpus and measures its clips; of those that this machine has measured before, the cache tells.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): As the recipe says.
        split (`str`): Of the recipe.
        language (`str`): Of rows that name none, in a corpus that names none.

    Returns:
        `tuple[Measured, list[Rejected]]`: The usable clips, however long, and the rows that cannot be used.

    Raises:
        CorpusError: It cannot be read, or no clip of it can.
    """
    rows, rejected = read_corpus(corpus, language)
    title = f"Checking {corpus.name} ({split})"
    usable, measures, broken = sift(rows, title, lambda text, clip: clip.reason)
    rejected += broken
    if not usable:
        raise CorpusError(f"none of {len(rejected)} rows can be used; the first: {rejected[0]}")
    prints, channels = [each.fingerprint for each in measures], [each.channel for each in measures]
    return Measured(corpus.name, split, usable, prints, channels), rejected
