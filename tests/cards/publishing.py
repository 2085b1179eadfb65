"""Make a run that can be published quickly, and read repositories of the Hub double."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from escoita.records.evaluation import EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.cards.samples import recipe, write_run
from tests.hub_double import HubDouble, Repo


Command = Callable[..., subprocess.CompletedProcess[str]]
REPO, BASE = "ana/uzbek", "ana/base"
TITLE = "Publish small"
CARD = "---\nlanguage: uz\n---\n\n# What somebody wrote by hand\n"
EARLIER: dict[str, bytes | None] = {
    "README.md": CARD.encode(),
    "adapter_model.safetensors": b"of an earlier training",
    "notes.md": b"kept",
    "training_args.bin": b"a pickle",
}


@dataclass(frozen=True)
class Pushed:
    """Hold the output of `escoita push`, and the line of its result or error."""

    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """Return the last line on standard error, without the name of the command."""
        return (self.stderr.strip().splitlines() or [""])[-1].removeprefix("escoita: ")


# Publish with further arguments. Keywords: `code`, the expected exit status; `repo`, the target; the environment.
Push = Callable[..., Pushed]


def make_run(path: Path, evaluation: EvaluationRecord | None = None) -> RunDirectory:
    """Write the records of a training and an evaluation; the base is a repository."""
    run = write_run(path, recipe().model_copy(update={"base": BASE}), evaluation_record=evaluation)
    run.adapter.mkdir()
    config = {"base_model_name_or_path": BASE, "peft_type": "LORA"}
    (run.adapter / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    (run.adapter / "tokenizer.model").write_bytes(bytes(range(256)) * 400)
    (run.adapter / "adapter_model.safetensors").write_bytes(save({"weight": np.arange(50_000, dtype=np.float32)}))
    return run


def make_repositories(hub: HubDouble, *repos: str, earlier: bool = True) -> None:
    """Create the repository of the base, and others with an earlier publication."""
    for repo in (BASE, *repos):
        hub.store.create(Repo("model", repo), author="ana")
    for repo in repos if earlier else ():
        hub.commit(repo, EARLIER, "Earlier")


def client_environment(hub: HubDouble, token: str | None = "hf_ana") -> dict[str, str]:  # noqa: S107
    """Return the environment in which the client uses the double."""
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "0" if hub.store.cas else "1"}
    environment["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    return environment | ({"HF_TOKEN": token} if token else {})


def commits(hub: HubDouble, repo: str = REPO) -> list[str]:
    """Return the titles of commits, newest first."""
    double = hub.store.repos["model", repo]
    return [commit.title for commit in double.history(double.at("main"))]


def content(hub: HubDouble, name: str, repo: str = REPO, revision: str = "main") -> bytes:
    entry = hub.store.repos["model", repo].at(revision).tree[name]
    return hub.store.blobs.path(entry.sha256).read_bytes()


def tree(hub: HubDouble, repo: str = REPO, revision: str = "main") -> set[str]:
    return set(hub.store.repos["model", repo].at(revision).tree)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
