"""Datasets of the Hub, through `datasets`; nothing of them is run, and no recording is decoded by it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from escoita.data.readers.base import Origin, asked_split
from escoita.data.readers.recordings import Piece, collect_pieces, find_table_columns, split_recordings, with_labels
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from escoita.utils.processes import console


# Rows that are streamed at once.
_AT_ONCE = 64
# What `datasets` raises of its own accord or lets through.
_FAILURES = (OSError, ValueError, RuntimeError, ImportError, pa.ArrowException)


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Reads one split of a dataset: a repository of the Hub, or a folder in the layout of one.

        - name: voices
          reader: hub
          path: acme/galician-voices
          config: gl
          split: test
          revision: 1f0c2a9

    `datasets` downloads it once and keeps it in `$HF_DATASETS_CACHE`, from where the recordings are mapped. With
    `streaming` rows are taken as they come, and nothing is kept: their recordings are then held in memory, and `limit`
    says of how many. What needs a token takes that of `hf auth login` or of `HF_TOKEN`.

    A dataset of loose recordings cannot be read so without FFmpeg and torchcodec: the error says how to fetch it and
    read it as an audio folder.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): With the `split`.
        language (`str`): Of rows that name none.

    Raises:
        CorpusError: There is no such dataset, configuration or split, it is gated, there is no network, or columns are
            not known.
    """
    if corpus.streaming and corpus.limit is None:
        raise CorpusError(
            f"{corpus.path}: set a limit for corpus {corpus.name!r}: recordings that are streamed are held in memory"
        )
    import datasets.exceptions

    try:
        return collect_pieces(_pieces(corpus, language), limit=corpus.limit)
    except (*_FAILURES, datasets.exceptions.DatasetsError) as error:
        cause: BaseException = error
        # Says only that something was wrong with the data.
        while isinstance(cause, datasets.exceptions.DatasetGenerationError) and cause.__cause__:
            cause = cause.__cause__
        reason = " ".join(str(cause).split())
        if isinstance(cause, ImportError) and "torchcodec" in reason:
            fetch = f"run `hf download {corpus.path} --repo-type dataset --local-dir DIR`"
            fetch = "" if Path(corpus.path).is_dir() else f"{fetch}, set path to DIR, and "
            reason = f"datasets reads its loose recordings with torchcodec alone; {fetch}set reader to audiofolder"
        raise CorpusError(f"{corpus.path}: {reason or type(cause).__name__}") from error


def _pieces(corpus: Corpus, language: str) -> Iterator[Piece]:
    dataset = _load(corpus)
    if dataset.features is None:
        raise CorpusError(f"{corpus.path}: does not say of what type its columns are; leave out streaming")
    try:
        audio, names = find_table_columns(dataset.features.arrow_schema, corpus.columns)
    except LookupError as error:
        raise CorpusError(f"{corpus.path}: {error}") from error
    labels = {name: feature.names for name, feature in dataset.features.items() if hasattr(feature, "int2str")}
    dataset = dataset.select_columns([name for name in (audio, *names) if name in dataset.features])
    # As Arrow tables, in which no recording is decoded; of a dataset that is kept, mapped.
    dataset = dataset.with_format("arrow")
    tables = dataset.take(corpus.limit).iter(_AT_ONCE) if corpus.streaming else [dataset.data.table]
    origin = Origin(corpus.name, language, f"{corpus.path} ({corpus.split})", "", corpus.split or "")
    # A dataset of others must not name recordings of this machine.
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
        asked_split(corpus, datasets.get_dataset_split_names(corpus.path, corpus.config, revision=corpus.revision))
    return datasets.load_dataset(
        corpus.path, corpus.config, split=corpus.split, revision=corpus.revision, streaming=corpus.streaming
    )
