"""A Space pushed to the Hub double, downloaded into an empty folder, and run there."""

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
from tests.cards.publishing import Command, reach
from tests.hub_double import Fault, HubDouble, Repo, serve
from tests.hub_double.store import SpaceState
from tests.space.stub import CLIP


ADAPTER, BASE, SPACE = "ana/uzbek", "ana/base", "ana/page"
SPOKEN = {"language": "uz", "prompt": {"user": "Transcribe."}, "schema_version": 1}
Push = Callable[..., str]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    """An adapter and its base, as far as pushing a Space looks at them."""
    with serve(tmp_path / "hub") as double:
        for repo in (ADAPTER, BASE):
            double.store.create(Repo("model", repo), author="ana")
        config = {"base_model_name_or_path": BASE, "peft_type": "LORA"}
        files = {"adapter_config.json": json.dumps(config).encode(), "escoita.json": json.dumps(SPOKEN).encode()}
        double.commit(ADAPTER, files, "Publish")
        yield double


@pytest.fixture
def push(hub: HubDouble, command: Command) -> Push:
    """Pushes the Space, looks whether it ended as told, and gives what was said."""

    def pushed(*arguments: str, code: int = 0, **environment: str) -> str:
        words = ("-m", "escoita", "space", "push", "--repo", SPACE, "--adapter", ADAPTER, *arguments)
        done = command(*words, **(reach(hub) | environment))
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        assert not re.search("hf_ana|hf_secret", done.stderr + done.stdout)
        return done.stdout if code == 0 else done.stderr

    return pushed


def state(hub: HubDouble) -> SpaceState:
    return hub.store.repos["space", SPACE].space


def titles(hub: HubDouble) -> list[str]:
    space = hub.store.repos["space", SPACE]
    return [commit.title for commit in space.history(space.at("main"))]


def text(hub: HubDouble, name: str) -> str:
    entry = hub.store.repos["space", SPACE].at("main").tree[name]
    return hub.store.blobs.path(entry.sha256).read_text("utf-8")


def test_a_space_is_made_in_one_commit_with_all_that_it_has_beside(hub: HubDouble, push: Push) -> None:
    secrets = ("--secret", "HF_TOKEN=READING", "--variable", "A=1")
    said = push("--no-wait", "--hardware", "zero-a10g", "--example", str(CLIP), *secrets, READING="hf_secret")
    assert said == f"{hub.url}/spaces/{SPACE}\n"
    assert titles(hub) == ["Publish the page", "initial commit"]
    assert (state(hub).hardware, state(hub).secrets) == ("zero-a10g", {"HF_TOKEN": "hf_secret"})
    assert state(hub).variables == {"A": "1"}
    front = yaml.safe_load(text(hub, "README.md").split("---\n")[1])
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py" and front["python_version"] == "3.12.12"
    assert front["models"] == [BASE, ADAPTER] == front["preload_from_hub"]
    assert front["suggested_hardware"] == "zero-a10g" and len(front["short_description"]) <= 60
    assert f"gradio=={front['sdk_version']}\n" in text(hub, "requirements.txt")
    assert "torch==2.11.0\n" in text(hub, "requirements.txt")
    about = yaml.safe_load(text(hub, "space.yaml"))
    assert about["adapters"] == [ADAPTER] and about["space"]["examples"] == [f"examples/{CLIP.name}"]
    assert about["proxy_hops"] == 1, "the proxy of the Hub says who a visitor is"


