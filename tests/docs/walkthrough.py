"""Runs the blocks of a page as its reader would, one after the other, in a clean folder and against the Hub double."""

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


# Of the checkout, what a reader has beside what the commands make: runs/ and results/ are the folder's own.
OWN = {"runs", "results", "site"}
SERVES = re.compile(r"^escoita space run\b", re.MULTILINE)
PORT = re.compile(r"\b78\d\d\b")
LONGEST_SECONDS = 600


@dataclass(frozen=True)
class Reader:
    """
    A reader at work.

    Args:
        room (`Path`): The folder in which commands are given, the checkout in looks.
        environment (`dict[str, str]`): Of the commands.
        port (`int`): Stands in the place of every port of a page that is named.
    """

    room: Path
    environment: dict[str, str]
    port: int

    def follow(self, block: Block) -> str:
        """
        Runs a block; one that serves the page is ended as soon as the page answers.

        Returns:
            `str`: What it printed.

        Raises:
            AssertionError: It failed, and says where it stands and what it said.
        """
        if SERVES.search(block.text):
            with self.served(block):
                return ""
        ran = subprocess.run(
            self._command(block),
            cwd=self.room,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
        )
        assert ran.returncode == 0, f"{block}:\n{block.text}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
        return ran.stdout

    @contextmanager
    def served(self, block: Block) -> Iterator[None]:
        """The page of a block, from when it answers to the end of the `with` block."""
        log = self.room / "page.log"
        with log.open("w") as out:
            page = subprocess.Popen(self._command(block), cwd=self.room, env=self.environment, stdout=out, stderr=out)
        try:
            ends = time.monotonic() + LONGEST_SECONDS
            while not self._answers():
                assert page.poll() is None and time.monotonic() < ends, f"{block}:\n{log.read_text('utf-8')[-3000:]}"
                time.sleep(0.2)
            yield
        finally:
            page.terminate()
            page.wait(timeout=60)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}", timeout=10) as answer:
                return bool(answer.status == 200)
        except (URLError, TimeoutError, ConnectionError):
            return False

    def _command(self, block: Block) -> list[str]:
        text = PORT.sub(str(self.port), block.text)
        if block.language == "python":
            return [sys.executable, "-c", text]
        # A page takes the place of the shell, so that ending the one ends the other.
        return ["bash", "-euo", "pipefail", "-c", SERVES.sub("exec escoita space run", text)]


def reader(room: Path, port: int, hub: str) -> Reader:
    """
    A reader in a new folder with links to what the checkout holds, logged in to a Hub as `user`.

    Args:
        room (`Path`): Is filled.
        port (`int`): A free one.
        hub (`str`): Its address.
    """
    for item in ROOT.iterdir():
        if item.name not in OWN and not item.name.startswith("."):
            (room / item.name).symlink_to(item)
    (room / ".venv").symlink_to(sys.prefix)
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "GRADIO_"))}
    environment = keep | {
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "HF_ENDPOINT": hub,
        "HF_TOKEN": "hf_user",
        "HF_HOME": str(room / ".hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GRADIO_ANALYTICS_ENABLED": "0",
    }
    return Reader(room, environment, port)
