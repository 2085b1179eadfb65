"""Limit the phrases of phrases.txt, which readers had to read twice, in documentation, `--help` and cards."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import typer.main
from markdown_it import MarkdownIt

from escoita.cli.main import app
from escoita.models.families import FAMILIES
from tests.conftest import ROOT
from tests.docs.blocks import PAGES


PHRASES = Path(__file__).with_name("phrases.txt").read_text("utf-8").splitlines()
PATTERN = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(PHRASES, key=len, reverse=True)))})\b", re.IGNORECASE)
# Cards in which every sentence of the templates and of the code occurs, and those of both quick starts.
CARDS = [ROOT / "tests/cards/snapshot.md", *sorted((ROOT / "tests/golden").glob("*/README.md"))]
TEMPLATES = sorted((ROOT / "cards/templates").glob("*.jinja"))
SCANNED = [*PAGES, ROOT / "quickstart/README.md"]
# Phrases in 10,000 words of documentation.
MOST_IN_DOCS = 3
# Phrases in the help of all commands.
MOST_IN_HELP = 0
# Words of README, so that it can be read in five minutes.
MOST_WORDS_OF_README = 1300


def prose(markdown: str) -> str:
    """Return the text of a page without code, links' addresses and the changelog's released versions."""
    unreleased = re.split(r"^## (?=\d)", markdown, maxsplit=1, flags=re.MULTILINE)[0]
    tokens = MarkdownIt().enable("table").parse(unreleased)
    texts = [child for token in tokens for child in token.children or () if child.type == "text"]
    return " ".join(" ".join(child.content for child in texts).split())


def static_text(template: str) -> str:
    """Return the text of a template without comments and tags, but with the string literals in its tags."""
    template = re.sub(r"\{#.*?#\}", " ", template, flags=re.DOTALL)
    parts = re.split(r"(\{\{.*?\}\}|\{%.*?%\})", template, flags=re.DOTALL)
    literals = [" ".join(re.findall(r'"([^"]*)"', part)) if part[:2] in ("{{", "{%") else part for part in parts]
    return " ".join(" ".join(literals).split())


def helps() -> Iterator[tuple[str, str]]:
    """Yield each command and group with its help and that of its arguments and options."""
    waiting = [("escoita", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        context = typer.Context(command, info_name=name)
        records = [record for param in command.get_params(context) if (record := param.get_help_record(context))]
        yield name, " ".join([command.help or "", *(help_text for _, help_text in records)])
        waiting += [(f"{name} {key}", each) for key, each in getattr(command, "commands", {}).items()]


def found(texts: dict[str, str]) -> Counter[str]:
    return Counter(
        f"{name}: {match[0]}" for name, text in texts.items() for match in PATTERN.finditer(" ".join(text.split()))
    )


def test_phrases_are_found_over_line_breaks_and_not_in_code() -> None:
    page = "# What it\nhears\n\nA `hears`, and\nis told anew.\n\n```\nwhoever\n```\n\n| a |\n|---|\n| hears |\n"
    assert found({"page": prose(page)}) == {
        "page: What it hears": 1,
        "page: told": 1,
        "page: anew": 1,
        "page: hears": 1,
    }
    assert not found({"page": "He retold it, unheard; escoita tell."})


def test_the_documentation_has_few_phrases_that_need_a_second_reading() -> None:
    texts = {path.relative_to(ROOT).as_posix(): prose(path.read_text("utf-8")) for path in SCANNED}
    words = sum(len(text.split()) for text in texts.values())
    phrases = found(texts)
    assert words > 20_000 and phrases.total() <= MOST_IN_DOCS * words / 10_000, dict(phrases)


def test_help_has_no_more_such_phrases_than_before() -> None:
    texts = dict(helps())
    assert len(texts) > 15
    assert found(texts).total() <= MOST_IN_HELP, dict(found(texts))


def test_cards_and_their_templates_have_no_such_phrases() -> None:
    texts = {path.relative_to(ROOT).as_posix(): prose(path.read_text("utf-8")) for path in CARDS}
    texts |= {path.relative_to(ROOT).as_posix(): static_text(path.read_text("utf-8")) for path in TEMPLATES}
    texts["architecture of all families"] = " ".join(info.architecture for info in FAMILIES)
    assert len(texts) == len(CARDS) + len(TEMPLATES) + 1 and len(CARDS) == 3 and TEMPLATES
    assert not found(texts), dict(found(texts))


def test_literals_of_a_template_are_scanned() -> None:
    template = '{# hears #}A {{ "told" if x }} clip.{% if y == "anew" %} Heard.{% endif %}'
    assert found({"t": static_text(template)}) == {"t: told": 1, "t: anew": 1, "t: Heard": 1}


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= MOST_WORDS_OF_README


@pytest.mark.parametrize("page", [path for path in PAGES if path.parent != ROOT], ids=lambda path: path.name)
def test_a_page_begins_with_its_purpose(page: Path) -> None:
    _, heading, *rest = re.split(r"^(# .*)\n+", page.read_text("utf-8"), maxsplit=1, flags=re.MULTILINE)
    first = " ".join(rest[0].split("\n\n")[0].split())
    assert re.match(r"(This (page|tutorial)|With this page)\b.*?\byou\b.*?[.:]", first), f"{heading}: {first[:90]}"
