from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch

from escoita.models.families import BY_MODEL_TYPE
from escoita.recipe.schema import Recipe
from escoita.training import arguments
from escoita.training.preflight import checks
from escoita.training.preflight.checks import (
    Base,
    find_base,
    find_bitsandbytes,
    find_license,
    find_machine,
    find_precision,
    find_unsloth,
    find_versions,
    look_up,
    unmet_requirements,
)


def test_a_machine_without_a_gpu(short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(checks, "has_nvidia_gpu", lambda: False)
    gpu, precision = find_machine(short_recipe())
    assert gpu.mark == "warning" and gpu.found.startswith("none;")
    assert (precision.mark, precision.found) == ("ok", "float32")


def test_a_gpu_that_torch_cannot_use(short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(checks, "has_nvidia_gpu", lambda: True)
    gpu = next(find_machine(short_recipe()))
    assert gpu.mark == "warning" and "CUDA" in gpu.found and "pytorch.org" in gpu.advice


@pytest.mark.parametrize(
    "precision, gpu, bf16, mark",
    [
        ("bf16", True, True, "ok"),
        ("bf16", True, False, "refusal"),
        ("bf16", False, False, "refusal"),
        ("fp16", True, False, "ok"),
        ("fp16", False, False, "refusal"),
        ("tf32", False, False, "ok"),
    ],
)
def test_precision(
    short_recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    gpu: bool,
    bf16: bool,
    mark: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    recipe = short_recipe("training.bf16=false", *([f"training.{precision}=true"] if precision != "tf32" else []))
    found = find_precision(recipe)
    assert found.mark == mark and bool(found.advice) == (mark == "refusal")


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("training", [{}, {"bf16": None}, {"use_cpu": True}])
@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_the_default_precision_is_that_of_the_training(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, gpu: bool, training: dict, dtype: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    monkeypatch.setattr(arguments, "is_torch_bf16_gpu_available", lambda: gpu)
    recipe = short_recipe().model_copy(update={"training": training, "dtype": dtype})
    bf16 = gpu and dtype == "auto" and not training.get("use_cpu")
    found = find_precision(recipe)
    assert (found.mark, found.found) == ("ok", "bf16" if bf16 else "float32")


@pytest.mark.parametrize(
    "reason, expected",
    [
        ("The NVIDIA driver on your system is too old (found version 11040). Please update", ["CUDA 11.4", "13.0"]),
        ("Found no NVIDIA driver on your system.", ["13.0", "no NVIDIA driver"]),
    ],
)
def test_a_driver_that_does_not_work_is_named(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, reason: str, expected: list[str]
) -> None:
    def init() -> None:
        raise RuntimeError(reason)

    monkeypatch.setattr("escoita.training.preflight.checks.has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    found = next(iter(find_machine(short_recipe())))
    assert (found.mark, found.about) == ("warning", "GPU") and found.advice
    assert all(part in found.found for part in expected)
    assert ("too old" in found.found) == ("too old" in reason)


def test_two_precisions_are_refused(short_recipe: Callable[..., Recipe]) -> None:
    found = find_precision(short_recipe("training.fp16=true", "training.bf16=true"))
    assert found.mark == "refusal" and "fp16" in found.found and "bf16" in found.found


def test_the_license_of_a_folder(short_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    assert look_up(short_recipe()) == Base(license="apache-2.0")
    recipe = short_recipe(f"base={tmp_path}")
    assert look_up(recipe) == Base()
    (tmp_path / "README.md").write_text("no front matter")
    assert look_up(recipe) == Base()
    for invalid in ("[mit]", "[mit"):
        (tmp_path / "README.md").write_text(f"---\nlicense: {invalid}\n---\n")
        assert look_up(recipe) == Base()


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any], cached: Any = None) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=answer))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names, revision: cached)


def test_license_gate_and_size_from_the_hub(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [SimpleNamespace(rfilename=name, size=10**9) for name in ("a.safetensors", "b.safetensors", "c.bin")]
    info = SimpleNamespace(card_data={"license": "mit"}, gated="manual", siblings=files, sha="0" * 40)
    answering(monkeypatch, lambda repo, **options: info)
    recipe = short_recipe("base=user/name")
    base = look_up(recipe)
    assert base == Base("mit", gated=True, download_bytes=2 * 10**9)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    about, gate = find_base(recipe, base, "gemma4")
    assert all(text in about.found for text in ("user/name", "gemma4", "2.0 GB"))
    assert gate.mark == "refusal"
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    *_, gate = find_base(recipe, base, "gemma4")
    assert gate.mark == "warning" and "hf_secret" not in f"{gate}"
    answering(monkeypatch, lambda repo, **options: info, cached="/cache/file")
    assert look_up(recipe).download_bytes == 0


def test_without_network_the_cache_is_used(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(repo: str, **options: Any) -> None:
        raise ConnectionError("no way out")

    answering(monkeypatch, fail)
    base = look_up(short_recipe("base=user/name"))
    assert not base.available and "no way out" in base.unknown
    answering(monkeypatch, fail, cached="/cache/config.json")
    assert look_up(short_recipe("base=user/name")).available


def test_an_invalid_repository_name(short_recipe: Callable[..., Recipe]) -> None:
    base = look_up(short_recipe("base=./not/here"))
    assert not base.available and base.unknown


@pytest.mark.parametrize(
    "license, card_text, mark",
    [
        ("mit", "keep the notice", "ok"),
        ("mit", "", "warning"),
        ("gemma", "", "warning"),
        ("llama9", "read this", "warning"),
        (None, "mine", "ok"),
        (None, "", "warning"),
    ],
)
def test_licenses(short_recipe: Callable[..., Recipe], license: str | None, card_text: str, mark: str) -> None:
    recipe = short_recipe(f"card.base_terms={card_text!r}")
    (found,) = find_license(recipe, Base(license=license))
    assert found.mark == mark and bool(found.advice) == (not card_text)
    assert any("https://" in line for line in found.details) == (license in ("mit", "gemma"))


def simulate(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], required: dict[str, list[str]] | None = None
) -> None:
    monkeypatch.setattr(checks, "installed", installed.get)
    monkeypatch.setattr(checks.metadata, "requires", (required or {}).get)


def test_the_installed_versions_are_accepted(short_recipe: Callable[..., Recipe]) -> None:
    found = list(find_versions(short_recipe(), BY_MODEL_TYPE["gemma4"]))
    assert [each.mark for each in found] == ["ok"]
    assert "transformers 5." in found[0].found


def test_unmet_requirements_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    required = [
        "transformers<=5.17.0",
        "trl!=0.19.0,<=1.15.0",
        "datasets",
        "triton; sys_platform == 'win31'",
        "x; extra == 'dev'",
    ]
    simulate(monkeypatch, {"transformers": "5.23.0", "trl": "1.15.0"}, {"unsloth": required})
    outdated, missing = unmet_requirements("unsloth")
    assert "transformers <=5.17.0" in outdated and "5.23.0" in outdated and "datasets" in missing


def test_unsloth_with_newer_libraries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, {"unsloth": "2026.10.7", "trl": "1.16.0"}, {"unsloth": ["trl<=1.15.0"]})
    found = find_unsloth()
    assert found.mark == "refusal" and "trl <=1.15.0" in found.found and "1.16.0" in found.found
    simulate(monkeypatch, {"unsloth": "2026.10.7", "trl": "1.15.0"}, {"unsloth": ["trl<=1.15.0"]})
    assert find_unsloth().mark == "ok"
    simulate(monkeypatch, {})
    assert find_unsloth().mark == "refusal" and "escoita[unsloth]" in find_unsloth().advice


@pytest.mark.parametrize("version, mark", [(None, "refusal"), ("0.46.0", "refusal"), ("0.50.2", "ok")])
def test_bitsandbytes(monkeypatch: pytest.MonkeyPatch, version: str | None, mark: str) -> None:
    simulate(monkeypatch, {"bitsandbytes": version} if version else {})
    assert find_bitsandbytes().mark == mark


@pytest.mark.parametrize(
    "version, torchvision, refused", [("5.17.0", None, 1), ("5.17.0", "0.28", 0), ("5.23.0", None, 0)]
)
def test_gemma_4_with_a_library_that_requires_torchvision(
    short_recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    torchvision: str | None,
    refused: int,
) -> None:
    simulate(monkeypatch, {"transformers": version})
    monkeypatch.setattr(checks, "find_spec", lambda name: torchvision)
    found = list(find_versions(short_recipe(), BY_MODEL_TYPE["gemma4"]))
    assert [each.about for each in found if each.mark == "refusal"] == ["torchvision"] * refused
