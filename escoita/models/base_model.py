"""Resolve the base model of an adapter: its repository or folder, the commit, and the digest of the weights."""

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from escoita.errors import EscoitaError, OtherBaseError, RecordError
from escoita.hub.failures import HubError
from escoita.hub.files import (
    cached_file,
    cached_snapshot,
    file_digests,
    hub_digests,
    possible_digests,
    weight_files,
    weights_digest,
)
from escoita.records.training import AdapterRecord, BaseRecord, TrainingRecord
from escoita.utils.files import public_name
from escoita.utils.formatting import visible
from escoita.utils.locations import name_as_written
from escoita.utils.untrusted import read_object


# A branch, a tag, a commit, or `refs/pr/1`, without `..`.
REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./+-]{0,199}")
SHA256 = re.compile("[0-9a-f]{64}")
_log = logging.getLogger(__name__)
_warned: set[str] = set()


@dataclass(frozen=True)
class Pin:
    """
    Store the base that an adapter records.

    Args:
        revision (`str`, *optional*): The commit or other revision of the base; `None` if another repository is
            recorded.
        sha256 (`str`, *optional*): The digest of the weights of the base.
    """

    revision: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Base:
    """
    Store a resolved base model.

    Args:
        name (`str`): A folder, or a repository on the Hub.
        revision (`str`, *optional*): The commit of the repository; `None` for a folder.
        sha256 (`str`, *optional*): The digest of the weights, if an adapter records the same digest.
        expected_sha256 (`str`, *optional*): The digest that an adapter records, if a base with another digest was
            accepted.
        other (`bool`): Whether a base that an adapter was not trained on was accepted.
    """

    name: str
    revision: str | None = None
    sha256: str | None = None
    expected_sha256: str | None = None
    other: bool = False

    def digest(self) -> str:
        """Return the digest of the weights, which must have been downloaded."""
        return self.sha256 or weights_digest(self.name, self.revision)

    def record(self) -> BaseRecord:
        """Return the record of the base, whose weights must have been downloaded."""
        return BaseRecord(
            name=public_name(self.name),
            commit=self.revision,
            sha256=self.digest(),
            expected_sha256=self.expected_sha256,
        )


def resolve_base(
    base: str,
    adapters: Sequence[str] = (),
    revision: str | None = None,
    recipe_revision: str | None = None,
    allow_other: bool = False,
) -> Base:
    """
    Find the commit of a base that its adapters were trained on, and compare the digest of its weights with their
    records.

    The revision comes from the first of `escoita.json`, `training.json`, `adapter_config.json` and the recipe that
    states one; the default is the head of main. No weights are loaded or downloaded.

    Args:
        base (`str`): A folder, or a repository on the Hub.
        adapters (`Sequence[str]`): The folders or repositories of adapters for it, with or without `@revision`.
        revision (`str`, *optional*): The revision that overrides those of adapters and recipe.
        recipe_revision (`str`, *optional*): The revision of the recipe.
        allow_other (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights.

    Raises:
        OtherBaseError: The base has other weights than those that an adapter was trained on.
        EscoitaError: The base is not found, a record of an adapter cannot be read, or a folder is given with a
            revision.
    """
    folder = Path(base).is_dir()
    if folder and revision:
        hint = "leave out --base-revision"
        raise EscoitaError("a folder has no revisions", path=base, key="--base-revision", value=revision, hint=hint)
    pins = {adapter: pin_of(adapter, base) for adapter in adapters}
    pinned = next((pin.revision for pin in pins.values() if pin.revision), None)
    commit = None if folder else commit_of(base, revision or pinned or recipe_revision)
    known = _digests(base, commit) if any(pin.sha256 for pin in pins.values()) else set()
    same: str | None = None
    other: str | None = None
    accepted = False
    for adapter, pin in pins.items():
        if pin.sha256 in known:
            same = pin.sha256
        elif pin.sha256:
            at = f" at {commit}" if commit else ""
            problem = f"was trained on a base with the digest {pin.sha256[:12]}…; {base}{at} has other weights"
            _refuse_or_warn(adapter, problem, pin.sha256, allow_other)
            other, accepted = pin.sha256, True
        elif commit and pin.revision and not revision:
            if pin.revision not in (pinned, commit) and not _is_commit(base, pin.revision, commit):
                problem = f"pins its base to {pin.revision}, and another adapter pins it to {pinned}"
                _refuse_or_warn(adapter, problem, pin.revision, allow_other)
                accepted = True
        elif not revision:
            _warn(f"{adapter}: records neither digest nor revision of its base; cannot check it against {base}")
    return Base(base, commit, same if other is None else None, other, accepted)


