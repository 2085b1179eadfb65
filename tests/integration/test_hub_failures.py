"""Test the message of commands for each cause of a failed request to the Hub, over HTTP."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from escoita.run_directory import RunDirectory
from tests.cards.publishing import BASE, REPO, Command, client_environment, make_repositories, make_run
from tests.conftest import CORPUS, write_manifest
from tests.hub_double import HubDouble, Repo, serve
from tests.hub_double.faults import Fault


pytestmark = pytest.mark.slow

# Runs the command as `escoita` does, and prints the fields of its error, which the line in words does not show.
RUN = """
import sys
import escoita.cli.main as main
shown = main._print_error
def show(error):
    shown(error)
    print("error", getattr(error, "cause", None), error.path, error.value, sep="|")
main._print_error = show
main.main()
"""
GATED = {"X-Error-Code": "GatedRepo"}
READING = ("verify", "transcribe", "eval")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        make_repositories(double, REPO)
        double.store.create(Repo("model", "ana/private", private=True), author="ana")
        yield double


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "run")


@dataclass
class Failure:
    """
    Store the end of a command.

    Args:
        cause (`str`): Cause of the error.
        path (`str`): Repository concerned.
        value (`str`): Revision, file or folder concerned.
        line (`str`): Line in words.
    """

    cause: str
    path: str
    value: str
    line: str = field(compare=False)


Fail = Callable[..., Failure]


@pytest.fixture
def fail(hub: HubDouble, run: RunDirectory, command: Command, tmp_path: Path) -> Fail:
    """Run a command about a repository, check that it ends with one line and status 1, and return its error."""
    clips = write_manifest(tmp_path / "test.jsonl", "test", 1)

    def failed(
        name: str,
        source: str = REPO,
        token: str | None = "hf_ana",  # noqa: S107
        waits: bool = False,
        **environment: str,
    ) -> Failure:
        words = {
            "verify": ["verify", source],
            "transcribe": ["transcribe", str(next(CORPUS.rglob("*.ogg"))), "--model", source, "--language", "uz"],
            "eval": ["eval", "--base", source, "--corpus", str(clips), "--out", str(tmp_path / "out")]
            + ["--language", "uz"],
            "push": ["push", "--run", str(run.path), "--repo", source],
        }
        done = command("-c", RUN, *words[name], **(client_environment(hub, token) | environment))
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr and "hf_ana" not in done.stderr
        stages = ("Importing libraries",)  # a stage of more than a second says what it does
        lines = [line for line in done.stderr.strip().splitlines() if not line.startswith(stages)]
        assert [line.startswith("escoita: ") for line in lines] == [False] * (len(lines) - 1) + [True], done.stderr
        assert waits or len(lines) == 1, done.stderr
        _, cause, path, value = done.stdout.strip().splitlines()[-1].split("|")
        return Failure(cause, path, value, lines[-1])

    return failed


@pytest.mark.parametrize("name", READING)
def test_a_gated_model_names_the_page_of_its_terms(hub: HubDouble, fail: Fail, name: str) -> None:
    hub.faults.append(Fault("*", f"{REPO}(/|$)", status=403, headers=GATED, times=99))
    found = fail(name)
    assert (found.cause, found.path) == ("gated", REPO) and f"{hub.url}/{REPO} " in found.line


def test_a_push_on_a_gated_base_names_the_page_of_its_terms(hub: HubDouble, fail: Fail) -> None:
    hub.faults.append(Fault("GET", f"/api/models/{BASE}", status=403, headers=GATED, times=9))
    found = fail("push")
    assert (found.cause, found.path) == ("gated", BASE) and f"{hub.url}/{BASE} " in found.line


@pytest.mark.parametrize("name", [*READING, "push"])
def test_an_expired_token(fail: Fail, name: str) -> None:
    assert fail(name, token="hf_expired_bea").cause == "token rejected"


@pytest.mark.parametrize(
    ("name", "cause"), [("verify", "no repository"), ("transcribe", "no repository"), ("push", "token missing")]
)
def test_a_missing_token(fail: Fail, name: str, cause: str) -> None:
    found = fail(name, "ana/private", token=None)
    assert found.cause == cause and "hf auth login" in found.line


@pytest.mark.parametrize("name", [*READING, "push"])
def test_no_connection_is_allowed_and_nothing_is_cached(fail: Fail, name: str) -> None:
    found = fail(name, HF_HUB_OFFLINE="1")
    assert found.cause == "offline" and found.path == REPO


@pytest.mark.parametrize("name", ["verify", "transcribe"])
def test_a_misspelt_revision(fail: Fail, name: str) -> None:
    found = fail(name, f"{REPO}@v9")
    assert found.cause == "no revision" and "v9" in found.line


def test_a_push_on_a_misspelt_revision_of_the_base(fail: Fail, run: RunDirectory) -> None:
    run.load_recipe().model_copy(update={"base_revision": "v9"}).write(run.recipe)
    found = fail("push")
    assert (found.cause, found.path, found.value) == ("no revision", BASE, "v9")


@pytest.mark.parametrize("name", READING)
def test_no_such_repository(fail: Fail, name: str) -> None:
    found = fail(name, "ana/none")
    assert (found.cause, found.path) == ("no repository", "ana/none")


def test_a_push_without_its_base(hub: HubDouble, fail: Fail) -> None:
    del hub.store.repos["model", BASE]
    found = fail("push")
    assert (found.cause, found.path) == ("no repository", BASE)


class Forbidding(BaseHTTPRequestHandler):
    """Refuse every request, as a proxy does that allows no connection to the Hub."""

    def _refuse(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_CONNECT = do_GET = do_HEAD = do_POST = _refuse

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def proxy() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forbidding)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", [*READING, "push"])
def test_a_proxy_that_refuses_is_named(fail: Fail, proxy: str, name: str) -> None:
    found = fail(name, HTTPS_PROXY=f"http://user:secret@{proxy}", HF_ENDPOINT="https://hub.example")
    assert found.cause == "proxy" and proxy in found.line and "secret" not in found.line


@pytest.mark.parametrize("name", [*READING, "push"])
def test_a_socks_proxy_needs_a_package(fail: Fail, name: str) -> None:
    if find_spec("socksio"):
        pytest.skip("the package is installed")
    found = fail(name, ALL_PROXY="socks5://127.0.0.1:9")
    assert found.cause == "socks" and "ALL_PROXY" in found.line


@pytest.mark.parametrize("name", ["verify", "push"])
def test_too_many_requests_say_when_to_return(hub: HubDouble, fail: Fail, name: str) -> None:
    hub.faults.append(Fault("*", "", status=429, headers={"Retry-After": "900"}, times=99))
    found = fail(name)
    assert found.cause == "rate limit" and "900 s" in found.line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transcribe", "eval"])
def test_too_many_requests_for_files_are_retried_first(hub: HubDouble, fail: Fail, name: str) -> None:
    hub.faults.append(Fault("*", "", status=429, headers={"Retry-After": "0"}, times=999))
    assert fail(name, waits=True).cause == "rate limit"


@pytest.mark.parametrize("name", READING)
def test_a_cache_that_cannot_be_written_is_named(hub: HubDouble, fail: Fail, tmp_path: Path, name: str) -> None:
    hub.commit(REPO, {"config.json": b"{}"}, "Add the configuration")
    (tmp_path / "file").touch()
    found = fail(name, HF_HUB_CACHE=str(tmp_path / "file/hub"))
    assert found.cause == "not writable" and found.value.startswith(str(tmp_path / "file"))
