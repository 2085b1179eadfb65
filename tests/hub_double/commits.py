"""Handle requests for preupload and commit.

A commit is atomic: all its operations are applied to a copy of the parent's tree, the card is checked, and only then
does the branch move. A handler never awaits between reading the branch and moving it, and all handlers share one event
loop, so no lock is needed.
"""

import base64
import fnmatch
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .blobs import LFS_EXTENSIONS, BlobStore
from .card_check import check_card
from .errors import HubError
from .pulls import find_pull, open_pull
from .routing import REPO_API, Call
from .store import Repo, Tree


LARGEST_REGULAR_FILE = 10 * 2**20
PULLS = "refs/pr/"


async def preupload(request: Request) -> Response:
    """Return for each file whether it is stored in git or LFS, whether it is ignored, and the existing object id."""
    call = Call.of(request)
    repo, body = repo_to_commit_to(call), await call.json()
    tree = repo.at(call.param("revision")).tree
    ignored = [line.strip() for line in body.get("gitIgnore", "").splitlines() if line.strip()]
    return JSONResponse({"files": [_upload_plan(file, tree, ignored) for file in body["files"]]})


async def commit(request: Request) -> Response:
    """
    Commit a list of operations: a header line, then one JSON line each.

    Raises:
        [`HubError`]: 412 if `parentCommit` is no longer the head of the branch (a new pull request starts from it);
        400 for an invalid card, a file that was not uploaded or an unknown operation; 404 `EntryNotFound` if a file
        to delete does not exist. Then nothing is changed.
    """
    call = Call.of(request)
    body = await request.body()
    repo, user, revision = repo_to_commit_to(call), call.signed_in(), call.param("revision")
    header, operations = _parse_operations(body)
    branch, wanted_parent = _branch(repo, revision), header.get("parentCommit") or ""
    is_proposal = call.flag("create_pr")
    parent = repo.at(wanted_parent) if is_proposal and wanted_parent else repo.at(branch)
    if not parent.id.startswith(wanted_parent):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    tree = apply_operations(parent.tree, operations, call.store.blobs)
    _check_readme(repo, parent.tree, tree, call.store.blobs)
    title, description = header["summary"], header.get("description") or ""
    url = f"{call.base_url}{repo.url_path}"
    answer: dict[str, Any] = {"success": True, "hookOutput": ""}
    if is_proposal:
        pull = open_pull(repo, parent, title=title, description=description, author=user.name)
        branch, answer["pullRequestUrl"] = pull.ref, f"{url}/discussions/{pull.number}"
    new = repo.add_commit(branch, tree, author=user.name, title=title, message=description)
    return JSONResponse(answer | {"commitOid": new.id, "commitUrl": f"{url}/commit/{new.id}"})


def apply_operations(parent: Tree, operations: list[dict[str, Any]], blobs: BlobStore) -> Tree:
    """Return the tree after `operations` on `parent`, which is not changed."""
    tree = dict(parent)
    for operation in operations:
        kind, value = operation.get("key"), operation.get("value", {})
        path = value.get("path", "")
        if kind == "file":
            content = value["content"]
            is_base64 = value.get("encoding") == "base64"
            tree[path] = blobs.add_regular(base64.b64decode(content) if is_base64 else content.encode())
        elif kind == "lfsFile":
            tree[path] = blobs.lfs_entry(value["oid"], value["size"])
        elif kind == "deletedFile":
            if path not in tree:
                raise HubError(404, "A file with this name doesn't exist", code="EntryNotFound")
            del tree[path]
        elif kind == "deletedFolder":
            folder = path.rstrip("/") + "/"
            tree = {name: entry for name, entry in tree.items() if not name.startswith(folder)}
        else:
            raise HubError(400, f"Unknown operation in the commit: {kind}")
    return tree


def repo_to_commit_to(call: Call) -> Repo:
    """Return the repository of a call that writes to a branch, or by its author to a pull request."""
    if call.flag("create_pr"):
        return call.repo_to_propose_to()
    revision = call.param("revision")
    if not revision.startswith(PULLS):
        return call.repo(write=True)
    repo = call.repo_to_propose_to()
    pull = find_pull(repo, revision.removeprefix(PULLS))
    return repo if pull.author == call.signed_in().name else call.repo(write=True)


def _branch(repo: Repo, revision: str) -> str:
    """
    Return the ref that a commit moves.

    Raises:
        [`HubError`]: 404 `RevisionNotFound` if there is no such branch; 409 if the pull request is closed.
    """
    ref = repo.find_ref(revision)
    if ref is None or not ref.startswith(("refs/heads/", PULLS)):
        raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
    if ref.startswith(PULLS):
        pull = find_pull(repo, ref.removeprefix(PULLS))
        if pull.status not in ("open", "draft"):
            raise HubError(409, f"Pull request {pull.number} is {pull.status}")
    return ref


def _parse_operations(body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the value of the header and the operations of a commit in newline-delimited JSON."""
    try:
        header, *operations = [json.loads(line) for line in body.splitlines() if line.strip()]
    except ValueError as error:
        raise HubError(400, f"Invalid commit: {error}") from error
    if header.get("key") != "header" or not header["value"].get("summary"):
        raise HubError(400, "Invalid commit: the first line must be a header with a summary")
    return header["value"], operations


def _check_readme(repo: Repo, before: Tree, after: Tree, blobs: BlobStore) -> None:
    """Refuse a new or changed README that the card check refuses."""
    readme = after.get("README.md")
    if readme is None or readme == before.get("README.md"):
        return
    errors = check_card(blobs.text(readme), repo.repo_type).errors
    if errors:
        raise HubError(400, "; ".join(errors))


def _upload_plan(file: dict[str, Any], tree: Tree, ignored: list[str]) -> dict[str, Any]:
    path, there = file["path"], tree.get(file["path"])
    is_binary = b"\0" in base64.b64decode(file["sample"])
    is_lfs = path.endswith(LFS_EXTENSIONS) or file["size"] > LARGEST_REGULAR_FILE or is_binary
    plan: dict[str, Any] = {
        "path": path,
        "uploadMode": "lfs" if is_lfs else "regular",
        "shouldIgnore": any(fnmatch.fnmatch(path, pattern) for pattern in ignored),
    }
    if there is not None:
        plan["oid"] = there.sha256 if there.is_lfs else there.oid
    return plan


routes = [
    Route(f"{REPO_API}/preupload/{{revision:segment}}", preupload, methods=["POST"]),
    Route(f"{REPO_API}/commit/{{revision:segment}}", commit, methods=["POST"]),
]