def pin_of(adapter: str, base: str) -> Pin:
    """
    Read the recorded base of an adapter.

    Args:
        adapter (`str`): A folder, or a repository on the Hub, with or without `@revision`.
        base (`str`): The folder or repository of the base. The revision of another repository is ignored.

    Raises:
        EscoitaError: The Hub cannot be reached, or a file of the adapter cannot be read.
    """
    name, digest, revision = "", None, None
    path = cached_file(adapter, "escoita.json")
    if path is not None and (found := AdapterRecord.read(path).base):
        name, revision, digest = found.name, found.commit, found.sha256
    elif training := _training(adapter):
        name, revision, digest = training.base, training.base_commit, training.base_sha256
        if not SHA256.fullmatch(digest):
            source = f"{adapter}/training.json"
            raise EscoitaError("expected a SHA-256 digest", path=source, key="base_sha256", value=digest)
    if revision and name == public_name(base):
        return Pin(revision, digest)
    path = cached_file(adapter, "adapter_config.json")
    config = read_object(path, adapter) if path else {}
    revision = config.get("revision")
    if revision is None or config.get("base_model_name_or_path") != name_as_written(base):
        return Pin(None, digest)
    if not isinstance(revision, str) or not REVISION.fullmatch(revision):
        raise EscoitaError(
            "not a revision of a repository",
            path=f"{adapter}/adapter_config.json",
            key="revision",
            value=repr(revision)[:100],
            hint="use --base-revision",
        )
    return Pin(revision, digest)


def commit_of(repo: str, revision: str | None = None) -> str:
    """
    Return the commit of a repository at a revision, from the Hub, or from the cache if the Hub cannot be reached.

    Raises:
        EscoitaError: The repository or revision is not found.
    """
    try:
        return hub_digests(repo, revision)[0]
    except HubError as error:
        with suppress(HubError):
            return cached_snapshot(repo, revision).name
        raise error


def _is_commit(repo: str, revision: str, commit: str) -> bool:
    try:
        return commit_of(repo, revision) == commit
    except EscoitaError:  # a branch or tag that was removed
        return False


def _digests(base: str, commit: str | None) -> set[str]:
    """Return the digests that records of a base may contain."""
    if commit is not None:
        with suppress(HubError):  # no connection; the weights are in the cache
            return possible_digests(hub_digests(base, commit)[1])
    return possible_digests(file_digests(base, weight_files(base, commit)))


def _refuse_or_warn(adapter: str, problem: str, expected: str, allow_other: bool) -> None:
    if not allow_other:
        hint = "select the commit of the training with --base-revision, or accept this base with --allow-other-base"
        raise OtherBaseError(problem, path=adapter, expected=expected, hint=hint)
    _warn(f"{adapter}: {problem}; accepted by --allow-other-base")


def _warn(message: str) -> None:
    """Log a warning once, although a command may resolve the same base several times."""
    if message not in _warned:
        _warned.add(message)
        _log.warning("warning: %s", visible(message))


def _training(adapter: str) -> TrainingRecord | None:
    """Return the training record next to a published adapter, or in the run directory that contains the adapter."""
    found = cached_file(adapter, "training.json")
    folder = Path(adapter)
    if found is None and folder.name == "adapter" and (folder.parent / "training.json").is_file():
        found = folder.parent / "training.json"
    try:
        return TrainingRecord.read(found) if found else None
    except RecordError:  # another file with this name
        return None
