"""Recognize corpora that a reader reads as they are: Common Voice, FLEURS, parquet files, and datasets of the Hub."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from escoita.data.inspection.columns import split_name
from escoita.data.inspection.extraction import extract_rows
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import Listing
from escoita.data.readers import read_corpus
from escoita.data.readers.base import selection_error
from escoita.data.readers.common_voice import SPONTANEOUS, read_spontaneous, spontaneous_table
from escoita.data.readers.parquet import splits_of
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from escoita.records.data import Split
from escoita.utils.languages import matching, same_language


_FLEURS = re.compile(r"[a-z]{2,3}(_[a-z0-9]+)+")
# Our splits, and their names in Common Voice and FLEURS.
_SPLITS: tuple[tuple[Split, str], ...] = (("train", "train"), ("validation", "dev"), ("test", "test"))


def common_voice(listing: Listing, path: Path, language: str, extracted: Path) -> Found | None:
    """
    Recognize a release of Common Voice, read or spontaneous speech, in the folder or below it.

    Args:
        listing ([`Listing`]): The files of the folder.
        path (`Path`): The folder.
        language (`str`): The language, which selects one of several folders.
        extracted (`Path`): The folder for extracted recordings, which is not used.

    Raises:
        CorpusError: The folder contains several languages, of which none is the given one.
    """
    tables = listing.files(".tsv")
    read = {each.parent for each in tables if each.name == "validated.tsv" and (each.parent / "clips").is_dir()}
    spontaneous = {each.parent for each in tables if each.match(SPONTANEOUS) and (each.parent / "audios").is_dir()}
    folders = {folder.name: folder for folder in sorted(read | spontaneous)}
    if not folders:
        return None
    folder = _folder_of(language, folders, "folders of Common Voice", path)
    if folder in spontaneous:
        table = spontaneous_table(folder)
        assert table is not None  # noqa: S101  (the folder has one)
        corpus = Corpus(name="corpus", path=str(folder), reader="common_voice")
        rows, rejected = read_spontaneous(corpus, language, table, all_splits=True)
        others = [each for each in rejected if each.reason != "empty transcript"]
        found = extract_rows(rows, others, extracted, "")
        found.layout = "Common Voice, spontaneous speech"
        if untranscribed := len(rejected) - len(others):
            found.notes.append(f"Recordings without a transcript yet: {untranscribed:,}")
        return found
    found = Found("Common Voice")
    if all((folder / f"{split}.tsv").is_file() for _, split in _SPLITS):
        keys = {"reader": "common_voice", "path": str(folder)}
        found.native = {ours: {**keys, "split": split} for ours, split in _SPLITS}
        found.notes.append("Splits: those of the release, train, dev and test")
        return found
    rows, rejected = read_corpus(
        Corpus(name="corpus", path=str(folder), reader="common_voice", split="validated"), language
    )
    return extract_rows(rows, rejected, extracted, "Common Voice, validated clips without splits")


def fleurs(listing: Listing, path: Path, language: str, extracted: Path) -> Found | None:
    """
    Recognize one language of FLEURS, as tables with archives, in the folder or below it.

    Args:
        listing ([`Listing`]): The files of the folder.
        path (`Path`): The folder.
        language (`str`): The language, which selects one of several folders.
        extracted (`Path`): The folder for extracted recordings, which is not used.

    Raises:
        CorpusError: The folder contains several languages, of which none is the given one.
    """
    folders = {
        each.parent.name: each.parent
        for each in listing.files(".tsv")
        if each.stem == "train" and _FLEURS.fullmatch(each.parent.name) and (each.parent / "audio").is_dir()
    }
    if not folders:
        return None
    folder = _folder_of(language, folders, "languages of FLEURS", path)
    found = Found("FLEURS", notes=["Splits: those of FLEURS, train, dev and test"])
    found.native = {
        ours: {"reader": "fleurs", "path": str(folder), "split": split}
        for ours, split in _SPLITS
        if (folder / f"{split}.tsv").is_file()
    }
    return found if {"train", "test"} <= set(found.native) else None


def parquet(path: Path, files: list[Path], language: str, extracted: Path) -> Found:
    """
    Read parquet files: as they are if they have splits, else their recordings are extracted.

    Args:
        path (`Path`): The folder or the file.
        files (`list[Path]`): The parquet files.
        language (`str`): The language of rows that name none.
        extracted (`Path`): The folder for extracted recordings.

    Raises:
        CorpusError: A file cannot be read.
    """
    keys = {"reader": "parquet", "path": str(path)}
    if native := _native(splits_of(files), keys):
        return Found("parquet files", native=native, notes=[_splits_line(native)])
    rows, rejected = read_corpus(Corpus(name="corpus", path=str(path), reader="parquet"), language)
    return extract_rows(rows, rejected, extracted, f"{len(files):,} parquet files")


def hub(repository: str, language: str, extracted: Path) -> Found:
    """
    Read a dataset of the Hub: as it is if it has splits, else its recordings are downloaded and extracted.

    Args:
        repository (`str`): The repository, `user/name`.
        language (`str`): The language, which selects one of several configurations.
        extracted (`Path`): The folder for extracted recordings.

    Raises:
        CorpusError: The dataset is not found, or its configuration is ambiguous.
    """
    import datasets
    import datasets.exceptions
    from huggingface_hub import HfApi

    from escoita.hub.failures import explain_hub_errors

    with explain_hub_errors(repository, "dataset"):
        revision = HfApi().dataset_info(repository).sha
    try:
        config = _config(repository, datasets.get_dataset_config_names(repository), language)
        splits = datasets.get_dataset_split_names(repository, config)
    except (OSError, ValueError, RuntimeError, ImportError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(" ".join(str(error).split()) or type(error).__name__, path=repository) from error
    keys = {"reader": "hub", "path": repository, "revision": revision}
    if config != "default":
        keys["config"] = config
    if native := _native(splits, keys):
        return Found("a dataset of the Hub", native=native, notes=[_splits_line(native)])
    if len(splits) != 1:
        raise selection_error("no test split, and several others", splits, repository, "split")
    corpus = Corpus.model_validate({"name": "corpus", "split": splits[0], **keys})
    rows, rejected = read_corpus(corpus, language)
    return extract_rows(rows, rejected, extracted, "a dataset of the Hub")


def _config(repository: str, configs: list[str], language: str) -> str:
    found = _of_language(language, configs)
    if len(found) > 1:
        raise selection_error("several configurations", found, repository, "config", language)
    return found[0]


def _folder_of(language: str, folders: Mapping[str, Path], kind: str, path: Path) -> Path:
    """Return the only folder of a language; raise a [`SelectionError`] if there are several."""
    names = _of_language(language, folders)
    if len(names) > 1:
        raise selection_error(f"several {kind}", sorted(names), path, "--language", language)
    return folders[names[0]]


def _of_language(language: str, names: Collection[str]) -> list[str]:
    """
    Return the names of folders or configurations that are the code of a language, such as `gl_es` for `gl`.

    Of several, the one in the script of the language is returned, if there is one; if none is a code of the language,
    all are.
    """
    if language in names:
        return [language]
    own = [name for name in names if matching(language, [name])]
    written = [name for name in own if same_language(name.replace("_", "-"), language)]
    return written if len(written) == 1 else own or list(names)


def _native(splits: Collection[str], keys: dict[str, Any]) -> dict[Split, dict[str, Any]]:
    """Return the corpora of a dataset that has at least train and test."""
    native: dict[Split, dict[str, Any]] = {}
    for split in splits:
        if ours := split_name(split):
            native.setdefault(ours, {**keys, "split": split})
    return native if {"train", "test"} <= set(native) else {}


def _splits_line(native: dict[Split, dict[str, Any]]) -> str:
    return f"Splits: those of the dataset, {', '.join(each['split'] for each in native.values())}"
