"""Read corpora: one reader for each layout; all return rows of one schema."""

from collections.abc import Callable
from typing import NamedTuple

from escoita.data.readers import audiofolder, common_voice, datacollective, fleurs, hub, manifest, openslr, parquet
from escoita.data.readers.fleurs_download import find_language
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus


class Reader(NamedTuple):
    """Store the function that reads a layout, and the optional keys of a corpus that it supports."""

    read: Callable[[Corpus, str], tuple[Utterances, list[Rejected]]]
    keys: tuple[str, ...]


READERS = {
    "manifest": Reader(manifest.read, ("split", "columns", "audio_root")),
    "common_voice": Reader(common_voice.read, ("split", "columns")),
    "datacollective": Reader(datacollective.read, ("split", "columns", "config")),
    "fleurs": Reader(fleurs.read, ("split", "columns", "config", "revision")),
    "openslr": Reader(openslr.read, ("split",)),
    "audiofolder": Reader(audiofolder.read, ("split", "columns")),
    "parquet": Reader(parquet.read, ("split", "columns")),
    "hub": Reader(hub.read, ("split", "columns", "config", "revision", "streaming")),
}


def pinned(corpus: Corpus, language: str) -> Corpus:
    """
    Return a corpus with the commit of the data set that its reader would download, so that a run can name it.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus; a file or folder, or a data set whose recipe names the
            revision, is returned unchanged.
        language (`str`): The language of the recipe.

    Raises:
        EscoitaError: The data set has no such configuration, or the Hub cannot be reached.
    """
    if corpus.reader != "fleurs" or not corpus.remote or corpus.revision:
        return corpus
    return corpus.model_copy(update={"revision": find_language(corpus, corpus.language or language).commit})


def read_corpus(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read the rows of a corpus with the reader that its recipe names; nothing is decoded.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus of the recipe.
        language (`str`): The language of rows that name none, in a corpus that names none.

    Returns:
        `tuple[Utterances, list[Rejected]]`: The rows in order, and those without a recording or a transcript.

    Raises:
        CorpusError: The corpus is not found, is not in the layout of its reader, has no rows, or its recipe sets a key
            that the reader does not support.
    """
    reader = READERS[corpus.reader]
    for key in sorted({key for each in READERS.values() for key in each.keys} - set(reader.keys)):
        value = getattr(corpus, key)
        if value != Corpus.model_fields[key].default:
            readers = ", ".join(name for name, each in READERS.items() if key in each.keys)
            raise CorpusError(
                f"not supported by reader {corpus.reader} of corpus {corpus.name!r}",
                key=key,
                value=value,
                hint=f"remove it, or use one of the readers {readers}",
            )
    utterances, rejected = reader.read(corpus, corpus.language or language)
    if not utterances and not rejected:
        raise CorpusError("no rows found", path=corpus.path, key="split" if corpus.split else None, value=corpus.split)
    return utterances.with_unique_ids(), rejected
