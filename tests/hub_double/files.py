"""Handle requests for trees, entries and the contents of files."""

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from .blobs import FileEntry, git_oid
from .errors import HubError
from .repo_info import lfs_info
from .routing import REPO_API, Call, page_routes, store_of
from .store import Commit, Repo, hub_date


async def list_tree(request: Request) -> Response:
    """Return the files and folders of a folder; `recursive` adds those of subfolders, `expand` their last commits."""
    call = Call.of(request)
    repo, folder = call.repo(), request.path_params.get("path", "").strip("/")
    commit = repo.at(call.param("revision"))
    paths = _paths_below(commit, folder, recursive=call.flag("recursive"))
    if folder and not paths:
        message = f'{folder} does not exist on "{call.param("revision")}"'
        raise HubError(404, message, code="EntryNotFound", headers={"X-Repo-Commit": commit.id})
    return JSONResponse([_describe(repo, commit, path, expand=call.flag("expand")) for path in paths])


async def paths_info(request: Request) -> Response:
    """Return entries by path, without paths that do not exist. The client sends a form, other clients JSON."""
    call = Call.of(request)
    repo = call.repo()
    commit = repo.at(call.param("revision"))
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await call.json()
        paths, expand = body["paths"], bool(body.get("expand"))
    else:
        form = parse_qs((await request.body()).decode())
        paths, expand = form.get("paths", []), form.get("expand") == ["true"]
    existing = {path for path in paths if path in commit.tree or _paths_below(commit, path, recursive=True)}
    return JSONResponse([_describe(repo, commit, path, expand=expand) for path in paths if path in existing])


async def resolve(request: Request) -> Response:
    """Return the content of a file in git, or a redirect to another host for a file in LFS."""
    call = Call.of(request)
    repo, path = call.repo(), call.param("path")
    commit = repo.at(call.param("revision"))
    entry, headers = commit.tree.get(path), {"X-Repo-Commit": commit.id}
    if entry is None:
        raise HubError(404, "Entry not found", code="EntryNotFound", headers=headers)
    if entry.is_lfs:
        return Response(status_code=302, headers={**headers, **_lfs_headers(call, repo, commit, entry)})
    headers["ETag"] = f'"{entry.oid}"'
    return FileResponse(
        call.store.blobs.path(entry.sha256),
        headers=headers,
        media_type="text/plain",
        filename=PurePosixPath(path).name,
        content_disposition_type="inline",
    )


async def download_lfs(request: Request) -> Response:
    """Return the content of an LFS file. As with signed URLs, the address is sufficient to read it."""
    sha256, blobs = request.path_params["sha256"], store_of(request).blobs
    if not blobs.has(sha256):
        raise HubError(404, "Entry not found", code="EntryNotFound")
    return FileResponse(blobs.path(sha256), headers={"ETag": f'"{sha256}"'}, media_type="application/octet-stream")


def _lfs_headers(call: Call, repo: Repo, commit: Commit, entry: FileEntry) -> dict[str, str]:
    headers = {
        "ETag": f'"{entry.sha256}"',
        "X-Linked-ETag": f'"{entry.sha256}"',
        "X-Linked-Size": str(entry.size),
        "Location": f"{call.cdn_url}/_cdn/{entry.sha256}",
    }
    if entry.xet_hash is not None:
        token_url = f"{call.base_url}/api/{repo.repo_type}s/{repo.id}/xet-read-token/{commit.id}"
        headers |= {"X-Xet-Hash": entry.xet_hash, "Link": f'<{token_url}>; rel="xet-auth"'}
    return headers


def _paths_below(commit: Commit, folder: str, *, recursive: bool) -> list[str]:
    """Return the paths of the files and folders in `folder` (`""` for the root), sorted by path."""
    prefix = f"{folder}/" if folder else ""
    paths: set[str] = set()
    for path in commit.tree:
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        depth = len(parts) if recursive else 1
        paths.update(prefix + "/".join(parts[:count]) for count in range(1, depth + 1))
    return sorted(paths)


def _describe(repo: Repo, commit: Commit, path: str, *, expand: bool) -> dict[str, Any]:
    """Return the API's description of a file or folder."""
    entry = commit.tree.get(path)
    if entry is None:
        described: dict[str, Any] = {"type": "directory", "path": path, "oid": git_oid(path.encode()), "size": 0}
    else:
        described = {"type": "file", "path": path, "oid": entry.oid, "size": entry.size}
        if entry.is_lfs:
            described["lfs"] = lfs_info(entry, "oid")
        if entry.xet_hash is not None:
            described["xetHash"] = entry.xet_hash
    if expand:
        last = repo.last_change(commit, path)
        described["lastCommit"] = {"id": last.id, "title": last.title, "date": hub_date(last.date)}
    return described


routes = [
    Route(f"{REPO_API}/tree/{{revision:segment}}", list_tree),
    Route(f"{REPO_API}/tree/{{revision:segment}}/{{path:tail}}", list_tree),
    Route(f"{REPO_API}/paths-info/{{revision:segment}}", paths_info, methods=["POST"]),
    Route("/_cdn/{sha256:segment}", download_lfs),
    *page_routes("/resolve/{revision:segment}/{path:tail}", resolve, ["GET"]),
]
