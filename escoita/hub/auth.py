"""What a token may do, asked of the Hub before anything is trained or uploaded."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, OIDCError, RepositoryNotFoundError
from huggingface_hub.utils import httpx

from escoita.errors import PublishError
from escoita.hub.files import is_repo_id
from escoita.hub.retry import retry_after_seconds, retrying, status_of
from escoita.utils.files import NO_SPACE, cannot_write


ADVICE = {
    401: "the token is not valid, or no longer; log in with `hf auth login`",
    403: "the token may not write there; make one with write access",
    409: "it is being changed by somebody else; try again",
    412: "it changed since it was read; run the command again",
}


@contextmanager
def clear_refusals(what: str, kind: str = "repository") -> Iterator[None]:
    """
    Turns the Hub's refusals into one line that says what to do; the token is never part of it.

    Args:
        what (`str`): What the line begins with.
        kind (`str`, *optional*, defaults to `"repository"`): What is not there on a 404.
    """
    try:
        yield
    except OIDCError as error:
        raise PublishError(f"{what}: {' '.join(str(error).split())}") from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise PublishError(f"{what}: {_why(error, kind)}") from error


def _why(error: Exception, kind: str) -> str:
    status = status_of(error)
    if status is None:
        if isinstance(error, OfflineModeIsEnabled):
            return "the Hub is not asked, as HF_HUB_OFFLINE is set"
        if isinstance(error, OSError) and error.errno and error.strerror:  # of this machine, a full disk
            if error.errno in NO_SPACE:
                return str(cannot_write(Path(error.filename or tempfile.gettempdir()), error.strerror))
            return f"{error.strerror}; mend that and run the command again"
        if isinstance(error, PermissionError):  # of hf_xet, whose errors have no status
            return ADVICE[401]
        return f"the Hub cannot be reached ({type(error).__name__})"
    server = error.server_message if isinstance(error, HfHubHTTPError) else None
    reason = " ".join((server or str(error).splitlines()[0]).split())
    if status == 404:
        reason = f"there is no such {kind}, or the token may not see it"
    elif status == 429:
        asked = retry_after_seconds(error)
        reason = "too many requests; try again " + (f"in {asked:.0f} s" if asked is not None else "later")
    elif status >= 500:
        reason = "the Hub failed; run the command again, it goes on from what is there"
    return f"{ADVICE.get(status, reason)} (HTTP {status})"


def require_write(api: HfApi, repo: str | None, pr: bool = False, repo_type: str = "model") -> str:
    """
    Checks that there is a token, that the name can be a repository, and that the token may write to it.

    Where `HF_OIDC_RESOURCE` is set, huggingface_hub trades the identity of a CI job for a token that writes to that
    one repository for an hour (https://huggingface.co/docs/hub/trusted-publishers). Such a token belongs to nobody,
    and can make no repository.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`, *optional*): `user/name`.
        pr (`bool`, *optional*, defaults to `False`): A pull request is to be opened, as anybody may whose token writes
            at all; the repository must be there.
        repo_type (`str`, *optional*, defaults to `"model"`): Or `"space"`.

    Returns:
        `str`: The repository.

    Raises:
        PublishError: Says in one line what is missing.
    """
    repo = require_name(repo)
    if resource := trusted_resource(api):
        _require_trusted(api, repo, resource, repo_type)
        return repo
    if not (api.token or get_token()):
        raise PublishError("there is no token; log in with `hf auth login`, or set HF_TOKEN")
    with clear_refusals(repo):
        me = retrying(repo, known=False)(api.whoami)
        exists = is_there(api, repo, repo_type)
    if pr and not exists:
        raise PublishError(f"{repo}: there is no such repository yet to open a pull request in; push without --pr")
    owner = repo.split("/")[0]
    if not pr and owner not in {me["name"], *(org["name"] for org in me.get("orgs", []))}:
        raise PublishError(f"{repo}: the token belongs to {me['name']}, who is not {owner} nor a member of it")
    if not may_write(me, repo, exists, pr):
        raise PublishError(f"{repo}: the token may only read; make one with write access")
    return repo


def require_name(repo: str | None) -> str:
    """
    Check that a name can be that of a repository, without asking the Hub.

    Raises:
        PublishError: It cannot, or there is none.
    """
    if not repo:
        raise PublishError("no repository is named; give --repo user/name, or --set hub.repo=user/name when training")
    if not is_repo_id(repo):
        raise PublishError(f"{repo}: not the name of a repository; write user/name")
    return repo


def trusted_resource(api: HfApi) -> str | None:
    """The one thing that a CI job's token is for, where the job is a trusted publisher."""
    return None if api.token else os.environ.get("HF_OIDC_RESOURCE")


def is_there(api: HfApi, repo: str, repo_type: str = "model") -> bool:
    """Whether a repository is there and the token may see it."""
    try:
        return bool(retrying(repo, known=False)(api.repo_info, repo, repo_type=repo_type))
    except RepositoryNotFoundError:
        return False


def may_write(me: dict[str, Any], repo: str, exists: bool, pr: bool = False) -> bool:
    """
    Reads a token's rights from the answer to `whoami`.

    Args:
        me (`dict`): The answer.
        repo (`str`): `user/name`.
        exists (`bool`): Whether the repository is there; else the right is needed for its owner as a whole.
        pr (`bool`, *optional*, defaults to `False`): To open a pull request there, of which whoami says nothing clear
            for fine-grained tokens; the Hub decides.
    """
    token = me.get("auth", {}).get("accessToken", {})
    if token.get("role") != "fineGrained":
        return token.get("role") != "read"
    entities = {repo.split("/")[0], *([repo] if exists else [])}
    return pr or any(
        "repo.write" in scope.get("permissions", []) and scope.get("entity", {}).get("name") in entities
        for scope in token.get("fineGrained", {}).get("scoped", [])
    )


def _require_trusted(api: HfApi, repo: str, resource: str, repo_type: str) -> None:
    """Of a CI job: that its token is for this repository, that the Hub gives one, and that it writes there."""
    if resource != (wanted := f"spaces/{repo}" if repo_type == "space" else repo):
        raise PublishError(
            f"{repo}: this job's token is for {resource} alone, as HF_OIDC_RESOURCE says; set it to {wanted}"
        )
    try:
        with clear_refusals("trusted publishing"):
            retrying(repo, known=False)(get_token)
    except PublishError as error:
        if status_of(error.__cause__ or error) in (400, 401, 403, 404):
            raise PublishError(
                f"{repo}: the Hub gives this job no token; name its repository, branch and workflow under Trusted "
                f"Publishers in the settings of {repo}, which must be there already"
            ) from error
        raise
    with clear_refusals(repo):
        if not is_there(api, repo, repo_type):
            raise PublishError(
                f"{repo}: there is no such repository, and the token of a CI job can make none; make it"
            )
        retrying(repo)(api.auth_check, repo, write=True, repo_type=repo_type)
