"""Check what a token may do on the Hub before anything is trained or uploaded."""

import os
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from escoita.errors import PublishError
from escoita.hub.failures import HubError, explain_hub_errors, missing_token
from escoita.hub.files import is_repo_id, repository_name
from escoita.hub.retry import retrying
from escoita.utils.processes import say


class WriteAccessError(PublishError):
    """Report a token that may not write to a repository."""


class NoRepositoryError(PublishError):
    """Report a required repository that does not exist."""


def require_write(
    api: HfApi, repo: str | None, pr: bool = False, repo_type: str = "model", dry_run: bool = False
) -> str:
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
        dry_run (`bool`, *optional*, defaults to `False`): Whether nothing is to be written. Then only the name is
            checked if there is no token.

    Returns:
        `str`: The repository, by its new name if it was renamed or moved.

    Raises:
        PublishError: There is no token, or it may not write, or the repository cannot exist.
    """
    repo = require_name(repo)
    if resource := trusted_resource(api):
        _require_trusted(api, repo, resource, repo_type)
        return repo
    if not (api.token or get_token()):
        if dry_run:
            return repo
        raise missing_token(repo)
    with explain_hub_errors(repo):
        me = retrying(repo, known=False)(api.whoami)
        current = current_name(api, repo, repo_type)
    exists, repo = current is not None, follow_rename(repo, current)
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
            "no repository given", hint="set hub.repo in the recipe, or use --repo user/name (with `escoita push`)"
        )
    repo = repository_name(repo)
    if not is_repo_id(repo):
        raise PublishError("not a repository name", value=repo, hint="use the form user/name")
    return repo


def trusted_resource(api: HfApi) -> str | None:
    """Return the only repository that the token of a CI job may write to, if the job is a trusted publisher."""
    return None if api.token else os.environ.get("HF_OIDC_RESOURCE")


def repository_exists(api: HfApi, repo: str, repo_type: str = "model") -> bool:
    """Return whether a repository exists and is visible to the token."""
    return current_name(api, repo, repo_type) is not None


def current_name(api: HfApi, repo: str, repo_type: str = "model") -> str | None:
    """Return the present name of a repository, which may have been renamed; `None` if it is not visible."""
    try:
        return str(retrying(repo, known=False)(api.repo_info, repo, repo_type=repo_type).id)
    except RepositoryNotFoundError:
        return None


def follow_rename(repo: str, current: str | None) -> str:
    """Return the present name of a repository, and say so if it differs from the given one."""
    if current is None or current == repo:
        return repo
    say(f"{repo}: renamed to {current}, which is used")
    return current


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
    except HubError as error:
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
