"""Handle requests of git LFS with the basic transfer.

A client requests a batch, uploads each missing file to the returned address, and has it verified.
"""

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import HubError
from .routing import Call, page_routes, store_of


async def batch(request: Request) -> Response:
    """Return upload addresses for the files that the double does not have."""
    call = Call.of(request)
    body = await call.json()
    if body.get("operation") == "upload":
        call.repo_to_propose_to()  # the request does not distinguish branches and pull requests
    else:
        call.repo()
    return JSONResponse({"transfer": "basic", "objects": [_upload_actions(call, file) for file in body["objects"]]})


async def upload(request: Request) -> Response:
    """
    Receive a file. As with signed URLs, the address is sufficient to write it.

    Raises:
        [`HubError`]: 400 if the content does not have the sha256 of the address; it is not stored.
    """
    sha256, blobs = request.path_params["sha256"], store_of(request).blobs
    digest, part = hashlib.sha256(), blobs.new_part()
    try:
        with part.open("wb") as file:
            async for chunk in request.stream():
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256:
            raise HubError(400, f"The content's sha256 is {digest.hexdigest()}, not {sha256}")
        blobs.adopt(part, sha256)
    finally:
        part.unlink(missing_ok=True)
    return Response()


async def verify(request: Request) -> Response:
    """Confirm that a file was received completely."""
    call = Call.of(request)
    body, blobs = await call.json(), call.store.blobs
    if not blobs.has(body["oid"]):
        raise HubError(404, f"LFS file {body['oid']} was not uploaded")
    if blobs.path(body["oid"]).stat().st_size != body["size"]:
        raise HubError(400, f"LFS file {body['oid']} does not have {body['size']} bytes")
    return JSONResponse({})


def _upload_actions(call: Call, file: dict[str, Any]) -> dict[str, Any]:
    described = {"oid": file["oid"], "size": file["size"], "authenticated": True}
    if not call.store.blobs.has(file["oid"]):
        upload_url, verify_url = f"{call.base_url}/_lfs/{file['oid']}", f"{call.base_url}/_verify"
        described["actions"] = {"upload": {"href": upload_url}, "verify": {"href": verify_url}}
    return described


routes = [
    *page_routes(".git/info/lfs/objects/batch", batch, ["POST"]),
    Route("/_lfs/{sha256:segment}", upload, methods=["PUT"]),
    Route("/_verify", verify, methods=["POST"]),
]
