"""What was published, as it is at one commit, or as it stands in a folder."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from escoita.cards.listing import require_plain, require_plain_folder
from escoita.cards.parquet_probe import require_readable
from escoita.errors import PublishError
from escoita.hub.auth import clear_refusals
from escoita.hub.files import is_repo_id, split_revision
from escoita.hub.retry import retrying
from escoita.run_directory import RunDirectory


@dataclass(frozen=True)
class Snapshot:
    """
    All files of a repository at one commit.

    Args:
        path (`Path`): Where they are; never written to.
        repo (`str`, *optional*): `user/name`; none of a folder.
        commit (`str`, *optional*): Its id; none of a folder.
    """

    path: Path
    repo: str | None = None
    commit: str | None = None

    @property
    def name(self) -> str:
        """The repository, or the folder's own name."""
        return self.repo or self.path.resolve().name

    @property
    def run(self) -> RunDirectory:
        """The same, as it is laid out."""
        return RunDirectory(self.path)


def fetched(api: HfApi, source: str, revision: str | None = None) -> Snapshot:
    """
    Downloads a repository into the cache of huggingface_hub, or takes a folder as it is.

    Before anything is downloaded, the names and sizes of all files are looked at. A download that is cut short, as by
    a full disk, leaves only what the next one goes on with: a file has its name there when it is whole.

    Args:
        api (`HfApi`): Client of the Hub.
        source (`str`): `user/name` or `user/name@revision`, or a folder.
        revision (`str`, *optional*): Branch, tag or commit; the head of main unless given.

    Raises:
        PublishError: Says in one line why it cannot be had, or why it is not read.
    """
    if Path(source).is_dir():
        if revision:
            raise PublishError(f"{source}: a folder has no revisions; leave --revision away")
        if RunDirectory(Path(source)).adapter.is_dir():
            raise PublishError(f"{source}: is a run directory; what is verified is what escoita push makes of it")
        require_plain_folder(source, Path(source))
        require_readable(source, Path(source))
        return Snapshot(Path(source))
    source, named = split_revision(source)
    revision = revision or named
    if not is_repo_id(source):
        raise PublishError(f"{source}: neither a folder here nor the name of a repository, user/name")
    commit = checked_commit(api, source, revision)
    with clear_refusals(f"{source}@{revision}" if revision else source):
        try:
            path = retrying(source)(api.snapshot_download, source, revision=commit)
        except RuntimeError as error:  # hf_xet's own, whatever befell it
            raise PublishError(f"{source}: cannot be downloaded ({' '.join(str(error).split())})") from error
    require_plain_folder(source, Path(path))
    require_readable(source, Path(path))
    return Snapshot(Path(path), source, commit)


def checked_commit(api: HfApi, repo: str, revision: str | None = None) -> str:
    """
    The commit of a repository whose file list is within the limits; nothing is downloaded.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`.
        revision (`str`, *optional*): Branch, tag or commit; the head of main unless given.

    Raises:
        PublishError: There is no such repository or revision, or it holds too much, or names that are not plain.
    """
    with clear_refusals(f"{repo}@{revision}" if revision else repo):
        try:
            info = retrying(repo, known=False)(api.model_info, repo, revision=revision, files_metadata=True)
        except RevisionNotFoundError as error:
            raise PublishError(f"{repo}: there is no branch, tag or commit {revision}") from error
        except RepositoryNotFoundError as error:  # with 401 too, to who has no token
            raise PublishError(f"{repo}: there is no such repository, or the token may not see it") from error
    require_plain(repo, {file.rfilename: file.size or 0 for file in info.siblings or []})
    return info.sha or ""
