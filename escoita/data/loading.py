"""The corpora of a split: read, checked, weighted; and each row that cannot be used is said."""

from collections.abc import Collection

import numpy as np

from escoita.data.clips import Noticed, check_clips
from escoita.data.readers import read_corpus
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from escoita.utils.processes import say


# By the name of the corpus: its usable rows, and the others.
Gathered = dict[str, tuple[Utterances, list[Rejected]]]


def gather(
    corpora: list[Corpus],
    language: str,
    max_audio_seconds: float | None,
    max_rejected_share: float,
    marks: Collection[str] = (),
) -> Gathered:
    """
    Reads and checks the corpora of one split, and says of each row that cannot be used why.

    Args:
        corpora (`list[Corpus]`): As the recipe lists them.
        language (`str`): Of corpora that name none.
        max_audio_seconds (`float`, *optional*): Longest clip that the model hears whole, in seconds; `None` for no
            limit.
        max_rejected_share (`float`): Largest fraction of a corpus' rows that may be unusable.
        marks (`Collection[str]`, *optional*): Special tokens of the model, which no transcript may hold.

    Returns:
        `dict[str, tuple[Utterances, list[Rejected]]]`: Of each corpus the usable rows with their lengths, and the
        others.

    Raises:
        CorpusError: A corpus cannot be read, too much of it cannot be used, or no clip of it has audible content.
    """
    gathered: Gathered = {}
    for corpus in corpora:
        rows, malformed = read_corpus(corpus, language)
        noticed = Noticed()
        usable, broken = check_clips(rows, max_audio_seconds, marks, f"Checking {corpus.name}", noticed)
        refuse_over_share(len(usable), malformed + broken, max_rejected_share)
        refuse_silence(noticed)
        for row in malformed + broken:
            say(f"Not used: {row}")
        for line in noticed.lines():
            say(f"{corpus.name}: {line}")
        gathered[corpus.name] = (usable, malformed + broken)
    return gathered


def weighted(gathered: Gathered, corpora: list[Corpus], seed: int) -> Utterances:
    """
    One epoch: each corpus repeated or thinned by its weight, in a draw that depends on the seed alone.

    Args:
        gathered (`Gathered`): What was read of the corpora.
        corpora (`list[Corpus]`): With their weights: 2 hears every clip twice in an epoch, 0.5 one half of the clips.
        seed (`int`): Of the draw.

    Raises:
        CorpusError: No clip is left.
    """
    draw = np.random.default_rng(seed)
    parts = []
    for corpus in corpora:
        utterances, _ = gathered[corpus.name]
        whole, part = divmod(round(corpus.weight * len(utterances)), max(1, len(utterances)))
        drawn = np.sort(draw.permutation(len(utterances))[:part])
        parts.append(utterances.take(np.concatenate([np.tile(np.arange(len(utterances)), whole), drawn])))
    epoch = Utterances.concatenated(parts)
    if not len(epoch):
        raise CorpusError("corpora.train: by their weights no clip is left to train on; raise weight")
    return epoch


def refuse_over_share(usable: int, rejected: list[Rejected], max_share: float) -> None:
    """
    Refuses a corpus of which too much cannot be used.

    Args:
        usable (`int`): Rows that can be used.
        rejected (`list[Rejected]`): Rows that cannot.
        max_share (`float`): Largest fraction of all rows that may be rejected.

    Raises:
        CorpusError: More than `max_share` is rejected, or nothing is left.
    """
    total = usable + len(rejected)
    if rejected and usable == 0:
        raise CorpusError(f"none of {total} rows can be used; the first: {rejected[0]}")
    if len(rejected) > max_share * total:
        raise CorpusError(
            f"{len(rejected)} of {total} rows cannot be used, over the {max_share:.1%} that corpora.max_rejected_share"
            f" allows; the first: {rejected[0]}"
        )


def refuse_silence(noticed: Noticed) -> None:
    """
    Refuse a corpus in which no clip has audible content.

    Args:
        noticed ([`~escoita.data.clips.Noticed`]): What was noticed of its usable clips.

    Raises:
        CorpusError: There are clips, and all are silent.
    """
    if noticed.clips and noticed.silent == noticed.clips:
        raise CorpusError(
            f"none of {noticed.clips:,} clips has audible content; check the recordings, and how they were exported;"
            f" the first: {noticed.first_silent}"
        )
