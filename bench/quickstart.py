"""Load the clips of the quick start, and make texts with hypothesis."""

import random
from collections.abc import Sequence
from pathlib import Path

from escoita.data.readers import read_corpus
from escoita.data.rows import Utterances
from escoita.recipe.schema import Corpus


ROOT = Path(__file__).parent.parent
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def load_clips(language: str) -> Utterances:
    """
    Load the clips of a corpus, the test split before the training split.

    Args:
        language (`str`): Language code, `uz` or `gl`.
    """
    folder = ROOT / "quickstart/corpus" / language
    splits = (Corpus(name=language, path=str(folder / f"{split}.jsonl")) for split in ("test", "train"))
    return Utterances.concatenated([read_corpus(corpus, language)[0] for corpus in splits])


def with_errors(text: str, share: float, words: Sequence[str], draw: random.Random) -> str:
    """
    Add errors to a text: insertions, substitutions, changed letters and deletions, in equal shares.

    Args:
        text (`str`): Reference.
        share (`float`): Fraction of wrong words.
        words (`Sequence[str]`): Vocabulary for insertions and substitutions.
        draw (`random.Random`): Random generator.
    """
    hypothesis: list[str] = []
    for word in text.split():
        if draw.random() >= share:
            hypothesis.append(word)
            continue
        error = draw.randrange(4)
        if error == 0:
            hypothesis += [word, draw.choice(words)]
        elif error == 1:
            hypothesis.append(draw.choice(words))
        elif error == 2:
            place = draw.randrange(len(word))
            hypothesis.append(word[:place] + draw.choice(LETTERS.replace(word[place], "")) + word[place + 1 :])
    return " ".join(hypothesis)
