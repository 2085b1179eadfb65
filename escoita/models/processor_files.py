"""Files of a processor that somebody else wrote: their sizes, and a trial of the tokenizer in a limited process."""

from pathlib import Path

from escoita.errors import EscoitaError
from escoita.hub.files import file_if_any
from escoita.utils.files import sha256
from escoita.utils.sandbox import limited
from escoita.utils.untrusted import refuse_large, refuse_pointer


# Bytes. The tokenizer.json of Gemma has 33 MB and its tokenizer_config.json 1.2 MB, the largest of the families.
LIMITS = {
    "tokenizer.json": 100_000_000,
    "tekken.json": 50_000_000,
    "tokenizer.model": 50_000_000,
    "vocab.json": 50_000_000,
    "merges.txt": 50_000_000,
    "tokenizer_config.json": 10_000_000,
    "special_tokens_map.json": 10_000_000,
    "added_tokens.json": 10_000_000,
    "config.json": 2_000_000,
    "generation_config.json": 2_000_000,
    "processor_config.json": 2_000_000,
    "preprocessor_config.json": 2_000_000,
    "chat_template.jinja": 1_000_000,
    "chat_template.json": 1_000_000,
}
# A tokenizer of 512,000 tokens, 17 MB, takes 1.1 s of CPU time and 0.3 GB.
MOST_SECONDS = 10
MOST_MEMORY_BYTES = 2 << 30
# Of the tokenizers that this process has tried, by digest.
_refusals: dict[str, str | None] = {}


def check_processor_files(source: str, revision: str | None = None) -> None:
    """
    Checks the files that a processor is loaded from, before it is.

    Args:
        source (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): Of the repository.

    Raises:
        EscoitaError: One is too large or is a Git LFS pointer, or the tokenizer cannot be loaded within the limits.
    """
    what = f"model {source}"
    if Path(source).is_dir():
        for name, most in LIMITS.items():
            if (path := Path(source) / name).is_file():
                refuse_large(path, what, most)
                refuse_pointer(path, what)
    else:
        _check_repository(source, revision)
    try:
        tokenizer = file_if_any(source, "tokenizer.json", revision)
    except EscoitaError:  # not in the cache, and no Hub: what loads the processor says so
        return
    if tokenizer is not None:
        refuse_large(tokenizer, what, LIMITS["tokenizer.json"])
        reason = _refusal(tokenizer.resolve())
        if reason is not None:
            raise EscoitaError(f"{what}: {reason}")


def _check_repository(source: str, revision: str | None) -> None:
    """Compares the sizes that the Hub tells, before anything is fetched; nothing where it cannot be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx

    try:
        files = HfApi().model_info(source, revision=revision, files_metadata=True).siblings or []
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError):
        return
    for file in files:
        most = LIMITS.get(file.rfilename)
        if most is not None and (file.size or 0) > most:
            raise EscoitaError(
                f"model {source}: {file.rfilename} has {file.size:,} bytes; at most {most:,} are accepted"
            )


def _refusal(path: Path) -> str | None:
    """Why a tokenizer cannot be used, if so."""
    digest = sha256(path)
    if digest not in _refusals:
        try:
            limited("escoita.models.tokenizer_process", str(path), "tokenizer.json", MOST_SECONDS, MOST_MEMORY_BYTES)
            _refusals[digest] = None
        except EscoitaError as error:
            _refusals[digest] = str(error)
    return _refusals[digest]
