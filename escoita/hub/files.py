"""Find the files of a folder, or of a repository of the Hub, and the digest of its weights."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from escoita.errors import EscoitaError
from escoita.hub.failures import HubError, explain_hub_errors
from escoita.records.training import AdapterRecord
from escoita.utils.files import cached_sha256
from escoita.utils.processes import stage


# Folder of Phi-4-multimodal, next to its weights, without which it cannot transcribe.
SPEECH_LORA = "speech-lora"
# Names of weights as Transformers writes them; a repository may contain the same weights under other names too.
MODEL_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
OWN_ADAPTER = "adapter_model.safetensors"
# The hosts of the Hub, the parts of an address before the name, and those before a revision.
HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
KINDS = ("models", "datasets", "spaces")
WITH_REVISION = ("tree", "commit", "commits", "blob", "resolve", "raw")
# Digests of weight files that the Hub reported, by repository and commit.
_told: dict[tuple[str, str], dict[str, str]] = {}


class MissingFileError(EscoitaError):
    """
    Report a file that a folder does not contain.

    Args:
        name (`str`): The file.
    """

    problem = "{name} not found"
    name: str


def is_repo_id(name: str) -> bool:
    """Return whether a name has the form `owner/name` of a repository."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def repository_name(source: str) -> str:
    """
    Return the name of a repository, `user/name` or `user/name@revision`, for its address or a name that ends with a
    slash.

    Args:
        source (`str`): A folder, or a repository of the Hub, such as `https://huggingface.co/user/name/tree/v1`. A
            folder or file that exists, and every other text, is returned unchanged.
    """
    if os.path.exists(source):
        return source
    given = source.strip()
    address = urlsplit(given if "://" in given else f"https://{given}")
    if address.hostname in _hosts():
        parts = [unquote(part) for part in address.path.split("/") if part]
        if parts and parts[0] in KINDS:
            del parts[0]
        name, rest = "/".join(parts[:2]), parts[2:]
        if not is_repo_id(name):
            return source
        if len(rest) < 2 or rest[0] not in WITH_REVISION:
            return name
        return f"{name}@{'/'.join(rest[1:4]) if rest[1] == 'refs' else rest[1]}"
    name = given.rstrip("/")
    return name if is_repo_id(name.partition("@")[0]) else source


def _hosts() -> set[str | None]:
    """Return the hosts whose addresses are those of repositories."""
    from huggingface_hub import constants

    return {*HOSTS, urlsplit(constants.ENDPOINT).hostname}


def split_revision(source: str) -> tuple[str, str | None]:
    """
    Split the name of an adapter, `user/name@revision` or an address, into repository and revision.

    Args:
        source (`str`): A folder, or a repository of the Hub with or without a branch, tag, commit or `refs/pr/1`. A
            folder or file that exists is never split.

    Returns:
        `tuple[str, str | None]`: The folder or repository, and the revision if one is named.

    Raises:
        EscoitaError: Nothing follows the `@`.
    """
    source = repository_name(source)
    name, at, revision = source.partition("@")
    if not at or os.path.exists(source) or not is_repo_id(name):
        return source, None
    if not revision:
        raise EscoitaError("no revision after the @", value=source, hint=f"use {name}@REVISION or {name}")
    return name, revision


def local_file(source: str, name: str, revision: str | None = None) -> Path:
    """
    Return the path of a file of a folder, or of a repository, and download it into the cache if it is not there.

    Args:
        source (`str`): A folder, or a repository of the Hub, `user/name` or `user/name@revision`.
        name (`str`): The file.
        revision (`str`, *optional*): Revision of the repository. Defaults to the one that `source` names.

    Raises:
        MissingFileError: The folder does not contain the file.
        HubError: The file cannot be downloaded.
    """
    if Path(source).is_dir():
        path = Path(source) / name
        if not path.is_file():
            raise MissingFileError(path=source, name=name)
        return path
    from huggingface_hub import hf_hub_download

    repo, named = split_revision(source)
    with explain_hub_errors(source, local=True, value=name):
        return Path(hf_hub_download(repo, name, revision=revision or named))


def adapter_record(adapter: str, revision: str | None = None) -> AdapterRecord:
    """
    Read prompt, language and limits of an adapter from its `escoita.json`.

    Raises:
        EscoitaError: The file does not exist, or cannot be read.
    """
    return AdapterRecord.read(local_file(adapter, "escoita.json", revision))


