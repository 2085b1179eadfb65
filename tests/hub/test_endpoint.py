"""Check that the password in HF_ENDPOINT is sent to its host, and is in no output, file or request to another host."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from escoita.hub.endpoint import LOCAL_HOSTS, bypass_proxy_for_local_addresses, clean_tokens
from tests.cards.publishing import REPO, Command, make_repositories, make_run
from tests.conftest import ROOT
from tests.hub_double import serve


PASSWORD = "hunter2-and-more"
LOUD = {"HF_HUB_VERBOSITY": "debug", "HF_DEBUG": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def python(code: str, **environment: str) -> str:
    words = [sys.executable, "-c", code]
    known = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(words, env=known, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize(
    "address, login, left",
    [
        ("https://ana:pw@hub.example.org", "ana:pw", "https://hub.example.org"),
        ("https://ana:p%40w@hub.example.org:8443/hub", "ana:p%40w", "https://hub.example.org:8443/hub"),
        ("https://ana:p@/#?:w@hub.example.org", "ana:p@/#?:w", "https://hub.example.org"),
        ("https://ana:a://b@hub.example.org", "ana:a://b", "https://hub.example.org"),
        ("ana:pw@hub.example.org", "ana:pw", "hub.example.org"),
        ("https://token@hub.example.org", "token", "https://hub.example.org"),
        ("https://hub.example.org", None, "https://hub.example.org"),
    ],
)
@pytest.mark.parametrize("first", ["escoita, huggingface_hub", "huggingface_hub.hf_api, escoita"])
def test_the_login_is_removed_from_the_address(address: str, login: str | None, left: str, first: str) -> None:
    code = f"""import {first}, json, os
from huggingface_hub import HfApi, constants, hf_hub_url, hf_api
print(json.dumps([os.environ.get("ESCOITA_HUB_LOGIN"), os.environ["HF_ENDPOINT"], HfApi().endpoint,
                  hf_api.api.endpoint, constants.ENDPOINT, hf_hub_url("a/b", "c")]))"""
    if "//b" in address and not first.startswith("escoita"):
        pytest.skip("huggingface_hub itself does not import with such an address")
    result = json.loads(python(code, HF_ENDPOINT=address))
    assert result == [login, left, left, left, left, f"{left}/a/b/resolve/main/c"]


class Recorder(BaseHTTPRequestHandler):
    """Answer any request with a small object or a redirect, and record the authorization."""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        redirect = self.server.redirect  # type: ignore[attr-defined]
        self.send_response(302 if redirect else 200)
        if redirect:
            self.send_header("Location", redirect + self.path)
        self.end_headers()
        self.wfile.write(b"" if redirect else b'{"id": "a/b", "sha": "0"}')

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def servers() -> Iterator[tuple[ThreadingHTTPServer, ThreadingHTTPServer]]:
    """Return the endpoint, which redirects every request to another host, and that host."""
    made = [ThreadingHTTPServer(("127.0.0.1", 0), Recorder) for _ in range(2)]
    for server in made:
        server.seen, server.redirect = [], ""  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
    made[0].redirect = f"http://127.0.0.1:{made[1].server_port}"  # type: ignore[attr-defined]
    yield made[0], made[1]
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("token", ["", "hf_ana"])
def test_the_login_is_sent_only_to_its_host(servers: tuple[ThreadingHTTPServer, ...], token: str) -> None:
    address = f"http://ana:p%40w@127.0.0.1:{servers[0].server_port}"
    code = "import escoita; from huggingface_hub import HfApi; HfApi().model_info('a/b')"
    python(code, HF_ENDPOINT=address, HF_TOKEN=token)
    header = "Basic " + base64.b64encode(b"ana:p@w").decode()
    assert set(servers[0].seen) == {header}  # type: ignore[attr-defined]
    assert set(servers[1].seen) == {None}  # type: ignore[attr-defined]


def test_a_child_process_sends_the_login_too(servers: tuple[ThreadingHTTPServer, ...]) -> None:
    servers[0].redirect = ""  # type: ignore[attr-defined]
    child = "import escoita; from huggingface_hub import HfApi; HfApi().model_info('a/b')"
    code = f"import escoita, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    python(code, HF_ENDPOINT=f"http://ana:pw@127.0.0.1:{servers[0].server_port}")
    assert servers[0].seen[0].startswith("Basic ")  # type: ignore[attr-defined]


RECIPE = "recipes/quickstart-uzbek.yaml"
OF_HUB = ["--set", "base=ana/base"]
COMMANDS = {
    "verify": ["-m", "escoita", "verify", REPO],
    "verify by its script": ["cards/verify.py", REPO],
    "verify at a revision": ["-m", "escoita", "verify", REPO, "--revision", "other"],
    "push": ["-m", "escoita", "push", "--run", "RUN", "--repo", REPO],
    "push by its script": ["cards/push.py", "--run", "RUN", "--repo", REPO],
    "space push": ["-m", "escoita", "space", "push", "--repo", "ana/page", "--adapter", REPO, "--no-wait"],
    "doctor": ["-m", "escoita", "doctor", RECIPE, *OF_HUB, "--set", f"hub.repo={REPO}"],
    "train": ["-m", "escoita", "train", RECIPE, *OF_HUB],
    "data": [
        "-m",
        "escoita",
        "data",
        RECIPE,
        "--set",
        "corpora.test=[{name: a, reader: hub, path: ana/corpus, split: test}]",
    ],
    "card": ["-m", "escoita", "card", "--from", REPO, "--test", "quickstart/corpus/uz/test.jsonl", "--out", "OUT"],
}


@pytest.mark.slow
@pytest.mark.parametrize("answers", [True, False], ids=["the Hub refuses", "the Hub cannot be reached"])
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_no_command_prints_or_writes_the_password(
    tmp_path: Path, command: Command, words: list[str], answers: bool
) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "out"
    words = [{"RUN": str(run.path), "OUT": str(out)}.get(word, word) for word in words]
    with serve(tmp_path / "hub") as hub:
        make_repositories(hub, REPO)
        host = hub.url.removeprefix("http://") if answers else "127.0.0.1:9"
        home = {"HF_HOME": str(tmp_path / "hf"), "TMPDIR": str(tmp_path / "tmp"), "HF_TOKEN": "hf_ana"}
        (tmp_path / "tmp").mkdir()
        done = command(*words, HF_ENDPOINT=f"http://ana:{PASSWORD}@{host}", **home, **LOUD)
    output = done.stdout + done.stderr
    assert PASSWORD not in output and "Traceback" not in output, output
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "hub" not in path.parts]
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_a_byte_order_mark_and_spaces_around_a_token_are_removed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "\ufeff hf_ana\r\n")
    clean_tokens()
    assert os.environ[name] == "hf_ana"


def test_requests_to_this_machine_bypass_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet.example,127.0.0.1")
    monkeypatch.delenv("no_proxy", raising=False)
    for _ in range(2):
        bypass_proxy_for_local_addresses()
    assert sorted(os.environ["NO_PROXY"].split(",")) == sorted({"intranet.example", *LOCAL_HOSTS})
    assert os.environ["no_proxy"].split(",") == list(LOCAL_HOSTS)
