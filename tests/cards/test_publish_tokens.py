"""Test that tokens are neither in the output of a command, including the log of huggingface_hub, nor in its files."""

from pathlib import Path

import pytest

from tests.cards.publishing import REPO, Command, client_environment, make_repositories, make_run
from tests.hub_double import serve


TOKEN = "hf_ana"
LOUD = {"HF_HUB_VERBOSITY": "debug", "HF_DEBUG": "1"}


@pytest.mark.parametrize("repo", [REPO, "somebody/else"])
def test_a_push_with_debug_logging_prints_no_token(tmp_path: Path, command: Command, repo: str) -> None:
    run = make_run(tmp_path / "run")
    with serve(tmp_path / "hub") as hub:
        make_repositories(hub, REPO)
        done = command(
            "-m", "escoita", "push", "--run", str(run.path), "--repo", repo, **client_environment(hub, TOKEN), **LOUD
        )
    assert done.returncode == (0 if repo == REPO else 1), done.stderr
    assert TOKEN not in done.stdout + done.stderr
    written = [path for folder in ("run", "hf") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert written and not [path for path in written if TOKEN.encode() in path.read_bytes()]
