"""Test commands with the address of a repository and with its former name, over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from escoita.run_directory import RunDirectory
from tests.cards.publishing import REPO, TITLE, Command, client_environment, commits, make_repositories, make_run
from tests.hub_double import HubDouble, serve


FORMER = "ana/former"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        make_repositories(double, REPO)
        double.store.renamed[FORMER] = REPO
        yield double


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "run")


@pytest.mark.parametrize("name", [f"{REPO}/", "https://huggingface.co/ana/uzbek", "{url}/ana/uzbek/tree/main"])
def test_push_accepts_an_address(hub: HubDouble, run: RunDirectory, command: Command, name: str) -> None:
    words = ("-m", "escoita", "push", "--run", str(run.path), "--repo", name.format(url=hub.url), "--dry-run")
    done = command(*words, **client_environment(hub))
    if "tree" in name:  # a commit is always on main
        assert done.returncode == 1 and "ana/uzbek@main" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_push_and_verify_follow_a_rename_and_say_so(hub: HubDouble, run: RunDirectory, command: Command) -> None:
    pushed = command("-m", "escoita", "push", "--run", str(run.path), "--repo", FORMER, **client_environment(hub))
    assert pushed.returncode == 0, pushed.stderr
    assert f"{FORMER}: " in pushed.stderr and REPO in pushed.stderr
    assert commits(hub)[0] == TITLE and all(entry.method != "POST" for entry in hub.log if FORMER in entry.path)
    for source in (FORMER, f"{FORMER}@main", f"{hub.url}/{FORMER}/tree/main"):
        verified = command("-m", "escoita", "verify", source, **client_environment(hub))
        assert f"{FORMER}: " in verified.stderr and f"{REPO} at commit" in verified.stderr, verified.stderr


def test_a_token_with_a_byte_order_mark(hub: HubDouble, run: RunDirectory, command: Command) -> None:
    words = ("-m", "escoita", "push", "--run", str(run.path), "--repo", REPO, "--dry-run")
    assert command(*words, **client_environment(hub, "\ufeffhf_ana ")).returncode == 0
