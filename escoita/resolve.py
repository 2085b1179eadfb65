"""What stands in a folder, or in a repository of the Hub, and what to say when it does not."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.files import sha256
from escoita.records import AdapterRecord


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


def weights_digest(source: str, revision: str | None = None) -> str:
    """
    SHA-256 over the safetensors files of a base or an adapter that was loaded, in the order of their names: what it
    is, whatever it is called.
    """
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        with hub_errors(source):
            # Only what loading the model put into the cache: a repository may hold the same weights twice.
            folder = Path(snapshot_download(source, revision=revision, local_files_only=True))
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()
