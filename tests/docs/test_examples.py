"""Check the commands, recipes, templates and results that the documentation shows against the code."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from docs.hooks.reference import commands
from escoita.cards.build import write_card
from escoita.cli.main import app
from escoita.recipe.schema import Recipe
from tests.cards.samples import recipe, write_run
from tests.conftest import ROOT
from tests.docs.blocks import PAGES, Block, blocks, inline_code
from tests.test_structure import LAYERS


COMMANDS = [block for page in PAGES for block in blocks(page, "bash", "console", "sh")]
RECIPES = [block for page in PAGES for block in blocks(page, "yaml")]
# The Python blocks that show their results; test_walkthrough.py runs those of README and tutorial.
SHOWN = [block for page in PAGES for block in blocks(page, "python") if "\n# " in block.text or ")  # " in block.text]
SHOWN = [block for block in SHOWN if block.page.startswith(("docs/howto/", "docs/explanation/"))]
RESULT = re.compile(r"^(?:print\(.*\)  )?# (.*)$", re.MULTILINE)


def merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a document with changes, key by key in nested mappings."""
    both = document | changes
    return both | {
        key: merged(document[key], changes[key])
        for key in document.keys() & changes.keys()
        if isinstance(document[key], dict) and isinstance(changes[key], dict)
    }


def unknown_name(line: str) -> str | None:
    """Return the subcommand or the options of a line that escoita does not have; None if it has all of them."""
    words = re.sub(r"^(?:[A-Z_]+=\S+ )*", "", line).split()
    if not words or words[0] not in ("escoita", ".venv/bin/escoita", ".venv-unsloth/bin/escoita"):
        return None
    command, rest = typer.main.get_command(app), words[1:]
    while rest and (known := getattr(command, "commands", None)) and rest[0][0].islower():
        if rest[0] not in known:
            return f"{line}: there is no {rest[0]}"
        command, rest = known[rest[0]], rest[1:]
    options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    given = {word.split("=")[0].rstrip(",") for word in rest if word.startswith("--")}
    return f"{line}: there is no {', '.join(sorted(given - options))}" if given - options else None


def test_pages_have_blocks() -> None:
    """Without blocks, the following tests would check nothing."""
    assert len(PAGES) > 10 and len(COMMANDS) > 20 and len(RECIPES) > 5 and len(SHOWN) > 2


def test_every_command_and_option_in_the_pages_exists() -> None:
    lines = [(block.page, line) for block in COMMANDS for line in block.lines]
    lines += [(str(page), line) for page in PAGES for line in inline_code(page)]
    assert [(page, unknown) for page, line in lines if (unknown := unknown_name(line))] == []


def test_the_page_of_commands_has_every_command() -> None:
    page = " ".join(inline_code(ROOT / "docs/commands.md"))
    assert [each["name"] for each in commands() if each["name"] not in page] == []


def test_the_files_that_the_architecture_names_exist() -> None:
    named = [span for span in inline_code(ROOT / "docs/architecture.md") if "/" in span and "<" not in span]
    assert len(named) > 30 and [path for path in named if not (ROOT / path).exists()] == []


def test_the_architecture_has_the_layers_of_the_package() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    shown: list[set[str]] = []
    for number, name in re.findall(r"^\|\s*(\d*)\s*\| `escoita\.(\w+)` \|", page, re.MULTILINE):
        shown = [*shown, {name}] if number else [*shown[:-1], shown[-1] | {name}]
    assert shown == LAYERS


def test_unknown_commands_and_options_are_found() -> None:
    for line in ("escoita train RECIPE --dry-run", "A=1 escoita space push --repo user/space"):
        assert unknown_name(line) is None
    for line in ("escoita trian RECIPE", "escoita train RECIPE --dry", "escoita space fly"):
        assert unknown_name(line)


@pytest.mark.parametrize("block", RECIPES, ids=str)
def test_every_recipe_that_is_shown_loads(block: Block) -> None:
    shown = yaml.safe_load(block.text) or {}
    if shown.keys() <= Recipe.model_fields.keys():
        complete = yaml.safe_load((ROOT / "recipes/quickstart-uzbek.yaml").read_text("utf-8"))
        Recipe.model_validate(merged(complete, shown))
    else:  # a file of another program
        assert not shown.keys() & Recipe.model_fields.keys()


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_every_result_that_is_shown_is_printed(block: Block) -> None:
    ran = subprocess.run([sys.executable, "-"], input=block.text, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == RESULT.findall(block.text)


def test_the_template_that_is_shown_makes_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = blocks(ROOT / "docs/howto/template.md", "jinja")
    (tmp_path / "own.md.jinja").write_text(shown.text, "utf-8")
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "run", recipe(card={"template": "own.md.jinja", "description": "In a quiet room."}))
    write_card(run.path)
    card = run.card.read_text("utf-8")
    assert "- **Made at:** our institute\n" in card and "## How we recorded\n\nIn a quiet room." in card


def test_the_page_names_the_blocks_of_the_template() -> None:
    template = (ROOT / "cards/templates/adapter.md.jinja").read_text("utf-8")
    (named,) = re.findall(r"The blocks are (.*?)\. Text", (ROOT / "docs/howto/template.md").read_text("utf-8"), re.S)
    assert re.findall(r"`(\w+)`", named) == re.findall(r"{% block (\w+) %}", template)


def test_the_recipe_of_the_tutorial_loads() -> None:
    (block,) = [block for block in blocks(ROOT / "docs/tutorial.md", "bash") if "commands.yaml <<" in block.text]
    Recipe.model_validate(yaml.safe_load(block.text.split("<<'EOF'\n")[1].removesuffix("EOF\n")))
