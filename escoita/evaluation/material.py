"""What every candidate hears: the clips of a corpus, or the probes in which nothing is said."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from escoita.audio.loading import seconds
from escoita.data.clips import read_clip
from escoita.data.loading import gather
from escoita.data.rows import Utterance, Utterances
from escoita.records.evaluation import PROBES
from escoita.recipe.recipe import Corpus
from escoita.evaluation.probes import probes


@dataclass(frozen=True)
class Material:
    """
    Clips that every candidate hears.

    Args:
        clips ([`~escoita.data.rows.Utterances`]): What is said, and how long it is.
        load (`Callable[[int], np.ndarray]`): Gives the samples of a clip.
        rejected (`int`, *optional*, defaults to 0): Rows of the corpus that could not be used.
    """

    clips: Utterances
    load: Callable[[int], np.ndarray]
    rejected: int = 0


def corpus_test(corpus: Corpus, language: str, max_rejected_share: float) -> Material:
    """
    Reads and checks a corpus. Recordings that are longer than a model hears at once are cut for it where it is quiet.

    Args:
        corpus ([`~escoita.recipe.recipe.Corpus`]): As the recipe says.
        language (`str`): Of clips that name none.
        max_rejected_share (`float`): Largest fraction of its rows that may be unusable.

    Raises:
        CorpusError: It cannot be read, or too much of it cannot be used.
    """
    ((clips, rejected),) = gather([corpus], language, None, max_rejected_share).values()
    return Material(clips, lambda index: read_clip(clips[index]), len(rejected))


def probe_test(language: str) -> Material:
    """Silence, noise and hum; see `escoita/evaluation/probes.py`."""
    found = probes()
    rows = [
        Utterance(probe.name, probe.name, "", PROBES, language, PROBES, row, audio_seconds=seconds(probe.samples))
        for row, probe in enumerate(found, start=1)
    ]
    return Material(Utterances.of(rows), lambda index: found[index].samples)
