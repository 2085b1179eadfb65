"""Handle requests for tokens of Xet storage. They make hf_xet use a folder of this machine as its CAS (see `cas`)."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .cas import access_token, token_expiry
from .commits import repo_to_commit_to
from .errors import HubError
from .routing import REPO_API, Call


async def read_token(request: Request) -> Response:
    call = Call.of(request)
    repo = call.repo()
    repo.at(call.param("revision"))
    return _token(call)


async def write_token(request: Request) -> Response:
    """Return a token for uploads. For a new pull request, the client uses the revision `None`."""
    call = Call.of(request)
    repo = repo_to_commit_to(call)
    if not call.flag("create_pr"):
        repo.at(call.param("revision"))
    return _token(call)


def _token(call: Call) -> Response:
    """
    Return the address of the CAS and a token: in the headers, which `huggingface_hub` reads, and in the body, which
    hf_xet reads.

    Raises:
        [`HubError`]: 404 if the double runs without Xet.
    """
    cas = call.store.cas
    if cas is None:
        raise HubError(404, "Xet is off on this server: set HF_HUB_DISABLE_XET=1 in the client's environment")
    expiry = token_expiry()
    return JSONResponse(
        {"casUrl": cas.url, "exp": expiry, "accessToken": access_token()},
        headers={
            "X-Xet-Cas-Url": cas.url,
            "X-Xet-Token-Expiration": str(expiry),
            "X-Xet-Access-Token": access_token(),
        },
    )


routes = [
    Route(f"{REPO_API}/xet-read-token/{{revision:segment}}", read_token),
    Route(f"{REPO_API}/xet-write-token/{{revision:segment}}", write_token),
]