@pytest.mark.slow
def test_pushing_again_changes_what_differs_alone(hub: HubDouble, push: Push) -> None:
    push("--no-wait", "--example", str(CLIP), "--hardware", "zero-a10g")
    hub.commit(SPACE, {"space/old.py": b"1", "notes.md": b"kept"}, "By hand", "space")
    push("--no-wait", "--variable", "A=1")
    assert titles(hub)[:2] == ["Publish the page", "By hand"]
    tree = hub.store.repos["space", SPACE].at("main").tree
    assert "notes.md" in tree and not {"space/old.py", f"examples/{CLIP.name}"} & set(tree)
    assert "torch==2.11.0\n" in text(hub, "requirements.txt"), "it runs on ZeroGPU still"
    assert (state(hub).variables, state(hub).hardware) == ({"A": "1"}, "zero-a10g")
    before = len(hub.log)
    push("--no-wait", "--variable", "A=1", "--hardware", "zero-a10g")
    assert titles(hub)[:2] == ["Publish the page", "By hand"]
    assert not [
        entry
        for entry in hub.log[before:]
        if entry.path.endswith(("/variables", "/hardware")) and entry.method == "POST"
    ]


def test_a_dry_run_says_what_would_be_pushed(hub: HubDouble, push: Push) -> None:
    said = push("--dry-run", "--hardware", "t4-small", "--secret", "TOKEN", "--clip", str(CLIP), TOKEN="hf_secret")
    assert "app.py" in said and "requirements.txt" in said and "kB" in said
    assert "hardware t4-small, secret TOKEN; a dry run, nothing was changed" in said
    assert ("space", SPACE) not in hub.store.repos


def test_a_refused_commit_leaves_a_space_as_it_was(hub: HubDouble, push: Push) -> None:
    push("--no-wait")
    hub.faults.append(Fault("POST", "/commit/", status=403))
    said = push("--no-wait", "--variable", "A=1", "--hardware", "t4-small", "--example", str(CLIP), code=1)
    warning, refusal = said.splitlines()
    assert "records no digest" in warning and refusal.startswith(f"escoita: {SPACE}: the token may not write there")
    assert titles(hub) == ["Publish the page", "initial commit"]
    assert (state(hub).variables, state(hub).hardware) == ({}, "cpu-basic")


@pytest.mark.slow
def test_a_build_that_fails_is_one_line_with_where_the_log_is(hub: HubDouble, push: Push) -> None:
    push("--no-wait")
    state(hub).course, state(hub).error = ("BUILDING", "BUILD_ERROR"), "no matching\ndistribution"
    said = push("--clip", str(CLIP), "--variable", "A=1", code=1).splitlines()[-1]
    where = f"{hub.url}/spaces/{SPACE}?logs=build"
    assert said == f"escoita: {SPACE}: is BUILD_ERROR (no matching distribution); its log is at {where}"


@pytest.mark.slow
def test_one_that_takes_too_long_is_told_of(hub: HubDouble, push: Push) -> None:
    push("--no-wait")
    state(hub).course = ("BUILDING",)
    said = push("--clip", str(CLIP), "--minutes", "0.01", code=1)
    assert said.splitlines()[-1].startswith(f"escoita: {SPACE}: does not run yet after 0.01 minutes")
    assert "trying again" not in said


def test_one_that_is_paused_is_told_of(hub: HubDouble, push: Push) -> None:
    push("--no-wait")
    state(hub).course = ("PAUSED",)
    said = push("--clip", str(CLIP), "--variable", "A=1", code=1).splitlines()[-1]
    assert said == f"escoita: {SPACE}: is PAUSED; look at {hub.url}/spaces/{SPACE}"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--hardware", "zero"], 1, "--hardware zero: none of a100-large"),
        (["--adapter", "./runs/uzbek"], 1, "--adapter: './runs/uzbek' is no repository"),
        (["--example", "nothing.wav"], 1, "example nothing.wav: no such file"),
        ([], 1, "no clip to try the page with; give --clip or --example, or --no-wait"),
        (["--secret", "A=NOT_SET"], 2, "the variable NOT_SET of this shell"),
        (["--variable", "A"], 2, "write KEY=VALUE"),
        (["--set", "space.max_minutes=3"], 1, "without a recipe.yaml that --set could change"),
        (["--repo", "bea/page"], 1, "the token belongs to ana"),
    ],
)
def test_what_cannot_be_pushed_is_one_line_and_changes_nothing(
    hub: HubDouble, push: Push, arguments: list[str], code: int, message: str
) -> None:
    said = push(*arguments, code=code)
    assert message in re.sub(r"[\s│]+", " ", said)
    assert not [repo for repo in hub.store.repos if repo[0] == "space"]


