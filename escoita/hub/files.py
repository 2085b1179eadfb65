"""What stands in a folder, or in a repository of the Hub, and what to say when it does not."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.records.training import AdapterRecord
from escoita.utils.files import remembered_sha256


# Folder beside the weights of Phi-4-multimodal, which are not those of a model that hears without it.
SPEECH_LORA = "speech-lora"
# As Transformers names weights; a repository may hold the same weights again under other names.
MODEL_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
OWN_ADAPTER = "adapter_model.safetensors"
# Digests that the Hub tells of the weight files of a repository at a commit, once it has been asked.
_told: dict[tuple[str, str], dict[str, str]] = {}


def is_repo_id(name: str) -> bool:
    """Whether a name has the form `owner/name` of a repository."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def split_revision(source: str) -> tuple[str, str | None]:
    """
    Split the name of an adapter, `user/name@revision`, into repository and revision.

    Args:
        source (`str`): A folder, or a repository of the Hub with or without a branch, tag, commit or `refs/pr/1`. A
            folder or file that exists is never split.

    Returns:
        `tuple[str, str | None]`: The folder or repository, and the revision if one is named.

    Raises:
        EscoitaError: Nothing follows the `@`.
    """
    name, at, revision = source.partition("@")
    if not at or os.path.exists(source) or not is_repo_id(name):
        return source, None
    if not revision:
        raise EscoitaError(f"{source}: no revision follows the @; write {name}@REVISION, or {name} alone")
    return name, revision


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turns what loading raises, when a folder or repository is not there, into one clear line."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except (OSError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EscoitaError(f"{what}: neither a folder here nor to be had from the Hub ({reason})") from error


def local_file(source: str, name: str, revision: str | None = None) -> Path:
    """
    Path of a file of a folder, or of a repository, fetched into the cache where needed.

    Args:
        source (`str`): A folder, or a repository of the Hub, `user/name` or `user/name@revision`.
        name (`str`): The file.
        revision (`str`, *optional*): Of the repository; the one that `source` names unless given.

    Raises:
        EscoitaError: It cannot be had.
    """
    if Path(source).is_dir():
        path = Path(source) / name
        if not path.is_file():
            raise EscoitaError(f"{source}: holds no {name}")
        return path
    from huggingface_hub import hf_hub_download

    repo, named = split_revision(source)
    with hub_errors(f"{source}, {name}"):
        return Path(hf_hub_download(repo, name, revision=revision or named))


def adapter_record(adapter: str, revision: str | None = None) -> AdapterRecord:
    """
    Prompt, language and limits of an adapter, from its `escoita.json`.

    Raises:
        EscoitaError: It holds none.
    """
    return AdapterRecord.read(local_file(adapter, "escoita.json", revision))


def file_if_any(source: str, name: str, revision: str | None = None) -> Path | None:
    """
    As [`local_file`], but `None` where the folder or repository holds no such file.

    Raises:
        EscoitaError: The repository cannot be asked.
    """
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return local_file(source, name, revision)
    except EscoitaError as error:
        why = error.__cause__  # none where a folder was looked into
        if why is None or (isinstance(why, EntryNotFoundError) and not isinstance(why, LocalEntryNotFoundError)):
            return None
        repo, named = split_revision(source)
        # Without a connection, the cache knows what the Hub answered before.
        if try_to_load_from_cache(repo, name, revision=revision or named) is _CACHED_NO_EXIST:
            return None
        raise


def cached_file(source: str, name: str, revision: str | None = None) -> Path | None:
    """
    As [`file_if_any`], but also `None` if the Hub cannot be reached and the file is not in the cache. What was fetched
    before is used without a connection, although the Hub was never asked for this file.

    Raises:
        EscoitaError: The Hub can be reached, and refuses.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return file_if_any(source, name, revision)
    except EscoitaError as error:
        if isinstance(error.__cause__, LocalEntryNotFoundError):
            return None
        raise


def weight_files(source: str, revision: str | None = None) -> list[Path]:
    """Safetensors files of a base or an adapter that was loaded, in the order of their names; a speech LoRA's last."""
    folder = Path(source) if Path(source).is_dir() else cached_snapshot(source, revision)
    own = [path for path in folder.glob("*.safetensors") if is_own_weight(path.name)]
    return [*sorted(own), *sorted(folder.glob(f"{SPEECH_LORA}/*.safetensors"))]


