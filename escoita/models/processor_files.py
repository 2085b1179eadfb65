"""Check the files of an untrusted processor: their sizes, and the tokenizer in a sandbox process."""

from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.hub.files import file_if_any
from escoita.utils.files import sha256
from escoita.utils.limits import FileSizeError
from escoita.utils.sandbox import limited
from escoita.utils.untrusted import read_object, refuse_large, refuse_pointer


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
# The largest accepted settings of a feature extractor, which makes a filter for each pair of a frequency and a band.
# The families have at most 128 bands, transforms of 512 points, and hops of 160 samples.
SETTINGS = {
    "n_fft": 65_536,
    "fft_length": 65_536,
    "frame_length": 65_536,
    "win_length": 65_536,
    "hop_length": 65_536,
    "feature_size": 4_096,
    "num_mel_bins": 4_096,
    "n_mels": 4_096,
}
NUMBERS = ("padding_value", "dither", "preemphasis", "mel_floor")
# A tokenizer of 512,000 tokens, 17 MB, takes 1.1 s of CPU time and 0.3 GB.
MOST_SECONDS = 10
MOST_MEMORY_BYTES = 2 << 30
# The problems of the tokenizers that this process has checked, by digest.
_problems: dict[str, str | None] = {}


def check_processor_files(source: str, revision: str | None = None) -> None:
    """
    Check the files of a processor before it is loaded.

    Args:
        source (`str`): A folder, or a repository on the Hub.
        revision (`str`, *optional*): The revision of the repository.

    Raises:
        EscoitaError: A file is too large or a Git LFS pointer, or the tokenizer cannot be loaded within the limits.
    """
    if Path(source).is_dir():
        for name, limit in LIMITS.items():
            if (local := Path(source) / name).is_file():
                refuse_large(local, source, limit)
                refuse_pointer(local, source)
    else:
        _check_repository(source, revision)
    for name in ("preprocessor_config.json", "processor_config.json"):
        if path := _file(source, name, revision):
            _check_extractor(read_object(path, source), f"{source}/{name}")
    if tokenizer := _file(source, "tokenizer.json", revision):
        refuse_large(tokenizer, source, LIMITS["tokenizer.json"])
        problem = _tokenizer_problem(tokenizer.resolve())
        if problem is not None:
            raise EscoitaError(problem, path=f"{source}/tokenizer.json")


def _check_repository(source: str, revision: str | None) -> None:
    """Compare the file sizes from the Hub with the limits before downloading; do nothing if it cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx

    try:
        files = HfApi().model_info(source, revision=revision, files_metadata=True).siblings or []
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError):
        return
    for file in files:
        limit = LIMITS.get(file.rfilename)
        if limit is not None and (size := file.size or 0) > limit:
            raise FileSizeError(path=f"{source}/{file.rfilename}", size=size, limit=limit)


def _file(source: str, name: str, revision: str | None) -> Path | None:
    try:
        return file_if_any(source, name, revision)
    except EscoitaError:  # not in the cache, and no Hub: loading the processor reports it
        return None


def _check_extractor(settings: dict[str, Any], path: str) -> None:
    """Refuse settings of a feature extractor, or of one within a processor, that would take all memory."""
    for key, value in settings.items():
        if isinstance(value, dict):
            _check_extractor(value, path)
        elif key in NUMBERS and not isinstance(value, int | float | None):
            raise EscoitaError("not a number", path=path, key=key, value=value)
        elif key in SETTINGS and value is not None and not (type(value) is int and 0 < value <= SETTINGS[key]):
            raise EscoitaError(f"expected an integer from 1 to {SETTINGS[key]:,}", path=path, key=key, value=value)


def _tokenizer_problem(path: Path) -> str | None:
    """Return the reason why a tokenizer cannot be used, or `None` if it can."""
    digest = sha256(path)
    if digest not in _problems:
        try:
            limited("escoita.models.tokenizer_process", str(path), "tokenizer.json", MOST_SECONDS, MOST_MEMORY_BYTES)
            _problems[digest] = None
        except EscoitaError as error:
            _problems[digest] = error.problem
    return _problems[digest]
