"""Test the push of a Space to the Hub double, and run the Space in an empty folder."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from gradio_client import Client, handle_file

from escoita.recipe.schema import load_recipe
from tests.cards.publishing import Command, client_environment
from tests.hub_double import Fault, HubDouble, Repo, serve
from tests.hub_double.store import SpaceState
from tests.space.stub import CLIP


ADAPTER, BASE, SPACE = "ana/uzbek", "ana/base", "ana/page"
ADAPTER_RECORD = {"language": "uz", "prompt": {"user": "Transcribe."}, "schema_version": 1}
Push = Callable[..., str]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    """Serve an adapter and its base, with the files that the push reads."""
    with serve(tmp_path / "hub") as double:
        for repo in (ADAPTER, BASE):
            double.store.create(Repo("model", repo), author="ana")
        config = {"base_model_name_or_path": BASE, "peft_type": "LORA"}
        files = {
            "adapter_config.json": json.dumps(config).encode(),
            "escoita.json": json.dumps(ADAPTER_RECORD).encode(),
        }
        double.commit(ADAPTER, files, "Publish")
        double.commit(BASE, {"config.json": b"{}"}, "Publish")
        yield double


@pytest.fixture
def push(hub: HubDouble, command: Command) -> Push:
    """Push the Space, check the exit status, and return the output."""

    def run_push(*options: str, code: int = 0, **environment: str) -> str:
        arguments = ("-m", "escoita", "space", "push", "--repo", SPACE, "--adapter", ADAPTER, *options)
        done = command(*arguments, **(client_environment(hub) | environment))
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        assert not re.search("hf_ana|hf_secret", done.stderr + done.stdout)
        return done.stdout if code == 0 else done.stderr

    return run_push


def state(hub: HubDouble) -> SpaceState:
    return hub.store.repos["space", SPACE].space


def commit_of(hub: HubDouble, repo: str) -> str:
    return str(hub.store.repos["model", repo].at("main").id)


def titles(hub: HubDouble) -> list[str]:
    space = hub.store.repos["space", SPACE]
    return [commit.title for commit in space.history(space.at("main"))]


def text(hub: HubDouble, name: str) -> str:
    entry = hub.store.repos["space", SPACE].at("main").tree[name]
    return hub.store.blobs.path(entry.sha256).read_text("utf-8")


def test_a_space_is_created_in_one_commit_with_its_settings(hub: HubDouble, push: Push) -> None:
    secrets = ("--secret", "HF_TOKEN=READING", "--variable", "A=1")
    output = push("--no-wait", "--hardware", "zero-a10g", "--example", str(CLIP), *secrets, READING="hf_secret")
    assert output == f"{hub.url}/spaces/{SPACE}\n"
    assert titles(hub) == ["Publish the page", "initial commit"]
    assert (state(hub).hardware, state(hub).secrets) == ("zero-a10g", {"HF_TOKEN": "hf_secret"})
    assert state(hub).variables == {"A": "1"}
    front = yaml.safe_load(text(hub, "README.md").split("---\n")[1])
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py" and front["python_version"] == "3.12.12"
    assert front["models"] == [BASE, ADAPTER]
    assert front["preload_from_hub"] == [
        f"{BASE} config.json {commit_of(hub, BASE)}",
        f"{ADAPTER} adapter_config.json,escoita.json {commit_of(hub, ADAPTER)}",
    ]
    assert front["suggested_hardware"] == "zero-a10g" and len(front["short_description"]) <= 60
    assert f"gradio=={front['sdk_version']}\n" in text(hub, "requirements.txt")
    assert "torch==2.11.0\n" in text(hub, "requirements.txt")
    settings = yaml.safe_load(text(hub, "space.yaml"))
    assert settings["adapters"] == [f"{ADAPTER}@{commit_of(hub, ADAPTER)}"]
    assert settings["base_revision"] == commit_of(hub, BASE)
    assert settings["space"]["examples"] == [f"examples/{CLIP.name}"]
    assert settings["proxy_hops"] == 1, "the proxy of the Hub adds the address of the visitor"


@pytest.mark.slow
def test_another_push_changes_only_differences(hub: HubDouble, push: Push) -> None:
    push("--no-wait", "--example", str(CLIP), "--hardware", "zero-a10g")
    hub.commit(SPACE, {"space/old.py": b"1", "notes.md": b"notes"}, "By hand", "space")
    push("--no-wait", "--variable", "A=1")
    assert titles(hub)[:2] == ["Publish the page", "By hand"]
    tree = hub.store.repos["space", SPACE].at("main").tree
    assert "notes.md" in tree and not {"space/old.py", f"examples/{CLIP.name}"} & set(tree)
    assert "torch==2.11.0\n" in text(hub, "requirements.txt"), "the hardware is unchanged"
    assert (state(hub).variables, state(hub).hardware) == ({"A": "1"}, "zero-a10g")
    before = len(hub.log)
    push("--no-wait", "--variable", "A=1", "--hardware", "zero-a10g")
    assert titles(hub)[:2] == ["Publish the page", "By hand"]
    assert not [
        entry
        for entry in hub.log[before:]
        if entry.path.endswith(("/variables", "/hardware")) and entry.method == "POST"
    ]


def test_a_dry_run_prints_the_plan(hub: HubDouble, push: Push) -> None:
    output = push("--dry-run", "--hardware", "t4-small", "--secret", "TOKEN", "--clip", str(CLIP), TOKEN="hf_secret")
    assert "app.py" in output and "requirements.txt" in output and "kB" in output
    assert "hardware t4-small, secret TOKEN" in output
    assert ("space", SPACE) not in hub.store.repos


@pytest.mark.slow
def test_a_refused_commit_does_not_change_a_space(hub: HubDouble, push: Push) -> None:
    push("--no-wait")
    hub.faults.append(Fault("POST", "/commit/", status=403))
    push("--no-wait", "--variable", "A=1", "--hardware", "t4-small", "--example", str(CLIP), code=1)
    assert titles(hub) == ["Publish the page", "initial commit"]
    assert (state(hub).variables, state(hub).hardware) == ({}, "cpu-basic")


@pytest.mark.slow
def test_a_failed_build_is_reported_with_the_address_of_its_log(hub: HubDouble, push: Push) -> None:
    push("--no-wait")
    state(hub).course, state(hub).error = ("BUILDING", "BUILD_ERROR"), "no matching\ndistribution"
    error = push("--clip", str(CLIP), "--variable", "A=1", code=1).splitlines()[-1]
    assert error.startswith(f"escoita: {SPACE}: ") and error.endswith(f"{hub.url}/spaces/{SPACE}?logs=build")
    assert "BUILD_ERROR (no matching distribution)" in error


@pytest.mark.slow
def test_a_slow_build_is_reported(hub: HubDouble, push: Push) -> None:
    push("--no-wait")
    state(hub).course = ("BUILDING",)
    output = push("--clip", str(CLIP), "--minutes", "0.01", code=1)
    error = output.splitlines()[-1]
    assert "0.01 minutes" in error and error.endswith(f"{hub.url}/spaces/{SPACE}?logs=build")
    assert not re.search(r"\bagain\b|retry", output)


@pytest.mark.slow
def test_a_paused_space_is_reported(hub: HubDouble, push: Push) -> None:
    push("--no-wait")
    state(hub).course = ("PAUSED",)
    error = push("--clip", str(CLIP), "--variable", "A=1", code=1).splitlines()[-1]
    assert "PAUSED" in error and error.endswith(f"{hub.url}/spaces/{SPACE}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "place"),
    [
        (["--hardware", "zero"], 1, "--hardware zero"),
        (["--adapter", "./runs/uzbek"], 1, "--adapter ./runs/uzbek"),
        (["--example", "nothing.wav"], 1, "example: nothing.wav"),
        ([], 1, SPACE),
        (["--secret", "A=NOT_SET"], 2, "NOT_SET"),
        (["--variable", "A"], 2, "KEY=VALUE"),
        (["--set", "space.max_minutes=3"], 1, ADAPTER),
        (["--repo", "bea/page"], 1, "bea/page"),
    ],
)
def test_invalid_options_change_nothing(hub: HubDouble, push: Push, options: list[str], code: int, place: str) -> None:
    output = push(*options, code=code)
    assert place in re.sub(r"[\s│]+", " ", output)
    assert not [repo for repo in hub.store.repos if repo[0] == "space"]


def test_an_unknown_license_is_also_refused_by_the_dry_run(push: Push, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(load_recipe("recipes/quickstart-uzbek.yaml", ["card.license=CC BY 4.0"]).to_yaml(), "utf-8")
    for options in ([], ["--dry-run"]):
        error = push("--recipe", str(path), "--no-wait", *options, code=1).splitlines()[-1]
        assert "license" in error and "CC BY 4.0" in error


@pytest.mark.slow
def test_a_private_adapter_needs_a_token(hub: HubDouble, push: Push) -> None:
    hub.store.repos["model", ADAPTER].private = True
    error = push("--no-wait", code=1).splitlines()[-1]
    assert ADAPTER in error and "--secret HF_TOKEN=NAME" in error
    for token in ("hf_read_bea", "hf_expired_ana"):
        error = push("--no-wait", "--secret", "HF_TOKEN=READING", READING=token, code=1).splitlines()[-1]
        assert ADAPTER in error and token not in error
    assert ("space", SPACE) not in hub.store.repos
    push("--no-wait", "--private", "--secret", "HF_TOKEN=READING", READING="hf_read_ana")
    assert hub.store.repos["space", SPACE].private
    front = yaml.safe_load(text(hub, "README.md").split("---\n")[1])
    assert front["preload_from_hub"] == [f"{BASE} config.json {commit_of(hub, BASE)}"]
    push("--no-wait")
    hub.store.repos["space", SPACE].private = False
    assert SPACE in push("--no-wait", "--private", code=1).splitlines()[-1]


@pytest.mark.slow
def test_the_revisions_of_named_adapters_are_pinned(hub: HubDouble, push: Push) -> None:
    first = commit_of(hub, ADAPTER)
    hub.commit(ADAPTER, {"notes.md": b"later"}, "Later")
    push("--no-wait", "--adapter", f"uz={ADAPTER}@{first}")
    assert yaml.safe_load(text(hub, "space.yaml"))["adapters"] == [f"uz={ADAPTER}@{first}"]
    assert "torch==" in text(hub, "requirements.txt") and "+cpu" in text(hub, "requirements.txt")


@pytest.mark.slow
def test_a_pushed_space_runs_in_an_empty_folder_with_the_same_transcript(
    quickstart_run: Path, command: Command, tmp_path: Path
) -> None:
    with serve(tmp_path / "hub") as hub:
        environment = client_environment(hub)
        done = command(
            "-m", "escoita", "push", "--run", str(quickstart_run), "--repo", ADAPTER, "--publish-base", **environment
        )
        assert done.returncode == 0, done.stderr
        space_push = ("-m", "escoita", "space", "push", "--repo", SPACE, "--adapter", ADAPTER)
        recipe = ("--recipe", "recipes/quickstart-uzbek.yaml")
        done = command(*space_push, *recipe, "--no-wait", **environment)
        assert done.returncode == 0, done.stderr
        folder = download(hub, tmp_path / "space")
        with running(folder, environment | {"HF_HOME": str(tmp_path / "visitor")}) as (address, modules):
            assert all(Path(module).is_relative_to(folder) for module in modules)
            client = Client(address, verbose=False)
            transcript = client.predict(handle_file(CLIP), api_name="/transcribe")
            client.close()
            hub.store.repos["space", SPACE].space.host = address
            done = command(*space_push, *recipe, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{SPACE}: ")
        assert isinstance(transcript, str)


def download(hub: HubDouble, folder: Path) -> Path:
    """Download the files of the Space."""
    space = hub.store.repos["space", SPACE]
    for name, entry in space.at("main").tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hub.store.blobs.path(entry.sha256).read_bytes())
    return folder


@contextmanager
def running(folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Run app.py like a Space; yield its URL, and the file from which escoita is imported."""
    inherited = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    variables = inherited | environment | {"GRADIO_SERVER_PORT": str(free_port()), "HOME": environment["HF_HOME"]}
    code = "import escoita, sys; sys.stdout.write(escoita.__file__)"
    modules = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=variables, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    with subprocess.Popen(
        [sys.executable, "app.py"], cwd=folder, env=variables, text=True, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = re.search(r"http://\S+", line)
            assert url, line
            yield url[0], modules
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
