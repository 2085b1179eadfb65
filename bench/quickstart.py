"""The clips of the quick start, and texts made from its sentences by a fixed seed."""

import random
from collections.abc import Sequence
from pathlib import Path

from escoita.data.readers import read_corpus
from escoita.data.rows import Utterances
from escoita.recipe.schema import Corpus


ROOT = Path(__file__).parent.parent
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def clips_of(language: str) -> Utterances:
    """
    The clips of one corpus, those to test on before those to train on.

    Args:
        language (`str`): `uz` or `gl`.
    """
    folder = ROOT / "quickstart/corpus" / language
    splits = (Corpus(name=language, path=str(folder / f"{split}.jsonl")) for split in ("test", "train"))
    return Utterances.concatenated([read_corpus(corpus, language)[0] for corpus in splits])


def misheard(text: str, share: float, words: Sequence[str], draw: random.Random) -> str:
    """
    A text with errors: words put in, taken for another, with one letter wrong, and left out, as many of each.

    Args:
        text (`str`): What was said.
        share (`float`): Fraction of its words that go wrong.
        words (`Sequence[str]`): What may be heard instead.
        draw (`random.Random`): Decides.
    """
    heard: list[str] = []
    for word in text.split():
        if draw.random() >= share:
            heard.append(word)
            continue
        error = draw.randrange(4)
        if error == 0:
            heard += [word, draw.choice(words)]
        elif error == 1:
            heard.append(draw.choice(words))
        elif error == 2:
            place = draw.randrange(len(word))
            heard.append(word[:place] + draw.choice(LETTERS.replace(word[place], "")) + word[place + 1 :])
    return " ".join(heard)
