from collections.abc import Callable

import pytest

from escoita.models.families import BY_MODEL_TYPE
from escoita.recipe.schema import Recipe
from escoita.training.preflight import checks as versions
from escoita.training.preflight.checks import find_bitsandbytes, find_unsloth, find_versions, unmet_requirements


def pretend(monkeypatch: pytest.MonkeyPatch, there: dict[str, str], wants: dict[str, list[str]] | None = None) -> None:
    monkeypatch.setattr(versions, "installed", there.get)
    monkeypatch.setattr(versions.metadata, "requires", (wants or {}).get)


def test_what_is_installed_here_will_do(short_recipe: Callable[..., Recipe]) -> None:
    found = list(find_versions(short_recipe(), BY_MODEL_TYPE["gemma4"]))
    assert [each.mark for each in found] == ["ok"]
    assert "transformers 5." in found[0].found


def test_bounds_that_are_not_kept_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wants = [
        "transformers<=5.17.0",
        "trl!=0.19.0,<=1.15.0",
        "datasets",
        "triton; sys_platform == 'win31'",
        "x; extra == 'dev'",
    ]
    pretend(monkeypatch, {"transformers": "5.23.0", "trl": "1.15.0"}, {"unsloth": wants})
    assert list(unmet_requirements("unsloth")) == [
        "unsloth wants transformers <=5.17.0, not 5.23.0",
        "unsloth wants datasets, which is not installed",
    ]


def test_unsloth_beside_libraries_that_are_too_new(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"unsloth": "2026.10.7", "trl": "1.16.0"}, {"unsloth": ["trl<=1.15.0"]})
    found = find_unsloth()
    assert found.mark == "refusal" and "trl <=1.15.0, not 1.16.0" in found.found and "venv of its own" in found.advice
    pretend(monkeypatch, {"unsloth": "2026.10.7", "trl": "1.15.0"}, {"unsloth": ["trl<=1.15.0"]})
    assert find_unsloth().mark == "ok"
    pretend(monkeypatch, {})
    assert find_unsloth().mark == "refusal" and "escoita[unsloth]" in find_unsloth().advice


@pytest.mark.parametrize("version, mark", [(None, "refusal"), ("0.46.0", "refusal"), ("0.50.2", "ok")])
def test_bitsandbytes(monkeypatch: pytest.MonkeyPatch, version: str | None, mark: str) -> None:
    pretend(monkeypatch, {"bitsandbytes": version} if version else {})
    assert find_bitsandbytes().mark == mark


@pytest.mark.parametrize(
    "version, torchvision, refused", [("5.17.0", None, 1), ("5.17.0", "0.28", 0), ("5.23.0", None, 0)]
)
def test_gemma_4_in_a_library_that_wants_torchvision(
    short_recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    torchvision: str | None,
    refused: int,
) -> None:
    pretend(monkeypatch, {"transformers": version})
    monkeypatch.setattr(versions, "find_spec", lambda name: torchvision)
    found = list(find_versions(short_recipe(), BY_MODEL_TYPE["gemma4"]))
    assert [each.about for each in found if each.mark == "refusal"] == ["torchvision"] * refused
