"""Adapter and base: their weights have the digests that the records give, and all name the same base."""

import hashlib
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError

from escoita.cards.verify.check import Check, compared, skipped
from escoita.errors import EscoitaError, PublishError
from escoita.utils.files import sha256
from escoita.utils.foreign_json import read_object
from escoita.hub.auth import clear_refusals
from escoita.hub.retry import patiently
from escoita.utils.limits import NAME_CHARACTERS
from escoita.hub.files import SPEECH_LORA, possible_digests


ADAPTER = "adapter_model.safetensors"


def check_adapter(folder: Path, told: dict[str, str | None]) -> Check:
    """
    Compares the adapter's weights with the records.

    Args:
        folder (`Path`): What was published.
        told (`dict[str, str]`): What each record says that their digest is, by its name.
    """
    path = folder / ADAPTER
    if not path.is_file():
        return Check("adapter's weights", "differs", [f"there is no {ADAPTER}"])
    digest = hashlib.sha256(bytes.fromhex(sha256(path))).hexdigest()
    wrong = [
        f"{name} is of other weights, {(said or 'none')[:12]}…; these are {digest[:12]}…"
        for name, said in told.items()
        if said != digest
    ]
    return compared("adapter's weights", wrong, f"are those of {' and '.join(told)}")


def base_of(folder: Path) -> str:
    """
    The base that the adapter says it is for.

    Raises:
        EscoitaError: `adapter_config.json` is missing, too large, not JSON, no mapping, or names none.
    """
    path = folder / "adapter_config.json"
    try:
        config = read_object(path, "adapter")
    except EscoitaError as error:
        raise PublishError(f"{str(error).removeprefix('adapter: ')}; so it is no adapter of PEFT") from error
    base = config.get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        raise PublishError(f"{path.name}: names no base; give --base")
    if len(base) > NAME_CHARACTERS:
        raise PublishError(f"{path.name}: the name of its base has {len(base):,} characters")
    return base


def check_named_base(told: dict[str, object], base: str) -> Check:
    """
    Whether all name the same base.

    Args:
        told (`dict[str, object]`): What each file says, by its name.
        base (`str`): What the records say.
    """
    # A list of one is how the Hub's editor writes a value.
    wrong = [
        f"{name}: names {said or 'none'}, and not {base}" for name, said in told.items() if said not in (base, [base])
    ]
    return compared("name of the base", wrong, f"{base} in {', '.join(told)}")


def check_base_weights(api: HfApi, base: str, revision: str | None, digest: str) -> Check:
    """
    Compares the base's weights on the Hub with the digest of the records; nothing is downloaded.

    Args:
        api (`HfApi`): Client of the Hub.
        base (`str`): Repository of the base.
        revision (`str`, *optional*): The one that was trained on.
        digest (`str`): Of [`~escoita.hub.files.weights_digest`].
    """
    what = "base's weights"
    try:
        with clear_refusals(f"base {base}"):
            info = patiently(base, known=False)(api.model_info, base, revision=revision, files_metadata=True)
    except PublishError as error:
        return skipped(what, str(error))
    except HFValidationError:
        return skipped(what, f"{base} is no name of a repository, so the Hub is not asked")
    digests = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or []}
    names = [name for name in sorted(digests) if name.endswith(".safetensors")]
    root = [name for name in names if "/" not in name]
    speech = [name for name in names if name.startswith(f"{SPEECH_LORA}/") and name.count("/") == 1]
    if not root or any(digests[name] is None for name in [*root, *speech]):
        return skipped(what, f"the Hub tells no digest of the safetensors of {base}")
    if digest in possible_digests({name: digests[name] or "" for name in [*root, *speech]}):
        return Check(what, "holds", [f"{base} holds what was trained on, as the Hub tells its digests"])
    at = f" at {revision}" if revision else ", at the head of main; no record names a commit"
    return Check(what, "differs", [f"{base} holds others than were trained on ({digest[:12]}…){at}"])
