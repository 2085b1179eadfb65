"""The part of a corpus that a recipe asks for, where files or folders tell the parts apart."""

from collections.abc import Collection
from pathlib import Path

from escoita.errors import CorpusError
from escoita.recipe.recipe import Corpus


def asked_split(corpus: Corpus, there: Collection[str], default: str | None = None) -> str:
    """
    The split that a recipe names.

    Args:
        corpus ([`~escoita.recipe.recipe.Corpus`]): As the recipe says.
        there (`Collection[str]`): The splits of the corpus.
        default (`str`, *optional*): Where the recipe names none; it must name one unless given.

    Raises:
        CorpusError: It names none, or one that is not there; lists those that are.
    """
    split = default if corpus.split is None else corpus.split
    listed = ", ".join(sorted(there))
    if not Path(corpus.path).exists() and not there:
        raise CorpusError(f"{corpus.path}: no such file or folder")
    if not there:
        raise CorpusError(f"{corpus.path}: is not in the layout of reader {corpus.reader}: no split is found in it")
    if split is None:
        raise CorpusError(f"{corpus.path}: set the split of corpus {corpus.name!r} to one of {listed}")
    if split not in there:
        raise CorpusError(f"{corpus.path}: has no split {split!r}; it has {listed}")
    return split


def refuse_absent(corpus: Corpus, seen: Collection[str]) -> None:
    """
    Refuses a split of which a column would tell, but no row is.

    Args:
        corpus ([`~escoita.recipe.recipe.Corpus`]): As the recipe says.
        seen (`Collection[str]`): The splits of the rows, where the recipe asks for one.

    Raises:
        CorpusError: Lists the splits that are there.
    """
    if seen and corpus.split not in seen:
        asked_split(corpus, seen)
