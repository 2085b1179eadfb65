"""Provide the fixtures of all tests: the quick start's recipe with a few clips, and a short run of it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from escoita.recipe.schema import Recipe, load_recipe


ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "quickstart/corpus/uz"

# The same examples in every run, without a time limit.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="session")
def checkout_as_working_directory() -> Iterator[None]:
    """Run in the checkout, because recipes name base and corpora relative to it."""
    before = Path.cwd()
    os.chdir(ROOT)
    yield
    os.chdir(before)


@pytest.fixture(autouse=True, scope="session")
def temporary_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Use a temporary cache instead of the user's; commands inherit it."""
    os.environ["ESCOITA_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def write_manifest(path: Path, split: str, count: int, **broken: dict) -> Path:
    """Write a manifest of the first clips of a split; `broken` rows are appended unchanged."""
    rows = [json.loads(line) for line in (CORPUS / f"{split}.jsonl").read_text("utf-8").splitlines()[:count]]
    rows = [row | {"audio_filepath": str(CORPUS / row["audio_filepath"])} for row in rows]
    lines = [json.dumps(row, ensure_ascii=False) for row in [*rows, *broken.values()]]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture(scope="session")
def short_recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """Return a function that makes the quick start's recipe with four steps, 24 clips, and a new run directory."""
    folder = tmp_path_factory.mktemp("corpora")
    train, test = write_manifest(folder / "train.jsonl", "train", 24), write_manifest(folder / "test.jsonl", "test", 8)

    def make(*overrides: str) -> Recipe:
        return load_recipe(
            ROOT / "recipes/quickstart-uzbek.yaml",
            [
                f"run_dir={tmp_path_factory.mktemp('run') / 'quickstart-uzbek'}",
                f"corpora.train=[{{name: escoita-quickstart-uz, path: {train}}}]",
                "corpora.validation=[]",
                f"corpora.test=[{{name: escoita-quickstart-uz, path: {test}}}]",
                "training.max_steps=4",
                "training.eval_strategy=no",
                "validation.patience=null",
                "training.per_device_train_batch_size=8",
                "training.logging_steps=1",
                "training.save_steps=2",
                "eval.resamples=100",
                *overrides,
            ],
        )

    return make


@pytest.fixture(scope="session")
def quickstart_run(short_recipe: Callable[..., Recipe]) -> Path:
    """Return a run directory after four training steps and an evaluation, with its card."""
    from escoita.cards.build import write_card
    from escoita.evaluation.evaluate import evaluate_run
    from escoita.training.sft import train

    recipe = short_recipe()
    train(recipe)
    evaluate_run(recipe.run_path)
    write_card(recipe.run_path)
    return recipe.run_path


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder in which this user cannot write; for root, it is a read-only file system."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    root = os.geteuid() == 0
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if root and (not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode):
        pytest.skip("root cannot mount a read-only disk here")
    yield folder
    if root:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a Python script or module in the checkout with its own HF_HOME, without a token."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        keep = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        home = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=keep | home | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
