"""Which base model an adapter belongs to: its repository or folder, the commit, and the digest of the weights."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from escoita.errors import EscoitaError, OtherBaseError, RecordError
from escoita.hub.files import (
    cached_file,
    cached_snapshot,
    hub_digests,
    possible_digests,
    weight_files,
    weight_name,
    weights_digest,
)
from escoita.records.training import AdapterRecord, BaseRecord, TrainingRecord
from escoita.utils.files import public_name, remembered_sha256
from escoita.utils.formatting import visible
from escoita.utils.untrusted import read_object


# A branch, a tag, a commit, or `refs/pr/1`; never a path that leads out of a folder.
REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./+-]{0,199}")
SHA256 = re.compile("[0-9a-f]{64}")
_log = logging.getLogger(__name__)
_warned: set[str] = set()


@dataclass(frozen=True)
class Pin:
    """
    What an adapter says of the base that it was trained on.

    Args:
        revision (`str`, *optional*): Commit or other revision of the base; none if it names another repository.
        sha256 (`str`, *optional*): Digest of the weights of the base.
    """

    revision: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Base:
    """
    A base model that is ready to be loaded.

    Args:
        name (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): Commit of the repository; none for a folder.
        sha256 (`str`, *optional*): Digest of the weights, if an adapter records it and it is the same.
        expected_sha256 (`str`, *optional*): Digest that an adapter records, if the base has another one and that was
            accepted.
        other (`bool`): An adapter was trained on another base, and that was accepted.
    """

    name: str
    revision: str | None = None
    sha256: str | None = None
    expected_sha256: str | None = None
    other: bool = False

    def digest(self) -> str:
        """Return the digest of the weights; those of a repository must have been loaded."""
        return self.sha256 or weights_digest(self.name, self.revision)

    def record(self) -> BaseRecord:
        """Return what is recorded of the base; the weights of a repository must have been loaded."""
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
    Find the commit of a base that its adapters belong to, and compare the digest of its weights with their records.

    The revision is that of `escoita.json`, else of `training.json`, else of `adapter_config.json`, else of the recipe,
    else the head of main. Nothing is loaded, and no weights are downloaded.

    Args:
        base (`str`): A folder, or a repository of the Hub.
        adapters (`Sequence[str]`): Folders or repositories of adapters for it, with or without `@revision`.
        revision (`str`, *optional*): Takes the place of what adapters and recipe say.
        recipe_revision (`str`, *optional*): What the recipe says.
        allow_other (`bool`, *optional*, defaults to `False`): Accept a base with other weights.

    Raises:
        OtherBaseError: The base has other weights than an adapter was trained on.
        EscoitaError: The base cannot be found, a record of an adapter cannot be read, or a folder is given with a
            revision.
    """
    folder = Path(base).is_dir()
    if folder and revision:
        raise EscoitaError(f"base {base}: a folder has no revisions; leave --base-revision away")
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
            reason = (
                f"adapter {adapter}: was trained on a base with the digest {pin.sha256[:12]}…; {base}{at} has other"
                " weights"
            )
            _refuse_or_warn(reason, pin.sha256, allow_other)
            other, accepted = pin.sha256, True
        elif commit and pin.revision and not revision:
            if pin.revision not in (pinned, commit) and not _is_commit(base, pin.revision, commit):
                reason = f"adapter {adapter}: pins its base to {pin.revision}, and another adapter pins it to {pinned}"
                _refuse_or_warn(reason, pin.revision, allow_other)
                accepted = True
        elif not revision:
            _warn(
                f"adapter {adapter}: records no digest and no revision of its base, so it was not checked that it was"
                f" trained on {base}"
            )
    return Base(base, commit, same if other is None else None, other, accepted)


def pin_of(adapter: str, base: str) -> Pin:
    """
    Read what an adapter says of its base.

    Args:
        adapter (`str`): A folder, or a repository of the Hub, with or without `@revision`.
        base (`str`): Folder or repository of the base that is used. A revision of another repository is not used.

    Raises:
        EscoitaError: The Hub cannot be asked, or a file of the adapter cannot be read.
    """
    name, digest, revision = "", None, None
    path = cached_file(adapter, "escoita.json")
    if path is not None and (found := AdapterRecord.read(path).base):
        name, revision, digest = found.name, found.commit, found.sha256
    elif training := _training(adapter):
        name, revision, digest = training.base, training.base_commit, training.base_sha256
        if not SHA256.fullmatch(digest):
            raise EscoitaError(f"adapter {adapter}: training.json: base_sha256 is no SHA-256")
    if revision and name == public_name(base):
        return Pin(revision, digest)
    path = cached_file(adapter, "adapter_config.json")
    config = read_object(path, f"adapter {adapter}") if path else {}
    revision = config.get("revision")
    if revision is None or config.get("base_model_name_or_path") != base:
        return Pin(None, digest)
    if not isinstance(revision, str) or not REVISION.fullmatch(revision):
        raise EscoitaError(
            f"adapter {adapter}: adapter_config.json: revision: {visible(repr(revision))[:100]} is no revision of a"
            " repository; give --base-revision"
        )
    return Pin(revision, digest)


def commit_of(repo: str, revision: str | None = None) -> str:
    """
    Return the commit of a repository at a revision, from the Hub or, if that cannot be reached, from the cache.

    Raises:
        EscoitaError: There is no such repository or revision.
    """
    try:
        return hub_digests(repo, revision)[0]
    except ValueError as error:  # no name of a repository
        raise EscoitaError(f"base {repo}: neither a folder here nor a model of the Hub, user/name") from error
    except OSError as error:
        try:
            return cached_snapshot(repo, revision).name
        except EscoitaError:
            at = f" at {revision}" if revision else ""
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise EscoitaError(
                f"base {repo}{at}: neither a folder here nor to be had from the Hub ({visible(reason)[:300]})"
            ) from error


def _is_commit(repo: str, revision: str, commit: str) -> bool:
    try:
        return commit_of(repo, revision) == commit
    except EscoitaError:  # a branch or tag that was removed
        return False


def _digests(base: str, commit: str | None) -> set[str]:
    """Digests that a record may hold of a base."""
    if commit is not None:
        try:
            return possible_digests(hub_digests(base, commit)[1])
        except OSError:  # no connection; the weights are in the cache
            pass
    files = {weight_name(path): remembered_sha256(path) for path in weight_files(base, commit)}
    return possible_digests(files)


def _refuse_or_warn(reason: str, expected: str, allow_other: bool) -> None:
    if not allow_other:
        raise OtherBaseError(
            f"{reason}. Name the commit that was trained on with --base-revision, or accept another base with"
            " --allow-other-base",
            expected=expected,
        )
    _warn(f"{reason}; accepted by --allow-other-base")


def _warn(message: str) -> None:
    """Log a warning once, although a command may resolve the same base several times."""
    if message not in _warned:
        _warned.add(message)
        _log.warning("warning: %s", visible(message))


def _training(adapter: str) -> TrainingRecord | None:
    """What escoita recorded at training time: next to a published adapter, or in the run directory that holds it."""
    found = cached_file(adapter, "training.json")
    folder = Path(adapter)
    if found is None and folder.name == "adapter" and (folder.parent / "training.json").is_file():
        found = folder.parent / "training.json"
    try:
        return TrainingRecord.read(found) if found else None
    except RecordError:  # somebody else's file of that name
        return None
