"""What a card says of clips that test and training have in common."""

from collections.abc import Mapping
from dataclasses import dataclass

from escoita.records.data import DataRecord, Pair
from escoita.utils.figures import percent, thousands


SAME = {"transcript": "words", "speaker": "speaker", "audio": "recording"}


@dataclass(frozen=True)
class Overlap:
    """
    What one test corpus shares in one way.

    Args:
        title (`str`): Of the corpus.
        same (`str`): Words, speaker or recording.
        clips (`str`): How many of its clips, and their share; or that it cannot be known.
        distinct (`str`): How many different words, speakers or recordings that is.
        example (`str`): One of the clips, and the one that it shares something with.
    """

    title: str
    same: str
    clips: str
    distinct: str
    example: str


def overlaps(data: DataRecord, titles: Mapping[str, str]) -> list[Overlap]:
    """
    What the test corpora share with what the model learns from.

    Args:
        data ([`~escoita.records.data.DataRecord`]): Of the same recipe.
        titles (`Mapping[str, str]`): What the card calls the test corpora; of others nothing is said.
    """
    return [
        Overlap(
            title=titles[leak.corpus],
            same=SAME[leak.by],
            clips=f"{thousands(leak.clips)} ({percent(leak.share)})" if leak.compared else "not known",
            distinct=thousands(leak.distinct) if leak.compared else "–",
            example=_example(leak.examples[0]) if leak.examples else "–",
        )
        for leak in data.leaks
        if leak.split == "test" and leak.corpus in titles
    ]


def _example(pair: Pair) -> str:
    return f"“{pair.clip.text}” ({pair.clip.id}; in {pair.like.split} {pair.like.id})"
