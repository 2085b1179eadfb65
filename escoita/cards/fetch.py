"""Fetch the published files of one commit, or use those of a folder."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi

from escoita.cards.listing import require_plain, require_plain_folder
from escoita.cards.parquet_probe import require_readable
from escoita.errors import PublishError
from escoita.hub.auth import follow_rename
from escoita.hub.failures import explain_hub_errors
from escoita.hub.files import is_repo_id, split_revision
from escoita.hub.retry import retrying
from escoita.run_directory import RunDirectory


@dataclass(frozen=True)
class Snapshot:
    """
    Represent all files of a repository at one commit.

    Args:
        path (`Path`): Folder with the files; never written to.
        repo (`str`, *optional*): `user/name`; none for a folder.
        commit (`str`, *optional*): Id of the commit; none for a folder.
    """

    path: Path
    repo: str | None = None
    commit: str | None = None

    @property
    def name(self) -> str:
        """Return the repository, or the name of the folder."""
        return self.repo or self.path.resolve().name

    @property
    def run(self) -> RunDirectory:
        """Return the files as a run directory."""
        return RunDirectory(self.path)


def fetched(api: HfApi, source: str, revision: str | None = None) -> Snapshot:
    """
    Download a repository into the cache of huggingface_hub, or use a folder.

    The names and sizes of all files are checked before the download. An interrupted download leaves only partial files
    that the next one resumes.

    Args:
        api (`HfApi`): Client of the Hub.
        source (`str`): `user/name` or `user/name@revision`, or a folder.
        revision (`str`, *optional*): Branch, tag or commit; default: the head of main.

    Raises:
        PublishError: The repository or folder is not found, cannot be downloaded, or is refused.
    """
    if Path(source).is_dir():
        if revision:
            raise PublishError(
                "a folder has no revisions", path=source, key="--revision", value=revision, hint="remove --revision"
            )
        if RunDirectory(Path(source)).adapter.is_dir():
            raise PublishError(
                "expected published files, found a run directory", path=source, hint="publish it with `escoita push`"
            )
        require_plain_folder(source, Path(source))
        require_readable(source, Path(source))
        return Snapshot(Path(source))
    source, named = split_revision(source)
    revision = revision or named
    if not is_repo_id(source):
        raise PublishError("neither an existing folder nor the name of a repository, user/name", path=source)
    source, commit = checked_commit(api, source, revision)
    with explain_hub_errors(source, value=revision):
        try:
            path = retrying(source)(api.snapshot_download, source, revision=commit)
        except RuntimeError as error:  # any failure of hf_xet
            raise PublishError(f"download failed ({' '.join(str(error).split())})", path=source) from error
    require_plain_folder(source, Path(path))
    require_readable(source, Path(path))
    return Snapshot(Path(path), source, commit)


def checked_commit(api: HfApi, repo: str, revision: str | None = None) -> tuple[str, str]:
    """
    Return the present name and the commit of a repository after checking the names and sizes of its files; nothing is
    downloaded.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`.
        revision (`str`, *optional*): Branch, tag or commit; default: the head of main.

    Raises:
        PublishError: The repository or revision is not found, or its files are refused.
    """
    with explain_hub_errors(repo, local=True, value=revision):
        info = retrying(repo, known=False)(api.model_info, repo, revision=revision, files_metadata=True)
    require_plain(repo, {file.rfilename: file.size or 0 for file in info.siblings or []})
    return follow_rename(repo, info.id), info.sha or ""
