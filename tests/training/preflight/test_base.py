from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from escoita.recipe.schema import Recipe
from escoita.training.preflight.checks import Base, find_base, find_licence, look_up


def test_a_folder_says_its_licence(short_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    assert look_up(short_recipe()) == Base(licence="apache-2.0")
    recipe = short_recipe(f"base={tmp_path}")
    assert look_up(recipe) == Base()
    (tmp_path / "README.md").write_text("no front matter")
    assert look_up(recipe) == Base()
    for said in ("[mit]", "[mit"):
        (tmp_path / "README.md").write_text(f"---\nlicense: {said}\n---\n")
        assert look_up(recipe) == Base()


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any], cached: Any = None) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=answer))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names, revision: cached)


def test_the_hub_says_licence_gate_and_size(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [SimpleNamespace(rfilename=name, size=10**9) for name in ("a.safetensors", "b.safetensors", "c.bin")]
    about = SimpleNamespace(card_data={"license": "mit"}, gated="manual", siblings=files, sha="0" * 40)
    answering(monkeypatch, lambda repo, **options: about)
    recipe = short_recipe("base=user/name")
    base = look_up(recipe)
    assert base == Base("mit", gated=True, download_bytes=2 * 10**9)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    said, gate = find_base(recipe, base, "gemma4")
    assert said.found == "user/name: gemma4, 2.0 GB to download"
    assert gate.mark == "refusal" and "no token" in gate.found
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    *_, gate = find_base(recipe, base, "gemma4")
    assert gate.mark == "warning" and "hf_secret" not in f"{gate}"
    answering(monkeypatch, lambda repo, **options: about, cached="/cache/file")
    assert look_up(recipe).download_bytes == 0


def test_no_network_is_told_apart_by_the_cache(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(repo: str, **options: Any) -> None:
        raise ConnectionError("no way out")

    answering(monkeypatch, fail)
    base = look_up(short_recipe("base=user/name"))
    assert not base.at_hand and base.unknown == "the Hub cannot be asked (ConnectionError)"
    answering(monkeypatch, fail, cached="/cache/config.json")
    assert look_up(short_recipe("base=user/name")).at_hand


def test_what_cannot_be_a_repository(short_recipe: Callable[..., Recipe]) -> None:
    assert look_up(short_recipe("base=./not/here")) == Base(unknown="this is no name of a repository", at_hand=False)


@pytest.mark.parametrize(
    "licence, said, mark",
    [
        ("mit", "keep the notice", "ok"),
        ("mit", "", "warning"),
        ("gemma", "", "warning"),
        ("llama9", "read this", "warning"),
        (None, "mine", "ok"),
        (None, "", "warning"),
    ],
)
def test_licences(short_recipe: Callable[..., Recipe], licence: str | None, said: str, mark: str) -> None:
    recipe = short_recipe(f"card.base_terms={said!r}")
    (found,) = find_licence(recipe, Base(licence=licence))
    assert found.mark == mark and bool(found.advice) == (not said)
    assert any("https://" in line for line in found.details) == (licence in ("mit", "gemma"))
