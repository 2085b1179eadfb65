"""What all tests share: the quick start's base and a run of a few steps on a few of its clips."""

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

# The same examples every time, however slow the machine.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="session")
def in_the_checkout() -> Iterator[None]:
    """Recipes name base and corpora relative to the checkout."""
    before = Path.cwd()
    os.chdir(ROOT)
    yield
    os.chdir(before)


@pytest.fixture(autouse=True, scope="session")
def a_cache_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is measured of clips is kept here, not among what the user has measured; commands inherit it."""
    os.environ["ESCOITA_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def write_manifest(path: Path, split: str, count: int, **broken: dict) -> Path:
    """A manifest of the first clips of a split; `broken` rows are appended as they are."""
    rows = [json.loads(line) for line in (CORPUS / f"{split}.jsonl").read_text("utf-8").splitlines()[:count]]
    rows = [row | {"audio_filepath": str(CORPUS / row["audio_filepath"])} for row in rows]
    lines = [json.dumps(row, ensure_ascii=False) for row in [*rows, *broken.values()]]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture(scope="session")
def short_recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """Makes the quick start's recipe with four steps on 24 clips; each call has a run directory of its own."""
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
    """A run directory, trained for four steps, evaluated, with its card."""
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
    """A folder into which this user may not write; for root, who may write anywhere, a disk that is read-only."""
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
    """Runs a Python script or module in the checkout, with a home of its own and no way out to the real Hub."""

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
