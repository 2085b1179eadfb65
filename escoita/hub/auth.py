"""Check what a token may do on the Hub before anything is trained or uploaded, and explain refusals of the Hub."""

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


# Problem and hint of a status.
_REFUSALS = {
    401: ("the token is invalid or expired", "log in with `hf auth login`"),
    403: ("the token has no write access", "create a token with write access"),
    409: ("another commit is in progress", "try again"),
    412: ("the repository changed since it was read", "run the command again"),
}


class HubRequestError(PublishError):
    """
    Report a request that the Hub refused, or that got no answer.

    Args:
        status (`int`, *optional*): The HTTP status, if there was an answer.
    """

    status: int | None = None


class WriteAccessError(PublishError):
    """Report a token that may not write to a repository."""


class NoRepositoryError(PublishError):
    """Report a required repository that does not exist."""


@contextmanager
def explain_hub_errors(what: str, kind: str = "repository") -> Iterator[None]:
    """
    Convert an error of the Hub into a one-line error with a hint. The line never contains the token.

    Args:
        what (`str`): The beginning of the line, such as the name of a repository.
        kind (`str`, *optional*, defaults to `"repository"`): The kind of thing that a status 404 reports as missing.

    Raises:
        HubRequestError: The Hub refused, or cannot be reached.
    """
    try:
        yield
    except OIDCError as error:
        raise HubRequestError(" ".join(str(error).split()), path=what, status=status_of(error)) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        problem, hint = _explanation(error, kind)
        raise HubRequestError(problem, path=what, hint=hint, status=status_of(error)) from error


def _explanation(error: Exception, kind: str) -> tuple[str, str | None]:
    """Return problem and hint of an error of a request."""
    status = status_of(error)
    if status is None:
        return _explanation_without_status(error)
    server = error.server_message if isinstance(error, HfHubHTTPError) else None
    problem, hint = _REFUSALS.get(status, (" ".join((server or str(error).splitlines()[0]).split()), None))
    if status == 404:
        problem = f"{kind} not found, or not visible to the token"
    elif status == 429:
        seconds = retry_after_seconds(error)
        problem, hint = "too many requests", f"try again {'later' if seconds is None else f'in {seconds:.0f} s'}"
    elif status >= 500:
        problem, hint = "the Hub failed", "run the command again; it resumes where it stopped"
    return f"{problem} (HTTP {status})", hint


def _explanation_without_status(error: Exception) -> tuple[str, str | None]:
    if isinstance(error, OfflineModeIsEnabled):
        return "no connection to the Hub, because HF_HUB_OFFLINE is set", None
    if isinstance(error, OSError) and error.errno and error.strerror:  # of this machine
        if error.errno in NO_SPACE:
            full = cannot_write(Path(error.filename or tempfile.gettempdir()), error.strerror)
            return f"{full.path}: {full.problem}", full.hint
        return error.strerror, "correct this and run the command again"
    if isinstance(error, PermissionError):  # of hf_xet, whose errors have no status
        return _REFUSALS[401]
    return f"the Hub cannot be reached ({type(error).__name__})", None


def require_write(api: HfApi, repo: str | None, pr: bool = False, repo_type: str = "model") -> str:
    """
    Check that there is a token, that the name can be a repository, and that the token may write to it.

    If `HF_OIDC_RESOURCE` is set, huggingface_hub exchanges the identity of a CI job for a token that may write to this
    one repository for an hour (https://huggingface.co/docs/hub/trusted-publishers). Such a token belongs to no user
    and cannot create a repository.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`, *optional*): `user/name`.
        pr (`bool`, *optional*, defaults to `False`): Whether a pull request is opened, for which any token that may
            write is enough; the repository must exist.
        repo_type (`str`, *optional*, defaults to `"model"`): `"model"` or `"space"`.

    Returns:
        `str`: The repository.

    Raises:
        PublishError: There is no token, or it may not write, or the repository cannot exist.
    """
    repo = require_name(repo)
    if resource := trusted_resource(api):
        _require_trusted(api, repo, resource, repo_type)
        return repo
    if not (api.token or get_token()):
        raise PublishError("no Hugging Face token found", hint="log in with `hf auth login`, or set HF_TOKEN")
    with explain_hub_errors(repo):
        me = retrying(repo, known=False)(api.whoami)
        exists = repository_exists(api, repo, repo_type)
    if pr and not exists:
        raise NoRepositoryError(
            "a pull request needs an existing repository", path=repo, hint="push without --pr first"
        )
    owner = repo.split("/")[0]
    if not pr and owner not in {me["name"], *(org["name"] for org in me.get("orgs", []))}:
        raise WriteAccessError(f"the token belongs to {me['name']}, which is neither {owner} nor a member", path=repo)
    if not may_write(me, repo, exists, pr):
        raise WriteAccessError("the token may only read", path=repo, hint="create a token with write access")
    return repo


def require_name(repo: str | None) -> str:
    """
    Check that a name can be that of a repository, without a request to the Hub.

    Raises:
        PublishError: It cannot, or no name is given.
    """
    if not repo:
        raise PublishError(
            "no repository given", hint="use --repo user/name, or --set hub.repo=user/name during training"
        )
    if not is_repo_id(repo):
        raise PublishError("not a repository name", value=repo, hint="use the form user/name")
    return repo


def trusted_resource(api: HfApi) -> str | None:
    """Return the only repository that the token of a CI job may write to, if the job is a trusted publisher."""
    return None if api.token else os.environ.get("HF_OIDC_RESOURCE")


def repository_exists(api: HfApi, repo: str, repo_type: str = "model") -> bool:
    """Return whether a repository exists and is visible to the token."""
    try:
        return bool(retrying(repo, known=False)(api.repo_info, repo, repo_type=repo_type))
    except RepositoryNotFoundError:
        return False


def may_write(me: dict[str, Any], repo: str, exists: bool, pr: bool = False) -> bool:
    """
    Return whether a token may write to a repository, according to the answer to `whoami`.

    Args:
        me (`dict`): The answer.
        repo (`str`): `user/name`.
        exists (`bool`): Whether the repository exists; if not, the token needs the right for all repositories of its
            owner.
        pr (`bool`, *optional*, defaults to `False`): Whether a pull request is opened. For fine-grained tokens the
            answer does not tell whether this is allowed; the Hub decides.
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
    """Check that the token of a CI job is for this repository, that the Hub issues one, and that it may write."""
    if resource != (expected := f"spaces/{repo}" if repo_type == "space" else repo):
        raise WriteAccessError(
            f"the token of this job is only for {resource}", path=repo, hint=f"set HF_OIDC_RESOURCE to {expected}"
        )
    try:
        with explain_hub_errors("trusted publishing"):
            retrying(repo, known=False)(get_token)
    except HubRequestError as error:
        if error.status in (400, 401, 403, 404):
            raise WriteAccessError(
                "the Hub issues no token for this job",
                path=repo,
                hint=f"create {repo}, and add this repository, branch and workflow to its Trusted Publishers",
            ) from error
        raise
    with explain_hub_errors(repo):
        if not repository_exists(api, repo, repo_type):
            raise NoRepositoryError(
                "repository not found, and the token of a CI job cannot create one", path=repo, hint="create it first"
            )
        retrying(repo)(api.auth_check, repo, write=True, repo_type=repo_type)
