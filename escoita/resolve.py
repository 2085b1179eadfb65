"""What stands in a folder, or in a repository of the Hub, and what to say when it does not."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.files import sha256
from escoita.records import AdapterRecord


# Folder beside the weights of Phi-4-multimodal, which are not those of a model that hears without it.
SPEECH_LORA = "speech-lora"


def is_repo_id(name: str) -> bool:
    """Whether a name has the form `owner/name` of a repository."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


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

    Raises:
        EscoitaError: It cannot be had.
    """
    if Path(source).is_dir():
        path = Path(source) / name
        if not path.is_file():
            raise EscoitaError(f"{source}: holds no {name}")
        return path
    from huggingface_hub import hf_hub_download

    with hub_errors(f"{source}, {name}"):
        return Path(hf_hub_download(source, name, revision=revision))


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
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return local_file(source, name, revision)
    except EscoitaError as error:
        why = error.__cause__  # none where a folder was looked into
        if why is None or (isinstance(why, EntryNotFoundError) and not isinstance(why, LocalEntryNotFoundError)):
            return None
        raise


def weight_files(source: str, revision: str | None = None) -> list[Path]:
    """Safetensors files of a base or an adapter that was loaded, in the order of their names; a speech LoRA's last."""
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        with hub_errors(source):
            # Only what loading the model put into the cache: a repository may hold the same weights twice.
            folder = Path(snapshot_download(source, revision=revision, local_files_only=True))
    # The adapters of the languages of MMS are left out: the cache holds those of the languages that were transcribed.
    own = [path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter.")]
    return [*sorted(own), *sorted(folder.glob(f"{SPEECH_LORA}/*.safetensors"))]


def weights_digest(source: str, revision: str | None = None) -> str:
    """SHA-256 over the files of [`weight_files`]: what a base or an adapter is, whatever it is called."""
    digest = hashlib.sha256()
    for path in weight_files(source, revision):
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()
