"""FLEURS: one language of it, in parquet files or in tables and tar archives."""

import re
from collections.abc import Iterator
from pathlib import Path

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.readers.base import Origin, Record, asked_split, collect, validated_rows
from escoita.data.readers.parquet import read_files
from escoita.data.readers.recordings import recordings_below, unpacked
from escoita.data.readers.tables import read_records
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Column, Corpus


COLUMNS = ("id", "path", "raw_transcription", "transcription", "characters", "num_samples", "gender")
# Several speakers read each sentence, whose number is `id`: the recording is what tells utterances apart.
CHOSEN: dict[Column, str] = {"id": "", "language": "", "text": "transcription"}
_LANGUAGE = re.compile(r"([a-z]{2,3})(_[a-z0-9]+)+")


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Reads one split of one language.

        fleurs/data/gl_es/test.tsv, fleurs/data/gl_es/audio/test.tar.gz
        fleurs/gl_es/test/0000.parquet, or fleurs/gl_es/test-00000-of-00001.parquet

    An archive is unpacked once into the folder `archives` of the cache (`$ESCOITA_CACHE`); what is unpacked beside it,
    in `audio/test/`, is taken as it is. The transcript is the normalised `transcription`: without capitals and
    punctuation. `columns: {text: raw_transcription}` takes the one with them. The tables name no speakers.

    Args:
        corpus ([`Corpus`]): With the `split` (`dev` in tables, `validation` in parquet files), and as
            `config` the language as FLEURS calls it, `gl_es`, where `path` holds several.
        language (`str`): Where neither the corpus nor the configuration names one.

    Raises:
        CorpusError: The split or the configuration is not named or not there, or an archive is damaged.
    """
    chosen = CHOSEN | corpus.columns
    folder = _language_folder(corpus)
    if not corpus.language and (name := _LANGUAGE.fullmatch(folder.resolve().name)):
        language = name[1]
    if parquet := _parquet_files(folder):
        split = asked_split(corpus, parquet)
        return read_files(parquet[split], corpus, language, chosen, split)
    split = asked_split(corpus, [path.stem for path in folder.glob("*.tsv")])
    index = folder / f"{split}.tsv"
    records = read_records(index, chosen, header=COLUMNS)
    # Each path is whole already.
    origin = Origin.of(corpus, language, index, Path(), split)
    return collect(validated_rows(_with_clips(records, folder / "audio", split), origin), corpus.limit)


def _language_folder(corpus: Corpus) -> Path:
    path = Path(corpus.path)
    below = [item for root in (path, path / "data", path / "parquet-data") if root.is_dir() for item in root.iterdir()]
    languages = {item.name: item for item in below if _LANGUAGE.fullmatch(item.name) and item.is_dir()}
    if corpus.config in (None, path.name) and not languages:
        return path
    if corpus.config in languages:
        return languages[corpus.config]
    if corpus.config is None and len(languages) == 1:
        return next(iter(languages.values()))
    asked = f"has no language {corpus.config!r}" if corpus.config else f"set the config of corpus {corpus.name!r}"
    raise CorpusError(f"{path}: {asked}; it has {', '.join(sorted(languages)) or 'none'}")


def _parquet_files(folder: Path) -> dict[str, list[Path]]:
    """By split, which a folder or the beginning of a name tells."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        split = path.stem.split("-")[0] if path.parent == folder else path.parent.name
        files.setdefault(split, []).append(path)
    return files


def _with_clips(records: Iterator[Record | Rejected], folder: Path, split: str) -> Iterator[Record | Rejected]:
    archive, loose = folder / f"{split}.tar.gz", folder / split
    if not loose.is_dir() and not archive.is_file():
        raise CorpusError(f"{archive}: no such archive, and no folder {loose}; the recordings are missing")
    clips = recordings_below(loose if loose.is_dir() else unpacked(archive))
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        row, fields, names = record
        clip, samples = fields[names.audio], fields["num_samples"]
        length = int(samples) / SAMPLING_RATE if samples.isdecimal() else None
        known = {names.audio: str(clips.get(clip, loose / clip)) if clip else "", "duration": length}
        yield row, {**fields, **known}, names._replace(duration="duration")
