"""Which files a Space consists of, and what it installs."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.space import bundle as bundling
from escoita.space.bundle import ZERO_TORCH, bundle, foreign, imports, requirements, with_gradio


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return bundle()


def test_the_page_and_what_it_hears_with_go_along(files: dict[str, bytes]) -> None:
    assert {
        "escoita/space/hosted.py",
        "space/app.py",
        "space/texts/gl.json",
        "escoita/inference/serving.py",
        "escoita/__init__.py",
    } <= set(files)
    families = {f"escoita/families/{path.name}" for path in (ROOT / "escoita/families").glob("*.py")}
    assert families <= set(files)


def test_nothing_that_trains_evaluates_publishes_or_deploys_goes_along(files: dict[str, bytes]) -> None:
    assert {path.split("/")[0] for path in files} == {"escoita", "space"}
    assert not {
        "escoita/cli/main.py",
        "escoita/data/loading.py",
        "escoita/space/deploy.py",
        "escoita/space/bundle.py",
    } & set(files)


def test_no_bundled_file_imports_one_that_is_not_bundled(files: dict[str, bytes]) -> None:
    for path, content in files.items():
        if path.endswith(".py"):
            for module in imports(content.decode(), path):
                place = ROOT.joinpath(*module.split("."))
                assert module.split(".")[0] not in {"cards", "eval", "training", "bench", "tests"}, path
                if place.with_suffix(".py").is_file():
                    assert place.with_suffix(".py").relative_to(ROOT).as_posix() in files


def test_requirements_name_every_package_that_is_imported_in_the_version_that_is_tested(
    files: dict[str, bytes],
) -> None:
    pinned = dict(line.split("==") for line in requirements(files, "cpu-basic").splitlines())
    providers = metadata.packages_distributions()
    for module in foreign(files) - {"spaces", "bitsandbytes"}:
        assert set(providers[module]) & set(pinned), module
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:])
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    assert {name: tested[name.lower().replace("_", "-")] for name in pinned} == pinned


def test_on_zero_gpu_torch_is_one_that_it_knows(files: dict[str, bytes]) -> None:
    assert f"torch=={ZERO_TORCH}\n" in requirements(files, "zero-a10g")
    assert f"torch=={ZERO_TORCH}\n" not in requirements(files, "t4-small")


def test_no_version_is_asked_for_that_the_hub_cannot_install_beside_gradio(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrower = with_gradio()["pydantic"]
    assert any(line.startswith("pydantic==") for line in requirements(files, None).splitlines()), "as tried here"
    monkeypatch.setattr(bundling, "installed", lambda name: "99.0")
    assert f"pydantic{narrower}\n" in requirements(files, None) and "jiwer==99.0\n" in requirements(files, None)


def test_what_only_some_pages_need_is_installed_for_these(files: dict[str, bytes]) -> None:
    assert "bitsandbytes" not in requirements(files, None) and "[mcp]" not in requirements(files, None)
    assert "gradio[mcp]==" in requirements(files, None, mcp=True)
    assert "bitsandbytes==" in requirements(files, None, four_bit=True)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "UNSEEN", ("no-such-package",))
    with pytest.raises(EscoitaError, match=r"^no-such-package: is not installed here"):
        requirements({}, None)


def test_imports_are_found_where_they_are_run() -> None:
    text = """
import os.path
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import never
else:
    import always
def inside():
    from escoita.audio import read_audio
if __name__ == "__main__":
    import script
"""
    found = set(imports(text, "x.py"))
    assert {"os.path", "always", "escoita.audio.loading", "escoita.audio.loading.read_audio"} <= found
    assert not {"never", "script"} & found
    assert foreign({"x.py": text.encode()}) == {"always"} - sys.stdlib_module_names