def file_if_any(source: str, name: str, revision: str | None = None) -> Path | None:
    """
    Return the path of a file as [`local_file`] does, but `None` if the folder or repository does not contain it.

    Raises:
        EscoitaError: The Hub cannot be reached, or refuses.
    """
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    try:
        return local_file(source, name, revision)
    except MissingFileError:
        return None
    except HubError as error:
        if error.cause == "no file":
            return None
        repo, named = split_revision(source)
        # Without a connection, the cache contains the Hub's earlier answer.
        if try_to_load_from_cache(repo, name, revision=revision or named) is _CACHED_NO_EXIST:
            return None
        raise


def cached_file(source: str, name: str, revision: str | None = None) -> Path | None:
    """
    Return the path of a file as [`file_if_any`] does, but `None` also if the Hub cannot be reached and the file is not
    in the cache. So a repository that was downloaded without this file can be used without a connection.

    Raises:
        EscoitaError: The Hub can be reached, and refuses, also because of its rate limit.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return file_if_any(source, name, revision)
    except HubError as error:
        if isinstance(error.__cause__, LocalEntryNotFoundError) and error.cause != "rate limit":
            return None
        raise


def weight_files(source: str, revision: str | None = None) -> list[Path]:
    """Return the safetensors files of a loaded base or adapter, sorted by name; those of a speech LoRA come last."""
    folder = Path(source) if Path(source).is_dir() else cached_snapshot(source, revision)
    own = [path for path in folder.glob("*.safetensors") if is_own_weight(path.name)]
    return [*sorted(own), *sorted(folder.glob(f"{SPEECH_LORA}/*.safetensors"))]


def is_own_weight(name: str) -> bool:
    """
    Return whether a weight file is part of the digest of a model.

    The language adapters of MMS are not: the cache contains only those of the languages that were transcribed.

    Args:
        name (`str`): Name of the file.
    """
    return not name.startswith("adapter.")


def cached_snapshot(source: str, revision: str | None = None) -> Path:
    """
    Return the folder in the cache that contains the downloaded files of a repository; its name is the commit.

    Raises:
        HubError: No file of this revision was downloaded.
    """
    from huggingface_hub import snapshot_download

    repo, named = split_revision(source)
    with explain_hub_errors(source, local=True, value=revision):
        return Path(snapshot_download(repo, revision=revision or named, local_files_only=True))


def weights_digest(source: str, revision: str | None = None) -> str:
    """
    Return a SHA-256 over the weight files of a loaded base or adapter. Its name is not part of it.

    The digest of a file comes from the Hub, if [`hub_digests`] requested it, or else from the cache of digests.

    Args:
        source (`str`): A folder, or a repository of the Hub, with or without `@revision`.
        revision (`str`, *optional*): Revision of the repository.
    """
    files = weight_files(source, revision)
    if Path(source).is_dir():
        return combined_digest(file_digests(source, files))
    # A repository may contain the same weights twice, and the cache may contain both: only the loaded ones count.
    usual = [path for path in files if MODEL_WEIGHTS.fullmatch(path.name) or path.name == OWN_ADAPTER]
    if any(MODEL_WEIGHTS.fullmatch(path.name) for path in usual):
        files = [path for path in files if path in usual or path.parent.name == SPEECH_LORA]
    known = _told.get((split_revision(source)[0], cached_snapshot(source, revision).name), {})
    unknown = [path for path in files if not known.get(weight_name(path))]
    return combined_digest(
        {weight_name(path): known.get(weight_name(path), "") for path in files} | file_digests(source, unknown)
    )


def file_digests(source: str, files: list[Path]) -> dict[str, str]:
    """Return the SHA-256 of weight files by their names, from the cache of digests if they have not changed."""
    with stage(f"Hashing the weights of {source}"):
        return {weight_name(path): cached_sha256(path) for path in files}


def hub_digests(repo: str, revision: str | None = None) -> tuple[str, dict[str, str]]:
    """
    Request the commit of a repository and the digests of its weight files from the Hub; no weights are downloaded.

    Args:
        repo (`str`): Repository of the Hub.
        revision (`str`, *optional*): Branch, tag or commit. Defaults to the head of main.

    Returns:
        `tuple[str, dict[str, str]]`: The commit, and the SHA-256 of each file by its name. Files that are small enough
            to be stored without Git LFS are downloaded.

    Raises:
        HubError: The Hub cannot be reached, or the repository or revision does not exist.
    """
    from huggingface_hub import HfApi

    if revision and (repo, revision) in _told:
        return revision, _told[repo, revision]
    with explain_hub_errors(repo, local=True, value=revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    commit = info.sha or ""
    found = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or []}
    _told[repo, commit] = {
        name: digest or cached_sha256(local_file(repo, name, commit))
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
    Return the digests that a record may contain for a repository or folder, which may contain the same weights twice.

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
