"""Run the code blocks of README and tutorial in their order; the blocks that are not run are listed with reasons."""

import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from escoita.recipe.schema import load_recipe
from escoita.records.evaluation import BASE, EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.conftest import ROOT
from tests.data.inspection.layouts import write_layout
from tests.docs.blocks import Block, blocks
from tests.docs.walkthrough import BlockRunner, block_runner
from tests.hub_double import HubDouble, serve


README = blocks(ROOT / "README.md", "bash", "python")
TUTORIAL = blocks(ROOT / "docs/tutorial.md", "bash", "python")
# The blocks that are not run, by page and first line, with the reason.
NOT_RUN: dict[tuple[str, str], str] = {
    ("README.md", "escoita train my-recipe.yaml"): "the tutorial runs these commands with a recipe of its own",
}
# Replacements in README: the base that it recommends for a machine without a GPU, and a short training.
ON_A_CPU = {
    "--name household": "--name household --base quickstart/gemma4",
    "escoita train household.yaml": "escoita train household.yaml --set training.max_steps=2",
}
RULE = re.compile(r"^([\w-]+):.*\n((?:\t.*\n)+)", re.MULTILINE)
# The last command of `make demo`.
PAGE = Block("Makefile", 0, "bash", "escoita space run --run runs/quickstart-uzbek --port 7860")


def is_for_make(block: Block) -> bool:
    """Return whether a block has targets of make only, which take minutes and are run by .ci/run."""
    return all(line.startswith("make ") for line in block.lines)


def executable(page: list[Block]) -> list[Block]:
    """Return the blocks of a page that are not listed in `NOT_RUN`."""
    return [block for block in page if (block.page, block.lines[0]) not in NOT_RUN]


def to_run(page: list[Block]) -> list[Block]:
    """Return the blocks of a page that this module runs."""
    return [block for block in executable(page) if not is_for_make(block)]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        yield double


@pytest.fixture
def runner(tmp_path: Path, hub: HubDouble) -> BlockRunner:
    """Return a runner in a new folder, which uses the double."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return block_runner(folder, port, hub.url)


def test_there_are_blocks_to_run() -> None:
    assert len(to_run(README)) >= 4 and len(to_run(TUTORIAL)) >= 14
    assert [block for page in (README, TUTORIAL) for block in page if "make demo" in block.lines]


def test_blocks_that_are_not_run_exist_in_the_pages() -> None:
    assert NOT_RUN.keys() <= {(block.page, block.lines[0]) for block in (*README, *TUTORIAL)}
    assert all(NOT_RUN.values())


def test_commands_of_readme_that_are_not_run_are_run_in_the_tutorial() -> None:
    not_run = [line for block in README if (block.page, block.lines[0]) in NOT_RUN for line in block.lines]
    run = {tuple(line.split()[:2]) for block in to_run(TUTORIAL) for line in block.lines}
    assert {tuple(line.split()[:2]) for line in not_run} <= run


@pytest.mark.parametrize("block", [block for block in executable([*README, *TUTORIAL]) if is_for_make(block)], ids=str)
def test_ci_runs_the_targets_of_make(block: Block) -> None:
    # `make demo` with another recipe is a prerequisite of the target test-demo.
    steps = [line.strip() for line in (ROOT / ".ci/run").read_text("utf-8").splitlines()]
    for target, recipe in RULE.findall((ROOT / "Makefile").read_text("utf-8")):
        if f"make {target}" in steps:
            steps += [line.strip().replace("$(MAKE)", "make").replace(" SERVE=0", "") for line in recipe.splitlines()]
    assert set(block.lines) <= set(steps)


@pytest.mark.slow
def test_the_commands_of_readme_succeed(runner: BlockRunner, quickstart_run: Path) -> None:
    """A run of a few steps replaces that of `make demo`. A block that sends a request to the page gets a page."""
    run = RunDirectory(runner.folder / "runs/quickstart-uzbek")
    shutil.copytree(quickstart_run, run.path)
    load_recipe(ROOT / "recipes/quickstart-uzbek.yaml").write(run.recipe)
    write_layout("txt", runner.folder / "recordings")
    for block in to_run(README):
        for written, on_a_cpu in ON_A_CPU.items():
            block = replace(block, text=block.text.replace(written, on_a_cpu))
        if "http://127.0.0.1" in block.text:
            with runner.serving(PAGE):
                runner.run(block)
        else:
            runner.run(block)


@pytest.mark.slow
def test_the_tutorial_trains_publishes_and_verifies_an_adapter(runner: BlockRunner, hub: HubDouble) -> None:
    output = {block.text: runner.run(block) for block in to_run(TUTORIAL)}

    run = RunDirectory(runner.folder / "runs/commands")
    (corpus,) = EvaluationRecord.read(run.results).corpora
    base, difference = corpus.of(BASE), corpus.against(BASE)
    assert base is not None and difference is not None and difference.verdict == "better"
    assert corpus.n == 60 and base.normalized.wer > 1 and corpus.main_system.normalized.wer < 0.2
    assert "## Notes\n\nThe clips were cut by hand.\n" in run.card.read_text("utf-8")

    adapter, published = (hub.store.repos["model", f"user/{name}"] for name in ("commands", "commands-base"))
    assert adapter.refs["refs/tags/v1"] == adapter.refs["refs/heads/main"]
    assert "adapter_model.safetensors" in adapter.at("main").tree and "model.safetensors" in published.at("main").tree
    assert "app.py" in hub.store.repos["space", "user/commands-page"].at("main").tree
    verified = output["escoita verify user/commands\n"]
    assert "holds" in verified and "differs" not in verified
