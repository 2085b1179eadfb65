"""Download one language of FLEURS from the Hub: the converted parquet files, or else the tables and archives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from escoita.data.readers.base import selection_error
from escoita.errors import CorpusError
from escoita.hub.failures import explain_hub_errors
from escoita.recipe.schema import FLEURS, Corpus
from escoita.utils.formatting import gigabytes
from escoita.utils.languages import fleurs_configuration
from escoita.utils.processes import console, say


# The branch with the files that the Hub itself converts; it may lag behind, or lack splits that are too large.
CONVERTED = "refs/convert/parquet"
SPLITS = ("train", "validation", "test")
# The names of the validation split in tables and in parquet files.
TABLE_SPLITS = {"validation": "dev"}
# gl_es/test/0000.parquet, and the older gl_es/fleurs-test-00000-of-00002.parquet
_PARQUET = re.compile(r"[a-z0-9_]+/(?:(\w+)/(\d+)|fleurs-([a-z]+)(?:-(\d+)-of-(\d+))?)\.parquet")


@dataclass(frozen=True)
class Language:
    """
    Store where the files of one language are.

    Args:
        config (`str`): The configuration, such as `gl_es`.
        commit (`str`): The commit.
        files (`dict[str, dict[str, int]]`): The files of each split with their sizes in bytes.
    """

    config: str
    commit: str
    files: dict[str, dict[str, int]]


def download(corpus: Corpus, language: str) -> Corpus:
    """
    Download the files of one split into the cache of the Hub, and return the corpus with its folder there.

    The branch `refs/convert/parquet` is used if it has all splits of the language, else the tables and archives of
    `main`. Files that the cache has are not downloaded again.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus, with the `split`; by default, `config` is that of the
            language, and `revision` the newest commit.
        language (`str`): The language.

    Raises:
        CorpusError: The configuration or the split is not set or not found, or a revision lacks files of it.
        HubError: The Hub cannot be reached.
    """
    found = find_language(corpus, language)
    split = _split(corpus, found.files)
    files = found.files[split]
    total = gigabytes(sum(files.values()))
    say(f"{corpus.name}: {FLEURS}, {found.config}, {split}, commit {found.commit[:12]}: {len(files)} files, {total}")
    folder = Path(_snapshot(found.commit, sorted(files)), Path(next(iter(files))).parts[0], found.config)
    folder = folder if folder.is_dir() else folder.parent
    return corpus.model_copy(update={"path": str(folder), "config": None, "split": split, "revision": None})


@cache
def _language(config: str, revision: str | None) -> Language:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

    api, reasons = HfApi(), []
    for branch in (revision,) if revision else (CONVERTED, "main"):
        with explain_hub_errors(FLEURS, "dataset", value=branch):
            try:
                commit = api.dataset_info(FLEURS, revision=branch).sha or ""
            except RevisionNotFoundError:
                if revision:
                    raise
                continue
            for folder, splits_of in ((config, _parquet_splits), (f"data/{config}", _table_splits)):
                try:
                    tree = api.list_repo_tree(FLEURS, folder, repo_type="dataset", revision=commit, recursive=True)
                    files = {each.path: each.size for each in tree if hasattr(each, "size")}
                except EntryNotFoundError:
                    continue
                if complete := splits_of(files):
                    return Language(config, commit, complete)
                reasons.append(f"{folder} of {branch} is not complete")
    raise _not_found(api, config, revision, reasons)


def find_language(corpus: Corpus, language: str) -> Language:
    """
    Find the files of a language in the repository.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus.
        language (`str`): The language, if the corpus names no configuration.

    Raises:
        CorpusError: The language has no configuration, or a revision lacks files of it.
        HubError: The Hub cannot be reached.
    """
    return _language(_config(corpus, language), corpus.revision)


def _config(corpus: Corpus, language: str) -> str:
    config = corpus.config or fleurs_configuration(language)
    if config is None or not re.fullmatch(r"[a-z0-9_]+", config):
        problem, hint = f"FLEURS has no language {language}", "set config to one of its configurations"
        raise CorpusError(problem, path=FLEURS, key="config", value=corpus.config, hint=hint)
    return config


def _not_found(api: Any, config: str, revision: str | None, reasons: list[str]) -> CorpusError:
    if reasons:
        hint = "try again later, or download the files and set path to their folder"
        return CorpusError("; ".join(reasons), path=FLEURS, key="config", value=config, hint=hint)
    from huggingface_hub.errors import EntryNotFoundError

    available: list[str] = []
    with explain_hub_errors(FLEURS, "dataset", value=revision):
        for folder in ("data", None):
            try:
                tree = api.list_repo_tree(FLEURS, folder, repo_type="dataset", revision=revision)
                available += [Path(each.path).name for each in tree if "_" in Path(each.path).name]
            except EntryNotFoundError:
                continue
    return selection_error("not found", sorted(set(available)), FLEURS, "config", config)


def _parquet_splits(files: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return the parquet files by split, or nothing if a split or a part of it is missing."""
    found: dict[str, dict[str, int]] = {}
    parts: dict[str, set[tuple[int, int]]] = {}
    for path, bytes_ in sorted(files.items()):
        if match := _PARQUET.fullmatch(path):
            split = match[1] or match[3]
            found.setdefault(split, {})[path] = bytes_
            parts.setdefault(split, set()).add((int(match[2] or match[4] or 0), int(match[5] or 0)))
    for split in SPLITS:
        numbers = parts.get(split, set())
        expected = next((count for _, count in numbers if count), len(numbers))
        # The Hub calls the folder of a split that it converted only in part `partial-train`.
        if not numbers or {number for number, _ in numbers} != set(range(expected)):
            return {}
    return {split: found[split] for split in SPLITS}


def _table_splits(files: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return the table and the archive of each split, or nothing if one is missing."""
    found: dict[str, dict[str, int]] = {}
    folder = next(iter(files), "").split("/")[1:2]
    for split in ("train", "dev", "test"):
        names = [f"data/{folder[0]}/{split}.tsv", f"data/{folder[0]}/audio/{split}.tar.gz"] if folder else [""]
        if any(name not in files for name in names):
            return {}
        found[split] = {name: files[name] for name in names}
    return found


def _split(corpus: Corpus, available: Sequence[str] | dict[str, Any]) -> str:
    """Return the split under the name that the files have: `dev` and `validation` are the same."""
    aliases = {**TABLE_SPLITS, "dev": "validation"}
    for name in (corpus.split, aliases.get(corpus.split or "")):
        if name in available:
            return str(name)
    problem = "not found" if corpus.split else f"required for corpus {corpus.name!r}"
    raise selection_error(problem, sorted(available), FLEURS, "split", corpus.split)


def _snapshot(commit: str, files: list[str]) -> str:
    import huggingface_hub.utils
    from huggingface_hub import HfApi

    if not console.is_terminal:
        huggingface_hub.utils.disable_progress_bars()
    with explain_hub_errors(FLEURS, "dataset", value=commit):
        return HfApi().snapshot_download(FLEURS, repo_type="dataset", revision=commit, allow_patterns=files)
