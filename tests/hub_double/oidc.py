"""Handle requests for publishing without a stored token, from a job of GitHub Actions.

The job requests an id token from its issuer, and exchanges it at the Hub for a token for one repository and one hour.
The double is both. The rules are those of the Hub's documentation on trusted publishers: claims are compared
exactly, the audience is the Hub, and an error does not name the failed check.
"""

import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .access import Grant
from .errors import HubError
from .routing import Call, store_of
from .store import URL_PREFIXES, Repo, Store


ISSUER_PATH = "/_actions/id-token"
LIFETIME_SECONDS = 3600
_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105


def start_job(store: Store, url: str, claims: dict[str, str]) -> dict[str, str]:
    """Return the environment of a job of GitHub Actions with `id-token: write`, whose id tokens contain `claims`."""
    request_token = secrets.token_hex(8)
    store.jobs[request_token] = claims
    return {
        "GITHUB_ACTIONS": "true",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}{ISSUER_PATH}?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": request_token,
    }


async def issue(request: Request) -> Response:
    """
    Return an id token of a running job for the requested audience. Real tokens are signed; the double stores its own.

    Raises:
        [`HubError`]: 401 if no job has this request token.
    """
    store = store_of(request)
    claims = store.jobs.get(request.headers.get("authorization", "").removeprefix("Bearer "))
    if claims is None:
        raise HubError(401, "The request token is not that of a running job")
    id_token = secrets.token_hex(16)
    store.id_tokens[id_token] = {**claims, "aud": request.query_params.get("audience", "")}
    return JSONResponse({"value": id_token})


async def exchange(request: Request) -> Response:
    """
    Return a Hub token for an id token.

    Raises:
        [`HubError`]: 400 `invalid_request` if a parameter is missing or wrong; 400 `invalid_grant` if the id token
        is unknown or has another audience, if there is no such repository, or if the repository does not trust the
        job.
    """
    call = Call(request, user=None)
    body: dict[str, Any] = await call.json()
    resource = body.get("resource")
    kinds = (body.get("grant_type"), body.get("subject_token_type"))
    if kinds != (_GRANT_TYPE, _ID_TOKEN) or not isinstance(resource, str) or "/" not in resource:
        raise _refusal("invalid_request")
    claims = call.store.id_tokens.get(body.get("subject_token", ""), {})
    publisher = call.store.publishers.get(resource)
    if publisher is None or find_resource(call.store, resource) is None or claims.get("aud") != call.base_url:
        raise _refusal("invalid_grant")
    if any(claims.get(name) != value for name, value in publisher.items()):
        raise _refusal("invalid_grant")
    token = f"hf_jwt_{secrets.token_hex(16)}"
    call.store.grants[token] = Grant(resource, time.time() + LIFETIME_SECONDS)
    return JSONResponse(
        {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": LIFETIME_SECONDS,
            "issued_token_type": _ACCESS_TOKEN,
        }
    )


def find_resource(store: Store, resource: str) -> Repo | None:
    """Return the repository of a resource: `acme/adapter`, or with `datasets/` or `spaces/` before it."""
    kinds = {prefix: repo_type for repo_type, prefix in URL_PREFIXES.items() if prefix}
    first, _, rest = resource.partition("/")
    repo_type = kinds.get(f"{first}/")
    return store.find(repo_type, rest) if repo_type else store.find("model", resource)


def _refusal(error: str) -> HubError:
    return HubError(400, error, body={"error": error, "error_description": "The token exchange was refused"})


routes = [
    Route(ISSUER_PATH, issue),
    Route("/oauth/token", exchange, methods=["POST"]),
]
