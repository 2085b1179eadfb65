"""Read datasets of the Hub with `datasets`, which runs no code of them and decodes no recording."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from escoita.data.readers.base import Origin, SelectionError, requested_split
from escoita.data.readers.recordings import Piece, collect_pieces, find_table_columns, split_recordings, with_labels
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from escoita.utils.processes import console


# Rows that are streamed together.
_AT_ONCE = 64
# The errors that `datasets` raises or does not catch.
_FAILURES = (OSError, ValueError, RuntimeError, ImportError, pa.ArrowException)


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read one split of a dataset: a repository of the Hub, or a folder in the same layout.

        - name: voices
          reader: hub
          path: acme/galician-voices
          config: gl
          split: test
          revision: 1f0c2a9

    `datasets` downloads it once into `$HF_DATASETS_CACHE`, from where the recordings are mapped. With `streaming`,
    nothing is cached: the recordings are held in memory, and `limit` is their number. The token is that of
    `hf auth login` or of `HF_TOKEN`.

    A dataset of separate audio files requires FFmpeg and torchcodec; the error describes how to download it and read
    it as an audio folder instead.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus with the `split`.
        language (`str`): The language of rows that name none.

    Raises:
        CorpusError: The dataset, configuration or split is not found, the dataset is gated, there is no network, or a
            column is not found.
    """
    if corpus.streaming and corpus.limit is None:
        raise CorpusError(
            f"required for corpus {corpus.name!r}: with streaming, the recordings are held in memory",
            path=corpus.path,
            key="limit",
        )
    import datasets.exceptions

    try:
        return collect_pieces(_pieces(corpus, language), limit=corpus.limit)
    except (*_FAILURES, datasets.exceptions.DatasetsError) as error:
        cause: BaseException = error
        # Its own message contains only that generating the dataset failed.
        while isinstance(cause, datasets.exceptions.DatasetGenerationError) and cause.__cause__:
            cause = cause.__cause__
        reason = " ".join(str(cause).split())
        hint = None
        if isinstance(cause, ImportError) and "torchcodec" in reason:
            reason = "datasets requires torchcodec to read these audio files"
            download = f"run `hf download {corpus.path} --repo-type dataset --local-dir DIR`, set path to DIR, and "
            hint = f"{'' if Path(corpus.path).is_dir() else download}set reader to audiofolder"
        raise CorpusError(reason or type(cause).__name__, path=corpus.path, hint=hint) from error


def _pieces(corpus: Corpus, language: str) -> Iterator[Piece]:
    dataset = _load(corpus)
    if dataset.features is None:
        problem = "not possible: the dataset does not declare the types of its columns"
        raise CorpusError(problem, path=corpus.path, key="streaming", hint="remove it")
    try:
        audio, names = find_table_columns(dataset.features.arrow_schema, corpus.columns)
    except SelectionError as error:
        error.path = corpus.path
        raise
    labels = {name: feature.names for name, feature in dataset.features.items() if hasattr(feature, "int2str")}
    dataset = dataset.select_columns([name for name in (audio, *names) if name in dataset.features])
    # As Arrow tables, in which no recording is decoded; those of a cached dataset are mapped.
    dataset = dataset.with_format("arrow")
    tables = dataset.take(corpus.limit).iter(_AT_ONCE) if corpus.streaming else [dataset.data.table]
    origin = Origin(corpus.name, language, f"{corpus.path} ({corpus.split})", "", corpus.split or "")
    # A downloaded dataset must not refer to recordings of this machine.
    folder = Path(corpus.path) if Path(corpus.path).is_dir() else None
    first = 1
    for table in tables:
        yield Piece(origin, with_labels(table, labels), names, *split_recordings(table[audio]), folder, first)
        first += table.num_rows


def _load(corpus: Corpus) -> Any:
    import datasets
    import huggingface_hub.utils

    if not console.is_terminal:
        datasets.disable_progress_bars()
        huggingface_hub.utils.disable_progress_bars()
    if corpus.split is None:
        requested_split(corpus, datasets.get_dataset_split_names(corpus.path, corpus.config, revision=corpus.revision))
    return datasets.load_dataset(
        corpus.path, corpus.config, split=corpus.split, revision=corpus.revision, streaming=corpus.streaming
    )
