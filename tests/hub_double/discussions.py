"""Handle requests for pull requests, which the Hub represents as discussions; the double has no others."""

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import HubError
from .pulls import conflicts, find_pull, merge, open_pull, pull_commits
from .routing import REPO_API, Call
from .store import MAIN, PullRequest, Repo, hub_date


async def list_discussions(request: Request) -> Response:
    """Return the pull requests, newest first, by `type`, `status` (`open` or `closed`) and `author`."""
    call = Call.of(request)
    repo, query = call.repo(), request.query_params
    is_wanted = query.get("type", "all") in ("all", "pull_request")
    pulls = [pull for pull in reversed(repo.pulls) if is_wanted and _matches(pull, query.get("status"))]
    pulls = [pull for pull in pulls if query.get("author") in (None, pull.author)]
    return JSONResponse({"count": len(pulls), "start": 0, "discussions": [_describe(repo, pull) for pull in pulls]})


async def create_discussion(request: Request) -> Response:
    """
    Open a draft of a pull request.

    Raises:
        [`HubError`]: 501 for a discussion that is not a pull request.
    """
    call = Call.of(request)
    repo, body = call.repo_to_propose_to(), await call.json()
    if not body.get("pullRequest"):
        raise HubError(501, "This Hub double has no discussions other than pull requests")
    pull = open_pull(
        repo,
        repo.at(MAIN),
        title=body["title"],
        description=body.get("description") or "",
        author=call.signed_in().name,
        status="draft",
    )
    return JSONResponse(_describe(repo, pull) | {"url": f"{call.base_url}{repo.url_path}/discussions/{pull.number}"})


async def get_discussion(request: Request) -> Response:
    """Return a pull request with its events: its description, its commits, and its comments."""
    call = Call.of(request)
    repo, pull = _pull_of(call)
    events = [_event(pull, "comment", _comment(pull.description))]
    events += [
        _event(pull, "commit", {"subject": commit.title, "oid": commit.id}) for commit in pull_commits(repo, pull)
    ]
    events += [_event(pull, "comment", _comment(text)) for text in pull.comments]
    details = {
        "events": events,
        "changes": {"base": MAIN, "mergeCommitId": pull.merge_commit},
        "filesWithConflicts": conflicts(repo, pull),
        "diff": "",
    }
    return JSONResponse(_describe(repo, pull) | details)


async def comment(request: Request) -> Response:
    call = Call.of(request)
    _, pull = _pull_of(call)
    call.repo_to_propose_to()
    pull.comments.append((await call.json())["comment"])
    return JSONResponse({"newMessage": _event(pull, "comment", _comment(pull.comments[-1]))})


async def change_status(request: Request) -> Response:
    """
    Open a draft, or close or reopen a pull request.

    Raises:
        [`HubError`]: 403 if the caller neither opened it nor may write to the repository; 409 if it was merged.
    """
    call = Call.of(request)
    repo, pull = _pull_of(call)
    user, body = call.signed_in(), await call.json()
    if not user.may_write(repo.resource) and user.name != pull.author:
        raise HubError(403, f"You don't have the required permissions to change pull request {pull.number}")
    if pull.status == "merged":
        raise HubError(409, f"Pull request {pull.number} is merged")
    pull.status = body["status"]
    return JSONResponse({"newStatus": _event(pull, "status-change", {"status": pull.status})})


async def merge_pull_request(request: Request) -> Response:
    call = Call.of(request)
    repo = call.repo(write=True)
    _, pull = _pull_of(call)
    merge(repo, pull, author=call.signed_in().name)
    return JSONResponse({"newStatus": _event(pull, "status-change", {"status": pull.status})})


def _pull_of(call: Call) -> tuple[Repo, PullRequest]:
    repo = call.repo()
    return repo, find_pull(repo, call.param("number"))


def _matches(pull: PullRequest, status: str | None) -> bool:
    is_open = pull.status in ("open", "draft")
    return status in (None, "all") or is_open == (status == "open")


def _describe(repo: Repo, pull: PullRequest) -> dict[str, Any]:
    return {
        "num": pull.number,
        "title": pull.title,
        "status": pull.status,
        "isPullRequest": True,
        "author": {"name": pull.author},
        "createdAt": hub_date(pull.created_at),
        "repo": {"name": repo.id, "type": repo.repo_type},
    }


def _comment(text: str) -> dict[str, Any]:
    return {"edited": False, "hidden": False, "latest": {"raw": text}}


def _event(pull: PullRequest, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": hashlib.sha256(f"{pull.number} {kind} {data}".encode()).hexdigest()[:24],
        "type": kind,
        "createdAt": hub_date(pull.created_at),
        "author": {"name": pull.author},
        "data": data,
    }


_PULL = f"{REPO_API}/discussions/{{number:segment}}"
routes = [
    Route(f"{REPO_API}/discussions", list_discussions),
    Route(f"{REPO_API}/discussions", create_discussion, methods=["POST"]),
    Route(_PULL, get_discussion),
    Route(f"{_PULL}/comment", comment, methods=["POST"]),
    Route(f"{_PULL}/status", change_status, methods=["POST"]),
    Route(f"{_PULL}/merge", merge_pull_request, methods=["POST"]),
]
