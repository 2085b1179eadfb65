"""What a token may do, asked of the Hub before anything is trained or uploaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import httpx

from cards.metadata import is_repo_id
from escoita.errors import PublishError


@contextmanager
def clear_refusals(what: str) -> Iterator[None]:
    """Turns the Hub's refusals into one line that says what to do; the token is never part of it."""
    advice = {
        401: "the token is not valid; log in with `hf auth login`",
        403: "the token may not write there; make one with write access",
        404: "there is no such repository, or the token may not see it",
        409: "the repository is being changed by somebody else; try again",
        412: "the repository changed since it was read; run the command again",
    }
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = advice.get(status) or error.server_message or str(error).splitlines()[0]
        raise PublishError(f"{what}: {reason} (HTTP {status})") from error
    except (httpx.HTTPError, OSError) as error:
        raise PublishError(f"{what}: the Hub cannot be reached ({type(error).__name__})") from error


def require_write(api: HfApi, repo: str | None) -> str:
    """
    Checks that there is a token, that the name can be a repository, and that the token may write to it.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`, *optional*): `user/name`.

    Returns:
        `str`: The repository.

    Raises:
        PublishError: Says in one line what is missing.
    """
    if not repo:
        raise PublishError("no repository is named; give --repo user/name, or --set hub.repo=user/name when training")
    if not is_repo_id(repo):
        raise PublishError(f"{repo}: not the name of a repository; write user/name")
    if not (api.token or get_token()):
        raise PublishError("there is no token; log in with `hf auth login`, or set HF_TOKEN")
    with clear_refusals(repo):
        me = api.whoami()
        try:
            exists = bool(api.repo_info(repo))
        except RepositoryNotFoundError:
            exists = False
    owner = repo.split("/")[0]
    if owner not in {me["name"], *(org["name"] for org in me.get("orgs", []))}:
        raise PublishError(f"{repo}: the token belongs to {me['name']}, who is not {owner} nor a member of it")
    if not may_write(me, repo, exists):
        raise PublishError(f"{repo}: the token may only read; make one with write access")
    return repo


def may_write(me: dict[str, Any], repo: str, exists: bool) -> bool:
    """
    Reads a token's rights from the answer to `whoami`.

    Args:
        me (`dict`): The answer.
        repo (`str`): `user/name`.
        exists (`bool`): Whether the repository is there; else the right is needed for its owner as a whole.
    """
    token = me.get("auth", {}).get("accessToken", {})
    if token.get("role") != "fineGrained":
        return token.get("role") != "read"
    entities = {repo.split("/")[0], *([repo] if exists else [])}
    return any(
        "repo.write" in scope.get("permissions", []) and scope.get("entity", {}).get("name") in entities
        for scope in token.get("fineGrained", {}).get("scoped", [])
    )
