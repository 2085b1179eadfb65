"""Compare the data of the model families with their classes, the recipes and the templates of snippets."""

import subprocess
import sys

import pytest
import yaml

from escoita.models import trained_family
from escoita.models.families import BY_MODEL_TYPE, FAMILIES, FamilyInfo
from tests.conftest import ROOT


def test_cards_read_the_families_without_torch() -> None:
    code = (
        "import sys, escoita.cards.build, escoita.models.families;"
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("info", FAMILIES, ids=lambda info: info.name)
def test_the_class_of_a_family_refers_to_its_data(info: FamilyInfo) -> None:
    for model_type in info.model_types:
        family = trained_family(model_type)
        assert family is not None and family.info is info
        assert info.longest_clip.startswith(f"{family.max_audio_seconds:g} s")
    assert bool(info.audio_layers) != bool(info.modules)


@pytest.mark.parametrize(
    "recipe, name",
    [
        ("gemma4-uzbek", "gemma4"),
        ("quickstart-uzbek", "gemma4"),
        ("phi4-galician", "phi4_multimodal"),
        ("quickstart-galician", "phi4_multimodal"),
    ],
)
def test_recipes_train_the_layers_of_their_family(recipe: str, name: str) -> None:
    method = yaml.safe_load((ROOT / f"recipes/{recipe}.yaml").read_text("utf-8"))["method"]
    info = BY_MODEL_TYPE[name]
    assert method.get("target_modules", "") == info.target_modules
    assert tuple(method.get("modules", ())) == info.modules


def test_every_snippet_template_belongs_to_a_family() -> None:
    named = {info.snippet for info in FAMILIES if info.snippet}
    named |= {f"unsloth_{info.snippet}" for info in FAMILIES if info.unsloth}
    found = {path.name.removesuffix(".py.jinja") for path in (ROOT / "cards/templates/snippets").iterdir()}
    assert found == named | {"escoita"}
