"""Test the site: strict build, generated reference pages, and no files from other servers."""

import html
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown import markdown

from docs.hooks.reference import RECORDS, commands, pages, prose, sections
from escoita.evaluation.predictions import SCHEMA
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import Record, TrainingRecord
from tests.conftest import ROOT


LOADED = re.compile(r'<(?:script|img|iframe|source)\b[^>]* src="([^"]+)"|<link\b[^>]* href="([^"]+)"')


def build(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(folder)
    assert built.returncode == 0, built.stderr
    return folder


def text(site: Path, page: str) -> str:
    return html.unescape((site / page / "index.html").read_text("utf-8"))


def test_the_reference_has_every_command_with_its_options(site: Path) -> None:
    page = text(site, "reference/commands")
    assert [each["name"] for each in commands()] == re.findall(r"<h2[^>]*><code>(.*?)</code>", page)
    names = {name for each in commands() for name in each["name"].split()[1:]}
    assert {"data", "push", "verify", "space", "run"} <= names
    for option in ("--dry-run", "--collection", "--max-wer", "--hardware", "--private / --public", "recipe"):
        assert re.search(rf"<code>[^<]*{option}", page), option
    assert "Run directory, runs/<name>." in page, "angle brackets of help texts are escaped"


def test_the_reference_has_every_key_of_a_recipe(site: Path) -> None:
    found = {section["title"]: section for section in sections(Recipe)}
    kinds = Recipe.model_json_schema()["$defs"]
    assert found.keys() == {"Recipe"} | {name for name, kind in kinds.items() if kind["type"] == "object"}
    for name, kind in kinds.items():
        assert [row["key"] for row in found[name]["rows"]] == list(kind["properties"])
    page = text(site, "reference/recipe")
    for section in found.values():
        assert f'id="{section["title"].lower()}"' in page
        for row in section["rows"]:
            assert f"<code>{row['key']}</code>" in page
    assert found["Corpus"]["places"] == ["corpora.train", "corpora.validation", "corpora.test"]


def test_the_reference_has_every_field_of_the_records_with_its_docstring(site: Path) -> None:
    assert set(RECORDS) == set(Record.__subclasses__())
    page = text(site, "reference/records")
    for record in RECORDS:
        for section in sections(record):
            assert f'id="{section["title"].lower()}"' in page
            for row in section["rows"]:
                assert f"<code>{row['key']}</code>" in page, (section["title"], row["key"])
    for column in SCHEMA:
        assert f"<code>{column.name}</code>" in page
    described = {row["key"]: row["text"] for row in next(sections(TrainingRecord))["rows"]}
    assert "optimizer steps" in described["train_seconds"] and not described["versions"].endswith("\n")
    rates = next(section for section in sections(EvaluationRecord) if section["title"] == "Rates")
    assert all(row["text"] for row in rates["rows"])


@given(st.text(string.printable.replace("`", "") + "ñʻ–", max_size=40))
def test_the_text_of_a_cell_is_shown_unchanged(text: str) -> None:
    table = f"| a | b |\n|---|---|\n| x | -{prose(text)}- |\n"
    made = markdown(table, extensions=["tables", "attr_list", "pymdownx.superfences"])
    (cell,) = re.findall(r"<td>(-.*-)</td>", made)
    assert html.unescape(cell) == f"-{' '.join(text.split())}-"


def test_docstrings_are_escaped() -> None:
    assert prose("a | b <c> `d*|<e>`\n [`Rates`] x_y") == (
        "a &#124; b &#60;c&#62; <code>d&#42;&#124;&#60;e&#62;</code> <code>Rates</code> x&#95;y"
    )
    assert "`" not in re.sub("```console.*?```", "", pages()["recipe"].split("## ", 1)[1], flags=re.DOTALL)


def test_the_site_loads_no_file_from_another_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = {script or sheet for script, sheet in LOADED.findall(page.read_text("utf-8"))}
        assert loaded and not [address for address in loaded if re.match(r"\w+:|//", address)], page


def test_links_to_files_outside_of_docs_lead_to_pages_of_the_site(site: Path) -> None:
    assert 'href="../source/tests/unsloth/"' in text(site, "engines")
    assert all(path.name in text(site, "source/tests/unsloth") for path in (ROOT / "tests/unsloth").glob("test_*.py"))
    assert "class ChatFamily" in re.sub("<[^>]+>", "", text(site, "source/escoita/models/chat.py"))
    assert 'href="../../training/"' in text(site, "source/README.md"), "links of README lead to pages of the site"
    assert "source/" not in (site / "search/search_index.json").read_text("utf-8")


def test_a_broken_link_or_a_page_without_navigation_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# A\n\n[b](b.md) [c](#c) [d](../nowhere.md)\n")
    (tmp_path / "docs/lost.md").write_text("# Lost\n")
    hooks = [str(ROOT / "docs/hooks" / f"{name}.py") for name in ("reference", "sources")]
    own = f"INHERIT: {ROOT}/mkdocs.yml\ndocs_dir: docs\nhooks: {hooks}\nwatch: []\nnav: [index.md]\n"
    (tmp_path / "mkdocs.yml").write_text(own)
    built = build(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
    assert built.returncode == 1
    for name in ("'b.md'", "'#c'", "'../nowhere.md'", "lost.md"):
        assert name in built.stderr, built.stderr
