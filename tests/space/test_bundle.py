"""Which files a Space consists of, and what it installs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.space import bundle as bundling
from escoita.space.bundle import ZERO_TORCH, bundle, requirements, with_gradio


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return bundle()


def test_the_package_goes_along_with_the_texts_and_templates_of_the_page(files: dict[str, bytes]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "escoita").rglob("*.py")}
    assert modules <= set(files) and "escoita/_data/space/texts/gl.json" in files
    assert {path.split("/")[0] for path in files} == {"escoita"}


def test_the_page_is_imported_from_these_files_alone(files: dict[str, bytes], tmp_path: Path) -> None:
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    code = (
        "from escoita.space import app, hosted, texts; import escoita; print(escoita.__file__, len(texts.texts('gl')))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    said = subprocess.check_output([sys.executable, "-c", code], env=environment, cwd=tmp_path, text=True)
    assert said.startswith(str(tmp_path)) and int(said.split()[1]) > 20


def test_requirements_name_every_dependency_in_the_version_that_is_tested() -> None:
    pinned = dict(line.split("==") for line in requirements("cpu-basic").splitlines())
    assert {"torch", "transformers", "peft", "gradio", "soundfile"} <= set(pinned)
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:])
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    assert {name: tested[name.lower().replace("_", "-")] for name in pinned} == pinned


def test_on_zero_gpu_torch_is_one_that_it_knows() -> None:
    assert f"torch=={ZERO_TORCH}\n" in requirements("zero-a10g")
    assert f"torch=={ZERO_TORCH}\n" not in requirements("t4-small")


def test_no_version_is_asked_for_that_the_hub_cannot_install_beside_gradio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrower = with_gradio()["pydantic"]
    assert any(line.startswith("pydantic==") for line in requirements(None).splitlines()), "as tried here"
    monkeypatch.setattr(bundling, "installed", lambda name: "99.0")
    assert f"pydantic{narrower}\n" in requirements(None) and "jiwer==99.0\n" in requirements(None)


def test_what_only_some_pages_need_is_installed_for_these() -> None:
    assert "bitsandbytes" not in requirements(None) and "[mcp]" not in requirements(None)
    assert "gradio[mcp]==" in requirements(None, mcp=True)
    assert "bitsandbytes==" in requirements(None, four_bit=True)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["no-such-package>=1"])
    with pytest.raises(EscoitaError, match=r"^no-such-package: is not installed here"):
        requirements(None)
