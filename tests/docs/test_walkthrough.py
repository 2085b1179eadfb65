"""README and tutorial, followed block by block; a block that is not run stands on a list with its reason."""

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
from tests.docs.walkthrough import Reader, reader
from tests.hub_double import HubDouble, serve


README = blocks(ROOT / "README.md", "bash", "python")
TUTORIAL = blocks(ROOT / "docs/tutorial.md", "bash", "python")
# Blocks that are not run: page and first line, with the reason.
LEFT_OUT: dict[tuple[str, str], str] = {
    ("README.md", "escoita train my-recipe.yaml"): "the tutorial runs these commands with a recipe of its own",
}
# What README says for a machine without a GPU, and a short training.
ON_A_CPU = {
    "--name household": "--name household --base quickstart/gemma4",
    "escoita train household.yaml": "escoita train household.yaml --set training.max_steps=2",
}
RULE = re.compile(r"^([\w-]+):.*\n((?:\t.*\n)+)", re.MULTILINE)
# What `make demo` ends with.
PAGE = Block("Makefile", 0, "bash", "escoita space run --run runs/quickstart-uzbek --port 7860")


def is_of_make(block: Block) -> bool:
    """Minutes each; these are steps of .ci/run, on a clean checkout, instead."""
    return all(line.startswith("make ") for line in block.lines)


def followed(page: list[Block]) -> list[Block]:
    return [block for block in page if (block.page, block.lines[0]) not in LEFT_OUT]


def to_run(page: list[Block]) -> list[Block]:
    return [block for block in followed(page) if not is_of_make(block)]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        yield double


@pytest.fixture
def ana(tmp_path: Path, hub: HubDouble) -> Reader:
    """Somebody who follows a page to the letter."""
    room = tmp_path / "room"
    room.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return reader(room, port, hub.url)


def test_there_are_blocks_to_run() -> None:
    assert len(to_run(README)) >= 4 and len(to_run(TUTORIAL)) >= 14
    assert [block for page in (README, TUTORIAL) for block in page if "make demo" in block.lines]


def test_what_is_left_out_stands_in_the_pages() -> None:
    assert LEFT_OUT.keys() <= {(block.page, block.lines[0]) for block in (*README, *TUTORIAL)}
    assert all(LEFT_OUT.values())


def test_the_commands_that_readme_leaves_to_the_tutorial_are_run_there() -> None:
    shown = [line for block in README if (block.page, block.lines[0]) in LEFT_OUT for line in block.lines]
    run = {tuple(line.split()[:2]) for block in to_run(TUTORIAL) for line in block.lines}
    assert {tuple(line.split()[:2]) for line in shown} <= run


@pytest.mark.parametrize("block", [block for block in followed([*README, *TUTORIAL]) if is_of_make(block)], ids=str)
def test_what_make_does_is_what_ci_does(block: Block) -> None:
    """`make demo` with another recipe is a target of test-demo."""
    steps = [line.strip() for line in (ROOT / ".ci/run").read_text("utf-8").splitlines()]
    for target, recipe in RULE.findall((ROOT / "Makefile").read_text("utf-8")):
        if f"make {target}" in steps:
            steps += [line.strip().replace("$(MAKE)", "make").replace(" SERVE=0", "") for line in recipe.splitlines()]
    assert set(block.lines) <= set(steps)


@pytest.mark.slow
def test_the_readme_works_as_it_is_written(ana: Reader, quickstart_run: Path) -> None:
    """After `make demo`, which a run of a few steps stands in for here; its page is open where a block asks it."""
    run = RunDirectory(ana.room / "runs/quickstart-uzbek")
    shutil.copytree(quickstart_run, run.path)
    load_recipe(ROOT / "recipes/quickstart-uzbek.yaml").write(run.recipe)
    write_layout("txt", ana.room / "recordings")
    for block in to_run(README):
        for written, on_a_cpu in ON_A_CPU.items():
            block = replace(block, text=block.text.replace(written, on_a_cpu))
        if "http://127.0.0.1" in block.text:
            with ana.served(PAGE):
                ana.follow(block)
        else:
            ana.follow(block)


@pytest.mark.slow
def test_the_tutorial_leads_from_recordings_to_a_published_adapter_that_verifies(ana: Reader, hub: HubDouble) -> None:
    said = {block.text: ana.follow(block) for block in to_run(TUTORIAL)}

    run = RunDirectory(ana.room / "runs/household")
    (corpus,) = EvaluationRecord.read(run.results).corpora
    base, difference = corpus.of(BASE), corpus.against(BASE)
    assert base is not None and difference is not None and difference.verdict == "better"
    assert corpus.n == 60 and base.normalized.wer > 1 and corpus.main_system.normalized.wer < 0.2
    assert "## Notes\n\nThe clips were cut by hand.\n" in run.card.read_text("utf-8")

    adapter, published = (hub.store.repos["model", f"user/{name}"] for name in ("household", "household-base"))
    assert adapter.refs["refs/tags/v1"] == adapter.refs["refs/heads/main"]
    assert "adapter_model.safetensors" in adapter.at("main").tree and "model.safetensors" in published.at("main").tree
    assert "app.py" in hub.store.repos["space", "user/household-page"].at("main").tree
    verified = said["escoita verify user/household\n"]
    assert "holds" in verified and "differs" not in verified
