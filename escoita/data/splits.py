"""Divide clips into train, validation and test, so that training shares no speaker and no sentence with the test."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from escoita.errors import CorpusError
from escoita.metrics.characters import compared_form
from escoita.records.data import Split


SEED = 3407
# The shares of the test and of validation, and the most clips of validation that a training needs.
TEST_SHARE, VALIDATION_SHARE, MOST_VALIDATION = 0.1, 0.1, 500
# Speakers who would take more than this share of all clips out of training are not held out.
MOST_OF_SPEAKERS = 0.5
# The largest share of the other speakers' clips that is not used because the test has their sentences.
MOST_UNUSED = 0.25


class SplitError(CorpusError):
    """Report clips that cannot be divided."""


@dataclass(frozen=True)
class Splits:
    """
    Store the division of clips.

    Args:
        names (`list[str | None]`): The split of each clip; `None` for a clip that is not used, because it would share
            a sentence between splits.
        by (`str`): `speaker` if test and training share no speaker, `clip` if they may.
    """

    names: list[Split | None]
    by: Literal["speaker", "clip"]

    def count(self, split: Split | None) -> int:
        """Return the number of clips of a split, or of unused ones."""
        return self.names.count(split)


def divide(texts: Sequence[str], speakers: Sequence[str], seed: int = SEED) -> Splits:
    """
    Divide clips into train, validation and test.

    Test and training, and validation and training, share no sentence; sentences are equal if their letters and digits
    are. With two speakers or more, they share no speaker either: whole speakers are held out, as many as give about a
    tenth of the clips, and clips without a speaker stay in training. If speakers of both sides read a sentence, it
    stays on the side that needs it, and the other clips of it are not used. With fewer speakers, sentences are held
    out.

    Args:
        texts (`Sequence[str]`): The transcripts.
        speakers (`Sequence[str]`): The speaker of each clip; empty if unknown.
        seed (`int`, *optional*): The seed. Equal clips in equal order give equal splits.

    Returns:
        [`Splits`]: The split of each clip.

    Raises:
        SplitError: There are fewer than two different sentences.
    """
    sentences = [compared_form(text) for text in texts]
    if len(set(sentences)) < 2:
        raise SplitError("all clips have the same transcript, so that none can be held out for the test")
    names: list[Split | None] = [None] * len(texts)
    random = np.random.default_rng(seed)
    clips, wanted = list(range(len(texts))), TEST_SHARE * len(texts)
    found = _hold_out_speakers(clips, sentences, speakers, wanted, MOST_UNUSED, random)
    test, rest = found or _hold_out_sentences(clips, sentences, wanted, random)
    for index in test:
        names[index] = "test"
    _divide_training(names, rest, sentences, speakers, random)
    return Splits(names, "speaker" if found else "clip")


def divide_training(texts: Sequence[str], speakers: Sequence[str], seed: int = SEED) -> list[Split | None]:
    """
    Return the split of each clip of training data that comes with a test but without validation data.

    Args:
        texts (`Sequence[str]`): The transcripts of the training data.
        speakers (`Sequence[str]`): The speaker of each clip; empty if unknown.
        seed (`int`, *optional*): The seed.
    """
    names: list[Split | None] = [None] * len(texts)
    sentences, random = [compared_form(text) for text in texts], np.random.default_rng(seed)
    _divide_training(names, list(range(len(texts))), sentences, speakers, random)
    return names


def _divide_training(
    names: list[Split | None],
    clips: list[int],
    sentences: Sequence[str],
    speakers: Sequence[str],
    random: np.random.Generator,
) -> None:
    """Write the splits of clips that are not in the test."""
    wanted = min(MOST_VALIDATION, VALIDATION_SHARE * len(names))
    # Only the test needs other speakers: those who read the sentences of others, or most clips, stay in training.
    found = _hold_out_speakers(clips, sentences, speakers, wanted, 0.0, random)
    if found and (sum(map(len, found)) < (1 - VALIDATION_SHARE) * len(clips) or len(found[0]) > 1.5 * wanted):
        found = None
    validation, train = found or _hold_out_sentences(clips, sentences, wanted, random)
    for index in validation:
        names[index] = "validation"
    for index in train:
        names[index] = "train"


def _hold_out_speakers(
    clips: list[int],
    sentences: Sequence[str],
    speakers: Sequence[str],
    wanted: float,
    unused: float,
    random: np.random.Generator,
) -> tuple[list[int], list[int]] | None:
    """Return the clips of held-out speakers and those of the others, without a common sentence, if it is possible."""
    named = [speaker for index in clips if (speaker := speakers[index])]
    best: tuple[list[int], list[int]] | None = None
    for factor in (1, 2, 3):  # more speakers, if they share their sentences with the others
        chosen = _chosen(named, factor * wanted, random)
        inside = [index for index in clips if speakers[index] in chosen]
        outside = [index for index in clips if speakers[index] not in chosen]
        if not chosen or len(inside) > MOST_OF_SPEAKERS * len(clips):
            break
        held = _sentences_of(inside, outside, sentences, wanted, unused * len(outside), random)
        found = [index for index in inside if sentences[index] in held]
        rest = [index for index in outside if sentences[index] not in held]
        if found and rest and (best is None or len(found) > len(best[0])):
            best = found, rest
        if best and len(best[0]) >= wanted / 2:
            break
    return best


def _hold_out_sentences(
    clips: list[int], sentences: Sequence[str], wanted: float, random: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Return the clips of held-out sentences, and those of the others."""
    held = _chosen([sentences[index] for index in clips], wanted, random)
    inside = [index for index in clips if sentences[index] in held]
    return inside, [index for index in clips if sentences[index] not in held]


def _chosen(names: list[str], wanted: float, random: np.random.Generator) -> set[str]:
    """Return speakers or sentences with about the wanted number of clips, or the rarest; none if there is only one."""
    sizes = Counter(names)
    if len(sizes) < 2:
        return set()
    order = sorted(sizes)
    random.shuffle(order)
    chosen: set[str] = set()
    total = 0
    for name in order:
        if total < wanted and total + sizes[name] <= 1.5 * wanted:
            chosen.add(name)
            total += sizes[name]
    return chosen or {min(order, key=sizes.__getitem__)}


def _sentences_of(
    inside: list[int],
    outside: list[int],
    sentences: Sequence[str],
    wanted: float,
    unused: float,
    random: np.random.Generator,
) -> set[str]:
    """Return the sentences of held-out speakers that stay with them: those that nobody else has, and some others."""
    own, others = (Counter(sentences[index] for index in side) for side in (inside, outside))
    held = set(own.keys() - others.keys())
    size = sum(own[sentence] for sentence in held)
    shared = sorted(own.keys() & others.keys())
    random.shuffle(shared)
    # First those that cost training fewest clips for a clip of the test.
    for sentence in sorted(shared, key=lambda sentence: others[sentence] / own[sentence]):
        if size < wanted and (not held or others[sentence] <= unused):
            held.add(sentence)
            size += own[sentence]
            unused -= others[sentence]
    return held
