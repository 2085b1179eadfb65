"""Readers: one for each layout in which people have corpora; all give rows of one shape."""

from collections.abc import Callable
from typing import NamedTuple

from escoita.data.readers import audiofolder, common_voice, fleurs, hub, manifest, openslr, parquet
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus


class Reader(NamedTuple):
    """How a layout is read, and which keys of a corpus it takes of those that not every reader does."""

    read: Callable[[Corpus, str], tuple[Utterances, list[Rejected]]]
    takes: tuple[str, ...]


READERS = {
    "manifest": Reader(manifest.read, ("split", "columns")),
    "common_voice": Reader(common_voice.read, ("split", "columns")),
    "fleurs": Reader(fleurs.read, ("split", "columns", "config")),
    "openslr": Reader(openslr.read, ("split",)),
    "audiofolder": Reader(audiofolder.read, ("split", "columns")),
    "parquet": Reader(parquet.read, ("split", "columns")),
    "hub": Reader(hub.read, ("split", "columns", "config", "revision", "streaming")),
}


def read_corpus(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Reads the rows of a corpus with the reader that its recipe names; decodes nothing.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): As the recipe says.
        language (`str`): Of rows that name none, in a corpus that names none.

    Returns:
        `tuple[Utterances, list[Rejected]]`: The rows in order, and those without a recording or a text.

    Raises:
        CorpusError: It is not there, is not in the layout of its reader, has no rows, or its recipe names a key that
            the reader does not take.
    """
    reader = READERS[corpus.reader]
    for key in sorted({key for each in READERS.values() for key in each.takes} - set(reader.takes)):
        if getattr(corpus, key) != Corpus.model_fields[key].default:
            takes = ", ".join(name for name, each in READERS.items() if key in each.takes)
            raise CorpusError(
                f"corpus {corpus.name!r}: reader {corpus.reader} takes no {key}; leave it out (those that do: {takes})"
            )
    utterances, rejected = reader.read(corpus, corpus.language or language)
    if not utterances and not rejected:
        raise CorpusError(f"{corpus.path}: has no rows" + (f" of split {corpus.split!r}" if corpus.split else ""))
    return utterances.with_unique_ids(), rejected