def is_own_weight(name: str) -> bool:
    """
    Whether a file of weights counts in the digest of a model.

    The adapters of the languages of MMS do not: the cache holds only those of the languages that were transcribed.

    Args:
        name (`str`): Of the file.
    """
    return not name.startswith("adapter.")


def cached_snapshot(source: str, revision: str | None = None) -> Path:
    """
    Return the folder in the cache that holds what was fetched of a repository; its name is the commit.

    Raises:
        EscoitaError: Nothing was fetched of this revision.
    """
    from huggingface_hub import snapshot_download

    repo, named = split_revision(source)
    with hub_errors(source):
        return Path(snapshot_download(repo, revision=revision or named, local_files_only=True))


def weights_digest(source: str, revision: str | None = None) -> str:
    """
    Return a SHA-256 over the weight files of a base or an adapter that was loaded, whatever it is called.

    Digests of files come from the Hub, if [`hub_digests`] asked it, or else from the cache of digests.

    Args:
        source (`str`): A folder, or a repository of the Hub, with or without `@revision`.
        revision (`str`, *optional*): Of the repository.
    """
    files = weight_files(source, revision)
    if Path(source).is_dir():
        return combined_digest({weight_name(path): remembered_sha256(path) for path in files})
    # A repository may hold the same weights twice, and all of it may be in the cache: only what is loaded counts.
    usual = [path for path in files if MODEL_WEIGHTS.fullmatch(path.name) or path.name == OWN_ADAPTER]
    if any(MODEL_WEIGHTS.fullmatch(path.name) for path in usual):
        files = [path for path in files if path in usual or path.parent.name == SPEECH_LORA]
    known = _told.get((split_revision(source)[0], cached_snapshot(source, revision).name), {})
    return combined_digest(
        {weight_name(path): known.get(weight_name(path)) or remembered_sha256(path) for path in files}
    )


def hub_digests(repo: str, revision: str | None = None) -> tuple[str, dict[str, str]]:
    """
    Ask the Hub for the commit of a repository and for the digests of its weight files; no weights are downloaded.

    Args:
        repo (`str`): Repository of the Hub.
        revision (`str`, *optional*): Branch, tag or commit; the head of main unless given.

    Returns:
        `tuple[str, dict[str, str]]`: The commit, and the SHA-256 of each file by its name. Files that are small enough
            to be stored without Git LFS are fetched.

    Raises:
        OSError: The Hub cannot be reached, or there is no such repository or revision.
        EscoitaError: A small file cannot be fetched.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx

    if revision and (repo, revision) in _told:
        return revision, _told[repo, revision]
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    except httpx.HTTPError as error:  # the connection failed
        raise OSError(str(error)) from error
    commit = info.sha or ""
    found = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or []}
    _told[repo, commit] = {
        name: digest or remembered_sha256(local_file(repo, name, commit))
        for name, digest in found.items()
        if name.endswith(".safetensors")
        and is_own_weight(name)
        and (name.count("/") == 0 or re.fullmatch(f"{SPEECH_LORA}/[^/]+", name))
    }
    return commit, _told[repo, commit]


def combined_digest(files: Mapping[str, str]) -> str:
    """
    Return one digest for all weight files of a model.

    Args:
        files (`Mapping[str, str]`): SHA-256 of each file, by its name in the folder or repository.
    """
    order = sorted(files, key=lambda name: ("/" in name, name))
    return hashlib.sha256(b"".join(bytes.fromhex(files[name]) for name in order)).hexdigest()


def possible_digests(files: Mapping[str, str]) -> set[str]:
    """
    Return the digests that a record may hold of a repository or folder, which may hold the same weights twice.

    Args:
        files (`Mapping[str, str]`): SHA-256 of each weight file, by its name.
    """
    root = [name for name in files if "/" not in name]
    speech = [name for name in files if "/" in name]
    usual = [name for name in root if MODEL_WEIGHTS.fullmatch(name)]
    choices = [root, [name for name in root if name.startswith("model")], usual]
    choices.append([*usual, *(name for name in root if name == OWN_ADAPTER)])
    return {combined_digest({name: files[name] for name in [*choice, *speech]}) for choice in choices if choice}


def weight_name(path: Path) -> str:
    """Return the name that a weight file has in its folder or repository."""
    return f"{SPEECH_LORA}/{path.name}" if path.parent.name == SPEECH_LORA else path.name
