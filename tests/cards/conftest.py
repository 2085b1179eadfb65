"""Provide the repositories and the run of the tests of publishing; other tests have fixtures of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from escoita.run_directory import RunDirectory
from tests.cards.publishing import (
    REPO,
    Command,
    Push,
    Pushed,
    client_environment,
    make_repositories,
    make_run,
    snapshot,
)
from tests.hub_double import HubDouble, serve


# The same examples in every run, without a time limit.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(params=["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubDouble]:
    """Yield a double with the repository of the adapter and its base; files are uploaded with LFS, and with Xet."""
    with serve(tmp_path / "hub", xet=request.param == "xet") as double:
        make_repositories(double, REPO)
        yield double


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Return a run that can be published."""
    return make_run(tmp_path / "run")


@pytest.fixture
def push(hub: HubDouble, run: RunDirectory, command: Command) -> Push:
    """Return a function that publishes, and checks exit status, output and that the run is unchanged."""

    def publish(*arguments: str, code: int = 0, repo: str = REPO, **environment: str) -> Pushed:
        before = snapshot(run.path)
        words = ("-m", "escoita", "push", "--run", str(run.path), "--repo", repo, *arguments)
        done = command(*words, **(client_environment(hub) | environment))
        assert done.returncode == code, done.stderr
        assert snapshot(run.path) == before
        assert "Traceback" not in done.stderr and "hf_ana" not in done.stderr
        return Pushed(done.stdout, done.stderr)

    return publish
