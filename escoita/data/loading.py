"""Read, check and weight the corpora of a split, and report each row that cannot be used."""

from collections.abc import Callable, Collection, Iterator

import numpy as np

from escoita.data.clips import ClipWarnings, check_clips
from escoita.data.readers import read_corpus
from escoita.data.rows import Rejected, Utterances, rejected_by_reason
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from escoita.utils.processes import say


# The number of rows that are named for each reason.
EXAMPLES = 3
# The usable and the rejected rows by the name of their corpus.
Gathered = dict[str, tuple[Utterances, list[Rejected]]]


class RejectedRowsError(CorpusError):
    """
    Report a corpus of which too many rows cannot be used.

    Args:
        rejected (`int`): The number of rows that cannot be used.
        total (`int`): The number of all rows.
        max_share (`float`): The largest fraction of rows that may be rejected.
        first ([`Rejected`]): The first row that cannot be used.
    """

    problem = (
        "{rejected:,} of {total:,} rows cannot be used, more than the {max_share:.1%} of corpora.max_rejected_share;"
        " the first: {first}"
    )
    rejected: int
    total: int
    max_share: float
    first: Rejected


class SilentCorpusError(CorpusError):
    """
    Report a corpus of which no clip has audible content.

    Args:
        clips (`int`): The number of clips.
        first (`str`): The first clip, with source and row.
    """

    problem = "none of {clips:,} clips has audible content; the first: {first}"
    hint = "check the recordings, and how they were exported"
    clips: int
    first: str


def gather(
    corpora: list[Corpus],
    language: str,
    max_audio_seconds: float | None,
    max_rejected_share: float,
    special_tokens: Collection[str] = (),
    row_problem: Callable[[str, float], str] | None = None,
) -> Gathered:
    """
    Read and check the corpora of one split, and print the reason for each row that cannot be used.

    Args:
        corpora (`list[Corpus]`): The corpora as the recipe lists them.
        language (`str`): The language of corpora that name none.
        max_audio_seconds (`float`, *optional*): The longest clip that the model takes, in seconds; `None`: no limit.
        max_rejected_share (`float`): The largest fraction of the rows of a corpus that may be rejected.
        special_tokens (`Collection[str]`, *optional*): Special tokens of the model, which no transcript may contain.
        row_problem (`Callable[[str, float], str]`, *optional*): See [`~escoita.data.clips.check_clips`].

    Returns:
        `dict[str, tuple[Utterances, list[Rejected]]]`: The usable rows of each corpus with their lengths, and the
        others.

    Raises:
        CorpusError: A corpus cannot be read, too many of its rows are rejected, or no clip of it has audible content.
    """
    gathered: Gathered = {}
    for corpus in corpora:
        rows, malformed = read_corpus(corpus, language)
        noticed = ClipWarnings()
        title = f"Checking {corpus.name}"
        usable, broken = check_clips(rows, max_audio_seconds, special_tokens, title, noticed, row_problem)
        refuse_over_share(len(usable), malformed + broken, max_rejected_share)
        refuse_silence(noticed)
        for line in rejected_lines(malformed + broken):
            say(line)
        for line in noticed.lines():
            say(f"{corpus.name}: {line}")
        gathered[corpus.name] = (usable, malformed + broken)
    return gathered


def rejected_lines(rejected: list[Rejected]) -> Iterator[str]:
    """Yield lines with the reasons of rejected rows, the most frequent first, each with its count and examples."""
    for rows in rejected_by_reason(rejected):
        if len(rows) <= EXAMPLES:
            yield from (f"Not used: {row}" for row in rows)
        else:
            yield f"Not used: {len(rows):,} rows: {rows[0].reason}"
            yield from (f"  {row}" for row in rows[:EXAMPLES])


def weighted(gathered: Gathered, corpora: list[Corpus], seed: int) -> Utterances:
    """
    Return the rows of one epoch: each corpus repeated or sampled by its weight; the sample depends on the seed only.

    Args:
        gathered (`Gathered`): The rows of the corpora.
        corpora (`list[Corpus]`): The corpora with their weights; with 2, every clip occurs twice in an epoch, with
            0.5, half of the clips occur.
        seed (`int`): The seed of the sample.

    Raises:
        CorpusError: No clip is left.
    """
    draw = np.random.default_rng(seed)
    parts = []
    for corpus in corpora:
        utterances, _ = gathered[corpus.name]
        repeats, rest = divmod(round(corpus.weight * len(utterances)), max(1, len(utterances)))
        sample = np.sort(draw.permutation(len(utterances))[:rest])
        parts.append(utterances.take(np.concatenate([np.tile(np.arange(len(utterances)), repeats), sample])))
    epoch = Utterances.concatenated(parts)
    if not len(epoch):
        raise CorpusError("no clip is left to train on with these weights", key="corpora.train", hint="raise weight")
    return epoch


def refuse_over_share(usable: int, rejected: list[Rejected], max_share: float) -> None:
    """
    Refuse a corpus of which too many rows cannot be used.

    Args:
        usable (`int`): The number of usable rows.
        rejected (`list[Rejected]`): The other rows.
        max_share (`float`): The largest fraction of all rows that may be rejected.

    Raises:
        RejectedRowsError: More rows than `max_share` allows are rejected, or all of them are.
    """
    total = usable + len(rejected)
    none_left = f"none of {total:,} rows can be used; the first: {rejected[0]}" if rejected and not usable else None
    if none_left or len(rejected) > max_share * total:
        raise RejectedRowsError(none_left, rejected=len(rejected), total=total, max_share=max_share, first=rejected[0])


def refuse_silence(noticed: ClipWarnings) -> None:
    """
    Refuse a corpus in which no clip has audible content.

    Args:
        noticed ([`~escoita.data.clips.ClipWarnings`]): The problems of its usable clips.

    Raises:
        SilentCorpusError: There are clips, and all are silent.
    """
    if noticed.clips and noticed.silent == noticed.clips:
        raise SilentCorpusError(clips=noticed.clips, first=noticed.first_silent)
