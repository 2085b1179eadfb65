"""Provide the Hub double, a recipe and a plan to the tests of jobs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from escoita.jobs.cost import Hardware
from escoita.jobs.plan import JobPlan, plan
from escoita.recipe.schema import Recipe, load_recipe
from tests.conftest import ROOT
from tests.hub_double import HubDouble, serve


SOURCE = "escoita @ git+https://example.org/escoita@0123abc"
QUICKSTART = ROOT / "recipes/quickstart-uzbek.yaml"
A100 = Hardware("a100x4", "four", 4, 12.0, "the Hub")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        yield double


@pytest.fixture
def api(hub: HubDouble) -> HfApi:
    api = HfApi(endpoint=hub.url, token="hf_ana")
    api.create_repo("ana/corpora", repo_type="dataset")
    return api


@pytest.fixture
def recipe() -> Recipe:
    """Return a recipe with a base of the Hub, and corpora at the paths of the checkout."""
    return load_recipe(QUICKSTART, ["base=user/base"])


def upload(hub: HubDouble, recipe: Recipe) -> None:
    corpora = recipe.corpora
    paths = {corpus.path for corpus in [*corpora.train, *corpora.validation, *corpora.test]}
    hub.commit("ana/corpora", dict.fromkeys(paths, b"{}"), "Corpora", "dataset")


def planned(recipe: Recipe, **changes: object) -> JobPlan:
    options = {"source": SOURCE, "flavor": "a100x4", "timeout": "6h", "gpus": 4, "repo": "ana/adapter"} | changes
    return plan("train", recipe, **options)  # type: ignore[arg-type]
