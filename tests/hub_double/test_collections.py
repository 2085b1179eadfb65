"""Test collections with the real client."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hub_double import HubDouble

from .conftest import REPO, client, status


def test_a_collection_is_created_and_filled_once(api: HfApi, hub: HubDouble) -> None:
    made = api.create_collection("Speech adapters", namespace="acme", description="What we publish.")
    assert made.slug.startswith("acme/speech-adapters-") and not made.items
    assert api.create_collection("Speech adapters", namespace="acme", exists_ok=True).slug == made.slug
    filled = api.add_collection_item(made.slug, REPO, "model", note="The first")
    assert [(item.item_id, item.item_type, item.note) for item in filled.items] == [(REPO, "model", "The first")]
    assert len(api.add_collection_item(made.slug, REPO, "model", exists_ok=True).items) == 1
    collection = api.get_collection(made.slug)
    assert (collection.title, collection.description) == ("Speech adapters", "What we publish.")
    assert hub.store.collections[made.slug].items == {("model", REPO): "The first"}


def test_collections_refuse_duplicates_other_users_and_missing_repositories(api: HfApi, hub: HubDouble) -> None:
    slug = api.create_collection("Mine", namespace="ana", private=True).slug
    api.add_collection_item(slug, REPO, "model")
    bea, reader = client(hub, "bea"), client(hub, "read_ana")
    attempts = [
        (lambda: api.create_collection("Mine", namespace="ana"), 409),
        (lambda: api.add_collection_item(slug, REPO, "model"), 409),
        (lambda: api.add_collection_item(slug, "acme/absent", "model"), 404),
        (lambda: api.get_collection("ana/absent-0"), 404),
        (lambda: bea.get_collection(slug), 404),
        (lambda: bea.create_collection("Hers", namespace="ana"), 403),
        (lambda: reader.add_collection_item(slug, REPO, "model"), 403),
    ]
    for attempt, expected in attempts:
        with pytest.raises(HfHubHTTPError) as error:
            attempt()
        assert status(error) == expected
    assert len(api.get_collection(slug).items) == 1
