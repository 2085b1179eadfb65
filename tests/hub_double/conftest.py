"""Provide a double, and the real client of a user with a repository there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.hub_double import HubDouble, serve


REPO = "acme/adapter"
CARD = b"---\nlanguage: gl\nbase_model: acme/base\n---\n# Adapter\n"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """Yield a double without Xet, for clients without Xet."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with serve(tmp_path / "hub") as double:
        yield double


@pytest.fixture
def api(hub: HubDouble) -> HfApi:
    """Return the client of a user with a write token and a repository with one commit."""
    api = client(hub, "ana")
    api.create_repo(REPO)
    hub.commit(REPO, {"README.md": CARD, "adapter.safetensors": b"weights " * 9000}, "Publish", author="ana")
    return api


def client(hub: HubDouble, user: str) -> HfApi:
    return HfApi(endpoint=hub.url, token=f"hf_{user}")


def status(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return int(error.value.response.status_code)
