"""The utterances of which most was heard wrong, ready to be shown."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from escoita.metrics.alignment import Chunk, align
from escoita.data.rows import Utterances
from escoita.metrics.error_types import find_faults
from escoita.evaluation.report.heard import Heard
from escoita.evaluation.report.players import LARGEST, TOTAL, player


@dataclass(frozen=True)
class Worst:
    """
    One utterance in which something was heard wrong.

    Args:
        corpus (`str`): Its corpus.
        id (`str`): Unique there.
        language (`str`): ISO code.
        seconds (`float`): Length of the recording.
        edits (`int`): Words.
        words (`int`): Of the reference.
        chunks (`list[Chunk]`): The normalised texts, aligned.
        reference (`str`, *optional*): As the corpus has it, where the normaliser changed it.
        hypothesis (`str`, *optional*): As the system wrote it, where the normaliser changed it.
        faults (`list[str]`): As [`~escoita.records.evaluation.Faults`] calls them.
        player (`str`, *optional*): The recording as a data URI.
    """

    corpus: str
    id: str
    language: str
    seconds: float
    edits: int
    words: int
    chunks: list[Chunk]
    reference: str | None
    hypothesis: str | None
    faults: list[str]
    player: str | None = None

    @property
    def wer(self) -> float:
        """Edits over words of the reference; of an empty reference, the words that were heard."""
        return self.edits / max(1, self.words)


def worst_utterances(heard: Sequence[Heard], limit: int) -> list[Worst]:
    """
    The utterances with the most edits, those of the higher rate first among equals; none without an edit.

    Args:
        heard (`Sequence[Heard]`): What one system heard, corpus by corpus.
        limit (`int`): Most of them.
    """
    edits, rates = (np.concatenate([getattr(part, name) for part in heard]) for name in ("edits", "wer"))
    order = np.lexsort((-rates, -edits))[: min(limit, np.count_nonzero(edits))]
    starts = np.cumsum([0, *(len(part.edits) for part in heard)])
    places = (np.searchsorted(starts, order, side="right") - 1).tolist()
    faults = {place: _faults(heard[place]) for place in set(places)}
    return [
        _worst(heard[place], int(index - starts[place]), faults[place])
        for index, place in zip(order, places, strict=True)
    ]


def with_players(
    worst: Sequence[Worst], clips: Mapping[str, Utterances], playable: Collection[str]
) -> tuple[list[Worst], list[str]]:
    """
    Puts recordings beside utterances.

    Args:
        worst (`Sequence[Worst]`): What is shown.
        clips (`Mapping[str, Utterances]`): Rows of each corpus, as far as they are at hand.
        playable (`Collection[str]`): Corpora whose licence lets clips be shipped.

    Returns:
        `tuple[list[Worst], list[str]]`: The same utterances, and a sentence for every reason why some have no player.
    """
    found = {name: dict(zip(rows.column("id"), range(len(rows)), strict=True)) for name, rows in clips.items()}
    shown: list[Worst] = []
    silent: dict[str, int] = {}
    left = TOTAL
    for utterance in worst:
        index = found.get(utterance.corpus, {}).get(utterance.id)
        uri = None
        if utterance.corpus not in playable:
            reason = f"the recipe does not say of {utterance.corpus} that its clips may be shipped (publish_audio)"
        elif index is None:
            reason = f"{utterance.corpus} was not at hand, or no longer has these rows"
        elif (uri := player(clips[utterance.corpus][index])) is None:
            reason = f"the recording cannot be read, or is over {LARGEST // 1000} kB"
        elif len(uri) > left:
            uri, reason = None, f"all together would be over {TOTAL // 1_000_000} MB"
        if uri is None:
            silent[reason] = silent.get(reason, 0) + 1
        else:
            left -= len(uri)
        shown.append(replace(utterance, player=uri))
    return shown, [f"{count} without a player, as {reason}." for reason, count in silent.items()]


def _faults(heard: Heard) -> dict[str, np.ndarray]:
    """Of the whole corpus, by whose script and words a single utterance is judged."""
    return find_faults(*(heard.rows[name].to_pylist() for name in ("reference", "hypothesis", "truncated")))


def _worst(heard: Heard, index: int, faults: dict[str, np.ndarray]) -> Worst:
    row = {name: column[0] for name, column in heard.rows.slice(index, 1).to_pydict().items()}
    reference, hypothesis = heard.references[index], heard.hypotheses[index]
    return Worst(
        corpus=heard.corpus,
        id=row["id"],
        language=row["language"],
        seconds=row["audio_seconds"],
        edits=int(heard.edits[index]),
        words=int(heard.words[index]),
        chunks=align(reference, hypothesis),
        reference=_unless_same(row["reference"], reference),
        hypothesis=_unless_same(row["hypothesis"], hypothesis),
        faults=[kind for kind, found in faults.items() if found[index]],
    )


def _unless_same(text: str, normalised: str) -> str | None:
    """The text where more than its spaces were changed."""
    return text if text.split() != normalised.split() else None
