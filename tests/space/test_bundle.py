"""Test the files of the package for a Space, and its requirements."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from escoita.space import bundle as bundling
from escoita.space.bundle import CPU_INDEX, ZERO_TORCH, MissingPackageError, bundle, gradio_constraints, requirements


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return bundle()


def test_the_bundle_contains_the_package_texts_and_templates(files: dict[str, bytes]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "escoita").rglob("*.py")}
    assert modules <= set(files) and "escoita/_data/space/texts/gl.json" in files
    assert {path.split("/")[0] for path in files} == {"escoita"}


def test_the_page_can_be_imported_from_the_bundle(files: dict[str, bytes], tmp_path: Path) -> None:
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    code = (
        "from escoita.space import app, hosted, texts; import escoita; print(escoita.__file__, len(texts.texts('gl')))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, cwd=tmp_path, text=True)
    assert output.startswith(str(tmp_path)) and int(output.split()[1]) > 20


def test_requirements_contain_every_dependency_in_the_tested_version() -> None:
    pinned = dict(line.split("==") for line in requirements("t4-small").splitlines())
    assert {"torch", "transformers", "peft", "gradio", "soundfile"} <= set(pinned)
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:])
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    assert {name: tested[name.lower().replace("_", "-")] for name in pinned} == pinned


def test_torch_on_zero_gpu_is_a_supported_version() -> None:
    assert f"torch=={ZERO_TORCH}\n" in requirements("zero-a10g")
    assert f"torch=={ZERO_TORCH}\n" not in requirements("t4-small")


@pytest.mark.parametrize("hardware", ["cpu-basic", "cpu-upgrade", None])
def test_torch_on_a_cpu_is_the_build_for_cpus(hardware: str | None) -> None:
    index, *lines = requirements(hardware).splitlines()
    (torch,) = (line for line in lines if line.startswith("torch=="))
    assert index == f"--extra-index-url {CPU_INDEX}" and torch.endswith("+cpu")
    assert torch.removesuffix("+cpu") in requirements("t4-small").splitlines()
    assert "--extra-index-url" not in requirements("zero-a10g") + requirements("t4-small")


def test_versions_that_gradio_does_not_allow_are_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    specifier = gradio_constraints()["pydantic"]
    assert any(line.startswith("pydantic==") for line in requirements(None).splitlines()), "the installed version"
    monkeypatch.setattr(bundling, "installed_version", lambda name: "99.0")
    assert f"pydantic{specifier}\n" in requirements(None) and "jiwer==99.0\n" in requirements(None)


def test_optional_requirements() -> None:
    assert "bitsandbytes" not in requirements(None) and "[mcp]" not in requirements(None)
    assert "gradio[mcp]==" in requirements(None, mcp=True)
    assert "bitsandbytes==" in requirements(None, four_bit=True)


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["no-such-package>=1"])
    with pytest.raises(MissingPackageError) as caught:
        requirements(None)
    assert caught.value.package == "no-such-package"
