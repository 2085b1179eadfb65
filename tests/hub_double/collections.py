"""Handle requests for collections of repositories."""

import hashlib
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import HubError
from .routing import Call
from .store import Collection, hub_date


async def create_collection(request: Request) -> Response:
    """
    Create an empty collection.

    Raises:
        [`HubError`]: 403 if the caller may not act for the namespace; 409, with the slug, if the title is not new.
    """
    call = Call.of(request)
    user, body = call.signed_in(), await call.json()
    namespace, title = body["namespace"], body["title"]
    if not user.may_act_for(namespace):
        raise HubError(403, f'You don\'t have the rights to create a collection under the namespace "{namespace}"')
    slug = _slug(namespace, title)
    if slug in call.store.collections:
        raise HubError(409, "A collection of this title exists already", body={"slug": slug})
    collection = Collection(slug, title, body.get("description"), bool(body.get("private")))
    call.store.collections[slug] = collection
    return JSONResponse(_describe(call, collection))


async def get_collection(request: Request) -> Response:
    call = Call.of(request)
    return JSONResponse(_describe(call, _collection_of(call)))


async def add_item(request: Request) -> Response:
    """
    Add a repository to a collection.

    Raises:
        [`HubError`]: 403 if the caller may not act for its namespace; 404 if there is no such repository; 409 if the
        collection contains it.
    """
    call = Call.of(request)
    user, collection, body = call.signed_in(), _collection_of(call), await call.json()
    if not user.may_act_for(collection.namespace):
        raise HubError(403, f"You don't have the required permissions to change {collection.slug}")
    item = body["item"]
    call.repo_for(item["type"], item["id"])
    if (item["type"], item["id"]) in collection.items:
        raise HubError(409, f"{item['id']} is already in {collection.slug}")
    collection.items[item["type"], item["id"]] = body.get("note")
    return JSONResponse(_describe(call, collection))


def _collection_of(call: Call) -> Collection:
    """
    Return the collection of the path.

    Raises:
        [`HubError`]: 404 if there is none, or if it is private and the caller may not act for its namespace.
    """
    collection = call.store.collections.get(f"{call.param('owner')}/{call.param('name')}")
    if collection is None or (collection.private and (call.user is None or not call.user.may_read(collection.slug))):
        raise HubError(404, "Collection not found")
    return collection


def _describe(call: Call, collection: Collection) -> dict[str, Any]:
    """Return the API's description of a collection, without repositories that the caller may not see."""
    items: list[dict[str, Any]] = []
    for (repo_type, repo_id), note in collection.items.items():
        repo = call.store.find(repo_type, repo_id)
        if repo is None or not call.may_see(repo):
            continue
        item = {"_id": _object_id(repo.resource), "id": repo_id, "type": repo_type, "position": len(items)}
        items.append(item | ({"note": {"text": note}} if note else {}))
    return {
        "slug": collection.slug,
        "title": collection.title,
        "description": collection.description,
        "owner": {"name": collection.namespace},
        "private": collection.private,
        "items": items,
        "lastUpdated": hub_date(collection.created_at),
        "position": 0,
        "theme": "orange",
        "upvotes": 0,
    }


def _slug(namespace: str, title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return f"{namespace}/{words}-{_object_id(f'{namespace} {title}')}"


def _object_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


_COLLECTION = "/api/collections/{owner:segment}/{name:segment}"
routes = [
    Route("/api/collections", create_collection, methods=["POST"]),
    Route(_COLLECTION, get_collection),
    Route(f"{_COLLECTION}/items", add_item, methods=["POST"]),
]
