"""Handle requests for branches, tags and the history of commits."""

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import HubError
from .routing import REPO_API, Call
from .store import MAIN, Repo, hub_date


_REF = re.compile(r"refs/(heads|tags)/(?![./-])(?!.*(\.\.|//|/\.|@\{))[^\s~^:?*\[\\\x00-\x1f\x7f]+(?<![./])")


async def list_refs(request: Request) -> Response:
    call = Call.of(request)
    repo = call.repo()
    refs = {"branches": _refs(repo, "refs/heads/"), "tags": _refs(repo, "refs/tags/"), "converts": []}
    if call.flag("include_prs"):
        refs["pullRequests"] = _refs(repo, "refs/pr/")
    return JSONResponse(refs)


async def list_commits(request: Request) -> Response:
    """Return the commits reachable from a revision, newest first."""
    call = Call.of(request)
    repo = call.repo()
    commits = [
        {
            "id": commit.id,
            "title": commit.title,
            "message": commit.message,
            "date": hub_date(commit.date),
            "authors": [{"user": commit.author}],
        }
        for commit in repo.history(repo.at(call.param("revision")))
    ]
    return JSONResponse(commits)


async def create_branch(request: Request) -> Response:
    call = Call.of(request)
    repo, body = call.repo(write=True), await call.json()
    return _create_ref(repo, f"refs/heads/{call.param('branch')}", body.get("startingPoint", "main"))


async def create_tag(request: Request) -> Response:
    """
    Tag the revision of the path with the tag of the body.

    Raises:
        [`HubError`]: 404 `RevisionNotFound`; 400 if git does not accept the name; 409 if the tag exists, even at
        the same commit.
    """
    call = Call.of(request)
    repo, body = call.repo(write=True), await call.json()
    return _create_ref(repo, f"refs/tags/{body['tag']}", call.param("revision"))


async def delete_branch(request: Request) -> Response:
    call = Call.of(request)
    return _delete_ref(call.repo(write=True), f"refs/heads/{call.param('branch')}")


async def delete_tag(request: Request) -> Response:
    call = Call.of(request)
    return _delete_ref(call.repo(write=True), f"refs/tags/{call.param('tag')}")


def _create_ref(repo: Repo, ref: str, revision: str) -> Response:
    if _REF.fullmatch(ref) is None:
        raise HubError(400, f"Invalid reference name: {ref}")
    if ref in repo.refs:
        raise HubError(409, f"Reference already exists: {ref}")
    repo.refs[ref] = repo.at(revision).id
    return JSONResponse({})


def _delete_ref(repo: Repo, ref: str) -> Response:
    if ref == MAIN:
        raise HubError(403, "Cannot delete the main branch")
    if repo.refs.pop(ref, None) is None:
        raise HubError(404, f"Reference not found: {ref}", code="RevisionNotFound")
    return JSONResponse({})


def _refs(repo: Repo, prefix: str) -> list[dict[str, str]]:
    return [
        {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": sha}
        for ref, sha in repo.refs.items()
        if ref.startswith(prefix)
    ]


routes = [
    Route(f"{REPO_API}/refs", list_refs),
    Route(f"{REPO_API}/commits/{{revision:segment}}", list_commits),
    Route(f"{REPO_API}/branch/{{branch:segment}}", create_branch, methods=["POST"]),
    Route(f"{REPO_API}/branch/{{branch:segment}}", delete_branch, methods=["DELETE"]),
    Route(f"{REPO_API}/tag/{{revision:segment}}", create_tag, methods=["POST"]),
    Route(f"{REPO_API}/tag/{{tag:segment}}", delete_tag, methods=["DELETE"]),
]
