"""Read one language of FLEURS, from parquet files or from tables and tar archives."""

import re
from collections.abc import Iterator
from pathlib import Path

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.readers.base import Origin, Record, collect, requested_split, selection_error, validated_rows
from escoita.data.readers.fleurs_download import download
from escoita.data.readers.parquet import read_files
from escoita.data.readers.recordings import recordings_below, unpacked
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import FLEURS, Column, Corpus
from escoita.utils.languages import matching


COLUMNS = ("id", "path", "raw_transcription", "transcription", "characters", "num_samples", "gender")
# `id` is the number of the sentence, which several speakers read, so the id of an utterance is its recording.
CHOSEN: dict[Column, str] = {"id": "", "language": "", "text": "transcription"}
_LANGUAGE = re.compile(r"([a-z]{2,3})(_[a-z0-9]+)+")


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read one split of one language.

        fleurs/data/gl_es/test.tsv, fleurs/data/gl_es/audio/test.tar.gz
        fleurs/gl_es/test/0000.parquet, or fleurs/gl_es/test-00000-of-00001.parquet

    An archive is unpacked once into the folder `archives` of the cache (`$ESCOITA_CACHE`), unless it is already
    unpacked in `audio/test/`. The transcript is the normalized `transcription`, without capitals and punctuation;
    `columns: {text: raw_transcription}` selects the one with them. The tables name no speakers.

    If `path` is `google/fleurs`, the files of the split are downloaded; see
    [`~escoita.data.readers.fleurs_download.download`].

    Args:
        corpus ([`Corpus`]): The corpus with the `split` (`dev` in tables, `validation` in parquet files) and, if
            `path` contains several languages and not that of the recipe, the FLEURS name of one as `config`, such as
            `gl_es`.
        language (`str`): The language, if neither the corpus nor the configuration names one.

    Raises:
        CorpusError: The split or the configuration is not set or not found, or an archive is damaged.
    """
    chosen = CHOSEN | corpus.columns
    if corpus.remote:
        corpus = download(corpus, corpus.language or language)
    elif corpus.revision:
        hint = f"remove it, or set path to {FLEURS}"
        raise CorpusError(
            "a folder has no revision", path=corpus.path, key="revision", value=corpus.revision, hint=hint
        )
    folder = _language_folder(corpus, corpus.language or language)
    name = folder.resolve().name
    # The tag of the recipe may name a script, which a configuration of the same language does not.
    if not corpus.language and (found := _LANGUAGE.fullmatch(name)) and not matching(language, [name]):
        language = found[1]
    if parquet := _parquet_files(folder):
        split = requested_split(corpus, parquet)
        return read_files(parquet[split], corpus, language, chosen, split)
    split = requested_split(corpus, [path.stem for path in folder.glob("*.tsv")])
    index = folder / f"{split}.tsv"
    records = read_records(index, chosen, header=COLUMNS)
    # The paths of the recordings are complete.
    origin = Origin.of(corpus, language, index, Path(), split)
    return collect(validated_rows(_with_clips(records, folder / "audio", split), origin), corpus.limit)


def _language_folder(corpus: Corpus, language: str) -> Path:
    path = Path(corpus.path)
    below = [item for root in (path, path / "data", path / "parquet-data") if root.is_dir() for item in root.iterdir()]
    languages = {item.name: item for item in below if _LANGUAGE.fullmatch(item.name) and item.is_dir()}
    if corpus.config in (None, path.name) and not languages:
        return path
    if corpus.config in languages:
        return languages[corpus.config]
    if corpus.config is None and len(languages) == 1:
        return next(iter(languages.values()))
    if corpus.config is None and (own := matching(language, languages)):
        return languages[own]
    problem = "language not found" if corpus.config else f"required for corpus {corpus.name!r}"
    raise selection_error(problem, sorted(languages), path, "config", corpus.config)


def _parquet_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files by split, which is the name of the folder or the first part of the name."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        split = path.stem.removeprefix("fleurs-").split("-")[0] if path.parent == folder else path.parent.name
        files.setdefault(split, []).append(path)
    return files


def _with_clips(records: Iterator[Record | Rejected], folder: Path, split: str) -> Iterator[Record | Rejected]:
    archive, loose = folder / f"{split}.tar.gz", folder / split
    if not loose.is_dir() and not archive.is_file():
        raise CorpusError(f"not found, nor a folder {loose}", path=archive, hint="download the recordings")
    clips = recordings_below(loose if loose.is_dir() else unpacked(archive))
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        row, fields, names = record
        clip, samples = fields[names.audio], fields["num_samples"]
        # A number of more digits than that of samples in a year is no length.
        length = int(samples) / SAMPLING_RATE if samples.isdecimal() and len(samples) <= 12 else None
        added = {names.audio: str(clips.get(clip, loose / Path(clip).name)) if clip else "", "duration": length}
        yield row, {**fields, **added}, names._replace(duration="duration")
