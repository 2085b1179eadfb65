"""Test the memory estimate of the Uzbek recipe on a base with the configuration of Gemma 4 E4B in 4 bits."""

import pytest

from escoita.models import family_of
from escoita.recipe.schema import Recipe, load_recipe
from escoita.training.backends import untrained
from escoita.training.preflight.memory import Estimate
from escoita.training.preflight.model import Longest, encode_longest, find_memory
from tests.conftest import ROOT
from tests.models.shapes import write_e4b


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("bases") / "e4b"
    write_e4b(folder, four_bit=True)
    return load_recipe(ROOT / "recipes/gemma4-uzbek.yaml", [f"base={folder}", "engine=transformers"])


def memory(recipe: Recipe, seconds: float, monkeypatch: pytest.MonkeyPatch, on_gpu: bool = False) -> Estimate:
    """Return the estimate for the recipe's batch of clips of this length, with 60 characters of text each."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: on_gpu)
    monkeypatch.setattr("escoita.training.preflight.model.free_memory", lambda: int(24e9))
    family = family_of(recipe.base)
    processor = family.load_processor(recipe.base)
    longest = Longest(seconds, "a" * 60, True)
    return find_memory(recipe, untrained(recipe), encode_longest(recipe, family, processor, longest, 8), longest)[1]


def gigabytes(found: Estimate) -> dict[str, float]:
    return {name: round(getattr(found, name) / 1e9, 2) for name in Estimate.__dataclass_fields__}


@pytest.mark.slow
def test_memory_of_each_part(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gigabytes(memory(recipe, 5, monkeypatch)) == {
        "base": 4.35,  # 4-bit language tower; the other towers and the head, which is also the embeddings, in 16 bits
        "tables": 5.64,  # the embeddings of each layer
        "trained": 0.08,
        "copies": 0.04,
        "gradients": 0.08,
        "optimizer": 0.04,
        "activations": pytest.approx(3.56, abs=0.05),
        "workspace": pytest.approx(1.13, abs=0.05),
        "context": 0.0,
    }


@pytest.mark.slow
@pytest.mark.parametrize("seconds, total", [(5, 14.9), (10, 18.2), (15, 21.4), (30, 29.8)])
def test_memory_of_the_recipes_batch(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, seconds: float, total: float
) -> None:
    assert memory(recipe, seconds, monkeypatch).total / 1e9 == pytest.approx(total, abs=0.1)
