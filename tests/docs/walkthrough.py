"""Run the code blocks of a page in order, as a reader does: in a new folder, and with the Hub double."""

import os
import re
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from tests.conftest import ROOT
from tests.docs.blocks import Block


# Folders that commands write; the other files and folders of the checkout are linked.
WRITTEN_BY_COMMANDS = {"runs", "results", "site"}
SERVE_COMMAND = re.compile(r"^escoita space run\b", re.MULTILINE)
PORT = re.compile(r"\b78\d\d\b")
LONGEST_SECONDS = 600


@dataclass(frozen=True)
class BlockRunner:
    """
    Run code blocks in a folder.

    Args:
        folder (`Path`): Working directory of the commands, which looks like a checkout.
        environment (`dict[str, str]`): Environment of the commands.
        port (`int`): Port that replaces each port in a block.
    """

    folder: Path
    environment: dict[str, str]
    port: int

    def run(self, block: Block) -> str:
        """
        Run a block; a block that serves the page is stopped as soon as the page answers.

        Returns:
            `str`: Standard output.

        Raises:
            AssertionError: The block failed; the message has its position and its output.
        """
        if SERVE_COMMAND.search(block.text):
            with self.serving(block):
                return ""
        done = subprocess.run(
            self._command(block),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
        )
        assert done.returncode == 0, f"{block}:\n{block.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    @contextmanager
    def serving(self, block: Block) -> Iterator[None]:
        """Serve the page of a block while the context is open; it begins when the page answers."""
        log = self.folder / "page.log"
        with log.open("w") as file:
            page = subprocess.Popen(
                self._command(block), cwd=self.folder, env=self.environment, stdout=file, stderr=file
            )
        try:
            deadline = time.monotonic() + LONGEST_SECONDS
            while not self._answers():
                running = page.poll() is None and time.monotonic() < deadline
                assert running, f"{block}:\n{log.read_text('utf-8')[-3000:]}"
                time.sleep(0.2)
            yield
        finally:
            page.terminate()
            page.wait(timeout=60)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}", timeout=10) as response:
                return bool(response.status == 200)
        except (URLError, TimeoutError, ConnectionError):
            return False

    def _command(self, block: Block) -> list[str]:
        text = PORT.sub(str(self.port), block.text)
        if block.language == "python":
            return [sys.executable, "-c", text]
        # `exec` replaces the shell by the page, so that a signal to the process stops the page.
        return ["bash", "-euo", "pipefail", "-c", SERVE_COMMAND.sub("exec escoita space run", text)]


def block_runner(folder: Path, port: int, hub: str) -> BlockRunner:
    """
    Return a runner in a new folder with links to the files of the checkout, logged in to the Hub as `user`.

    Args:
        folder (`Path`): Empty folder, which receives the links.
        port (`int`): Free port.
        hub (`str`): Address of the Hub.
    """
    for item in ROOT.iterdir():
        if item.name not in WRITTEN_BY_COMMANDS and not item.name.startswith("."):
            (folder / item.name).symlink_to(item)
    (folder / ".venv").symlink_to(sys.prefix)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "GRADIO_"))}
    environment = inherited | {
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "HF_ENDPOINT": hub,
        "HF_TOKEN": "hf_user",
        "HF_HOME": str(folder / ".hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GRADIO_ANALYTICS_ENABLED": "0",
    }
    return BlockRunner(folder, environment, port)