def test_a_license_that_the_hub_does_not_know_is_refused_by_the_dry_run_as_well(push: Push, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(load_recipe("recipes/quickstart-uzbek.yaml", ["card.license=CC BY 4.0"]).to_yaml(), "utf-8")
    for options in ([], ["--dry-run"]):
        said = push("--recipe", str(path), "--no-wait", *options, code=1)
        assert "license: the Hub does not know 'CC BY 4.0'" in said


@pytest.mark.slow
def test_a_private_adapter_needs_a_token_that_is_a_secret(hub: HubDouble, push: Push) -> None:
    hub.store.repos["model", ADAPTER].private = True
    said = push("--no-wait", code=1)
    assert f"needs a token for {ADAPTER}; give it with --secret HF_TOKEN=NAME" in said
    push("--no-wait", "--private", "--secret", "HF_TOKEN=READING", READING="hf_secret")
    assert hub.store.repos["space", SPACE].private
    front = yaml.safe_load(text(hub, "README.md").split("---\n")[1])
    assert front["preload_from_hub"] == [BASE]
    push("--no-wait")
    hub.store.repos["space", SPACE].private = False
    assert "is public already" in push("--no-wait", "--private", code=1)


@pytest.mark.slow
def test_what_was_pushed_runs_in_an_empty_folder_and_hears_as_the_model_does(
    quickstart_run: Path, command: Command, tmp_path: Path
) -> None:
    with serve(tmp_path / "hub") as hub:
        environment = reach(hub)
        done = command("-m", "escoita", "push", "--run", str(quickstart_run), "--repo", ADAPTER, **environment)
        assert done.returncode == 0, done.stderr
        space_push = ("-m", "escoita", "space", "push", "--repo", SPACE, "--adapter", ADAPTER)
        recipe = ("--recipe", "recipes/quickstart-uzbek.yaml")
        done = command(*space_push, *recipe, "--no-wait", **environment)
        assert done.returncode == 0, done.stderr
        folder = download(hub, tmp_path / "space")
        with running(folder, environment | {"HF_HOME": str(tmp_path / "visitor")}) as (address, modules):
            assert all(Path(module).is_relative_to(folder) for module in modules)
            with_client = Client(address, verbose=False)
            heard = with_client.predict(handle_file(CLIP), api_name="/transcribe")
            with_client.close()
            hub.store.repos["space", SPACE].space.host = address
            done = command(*space_push, *recipe, **environment)
        assert done.returncode == 0, done.stderr
        assert f"{SPACE}: runs, and heard what the model hears here" in done.stdout
        assert isinstance(heard, str)


def download(hub: HubDouble, folder: Path) -> Path:
    """The Space as the Hub would build it."""
    space = hub.store.repos["space", SPACE]
    for name, entry in space.at("main").tree.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(hub.store.blobs.path(entry.sha256).read_bytes())
    return folder


@contextmanager
def running(folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Runs app.py as a Space does; yield its address, and where escoita was imported from."""
    keep = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    everything = keep | environment | {"GRADIO_SERVER_PORT": str(free_port()), "HOME": environment["HF_HOME"]}
    where = "import escoita, sys; sys.stdout.write(escoita.__file__)"
    modules = subprocess.run(
        [sys.executable, "-c", where], cwd=folder, env=everything, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    with subprocess.Popen(
        [sys.executable, "app.py"], cwd=folder, env=everything, text=True, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"http://\S+", said)
            assert found, said
            yield found[0], modules
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
