"""Handle requests for whoami and for repositories."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .card_check import check_card
from .errors import HubError, header_text
from .eval_results import read_eval_results
from .repo_info import object_id, repo_info
from .routing import REPO_API, Call
from .spaces import new_space
from .store import URL_PREFIXES, Repo, is_repo_id, resource_of


async def whoami(request: Request) -> Response:
    """
    Return the user of a token.

    Raises:
        [`HubError`]: 403 for the token of a CI job. The Hub's response in this case is not known; an error is the
        worst case.
    """
    user = Call.of(request).signed_in()
    if user.resource is not None:
        raise HubError(403, "This token may not be used here")
    return JSONResponse(
        {
            "type": "user",
            "id": "0" * 24,
            "name": user.name,
            "fullname": user.name,
            "isPro": False,
            "orgs": [{"type": "org", "name": name, "roleInOrg": user.role} for name in user.organizations],
            "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}},
        }
    )


async def create_repo(request: Request) -> Response:
    call = Call.of(request)
    user, body = call.signed_in(), await call.json()
    repo_type, repo_id = _named_repo(body, user.name)
    if not is_repo_id(repo_id):
        raise HubError(400, f"Invalid repo name: {repo_id}")
    if user.resource is not None:
        raise HubError(401, "Invalid username or password.")  # a token of a CI job may not create
    if not user.may_write(resource_of(repo_type, repo_id)):
        namespace = repo_id.split("/")[0]
        raise HubError(403, f'You don\'t have the rights to create a {repo_type} under the namespace "{namespace}"')
    existing = call.store.find(repo_type, repo_id)
    if existing is not None:
        created = _created(call, existing)
        raise HubError(409, f"You already created this {repo_type} repo", body=created)
    private = body.get("visibility") == "private" or bool(body.get("private"))
    repo = Repo(repo_type, repo_id, private=private, sdk=body.get("sdk"), space=new_space(repo_type, body))
    return JSONResponse(_created(call, call.store.create(repo, author=user.name)))


async def delete_repo(request: Request) -> Response:
    call = Call.of(request)
    repo_type, repo_id = _named_repo(await call.json(), call.signed_in().name)
    call.store.delete(call.repo_for(repo_type, repo_id, write=True))
    return PlainTextResponse("OK")


async def list_repos(request: Request) -> Response:
    """Return the visible repositories of a type, by `author` and with all tags of `filter`."""
    call = Call.of(request)
    author = request.query_params.get("author")
    tags = {tag for value in request.query_params.getlist("filter") for tag in value.split(",")}
    found = []
    for repo in call.store.repos.values():
        if repo.repo_type != call.param("kind") or not call.may_see(repo) or author not in (None, repo.namespace):
            continue
        info = repo_info(repo, repo.at("main"), call.store.blobs)
        if tags <= {*info["tags"], info.get("pipeline_tag")}:
            found.append(info)
    return JSONResponse(found)


async def get_repo(request: Request) -> Response:
    """Return data of a repository at `main` or at the revision of the path; `expand` selects keys."""
    call = Call.of(request)
    repo = call.repo()
    commit = repo.at(request.path_params.get("revision", "main"))
    info = repo_info(repo, commit, call.store.blobs, with_blobs=call.flag("blobs"))
    expanded = request.query_params.getlist("expand")
    if "evalResults" in expanded:
        info["evalResults"] = read_eval_results(commit.tree, call.store.blobs)
    if expanded:
        info = {key: value for key, value in info.items() if key in ("_id", "id", "modelId", *expanded)}
    return JSONResponse(info)


async def auth_check(request: Request) -> Response:
    Call.of(request).repo()
    return JSONResponse({})


async def auth_check_write(request: Request) -> Response:
    Call.of(request).repo(write=True)
    return JSONResponse({})


async def validate_yaml(request: Request) -> Response:
    """Check a card before a commit. The client prints each message of the body in a line."""
    body = await Call.of(request).json()
    check = check_card(body["content"], body.get("repoType", "model"))
    messages = {
        "errors": [{"message": message} for message in check.errors],
        "warnings": [{"message": message} for message in check.warnings],
    }
    if not check.errors:
        return JSONResponse(messages)
    return JSONResponse(messages, 400, headers={"X-Error-Message": header_text("; ".join(check.errors))})


def _named_repo(body: dict[str, Any], default_namespace: str) -> tuple[str, str]:
    """Return the repo type and id of a request body."""
    repo_type = body.get("type") or "model"
    if repo_type not in URL_PREFIXES:
        raise HubError(400, f"Invalid repo type: {repo_type}")
    return repo_type, f"{body.get('organization') or default_namespace}/{body['name']}"


def _created(call: Call, repo: Repo) -> dict[str, str]:
    return {"url": f"{call.base_url}{repo.url_path}", "name": repo.id, "id": object_id(repo)}


routes = [
    Route("/api/whoami-v2", whoami),
    Route("/api/repos/create", create_repo, methods=["POST"]),
    Route("/api/repos/delete", delete_repo, methods=["DELETE"]),
    Route("/api/validate-yaml", validate_yaml, methods=["POST"]),
    Route("/api/{kind:kind}", list_repos),
    Route(REPO_API, get_repo),
    Route(f"{REPO_API}/revision/{{revision:segment}}", get_repo),
    Route(f"{REPO_API}/auth-check", auth_check),
    Route(f"{REPO_API}/auth-check/write", auth_check_write),
]
