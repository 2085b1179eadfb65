"""
Compare the texts of the report with a snapshot, so that a change of wording shows in one diff.

`ESCOITA_GOLDEN=write python -m pytest tests/evaluation/report/test_texts.py` writes the snapshot again.
"""

import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from escoita.evaluation.report.render import write_report
from escoita.records.evaluation import EvaluationRecord
from tests.conftest import ROOT
from tests.docs.test_phrases import PATTERN


SNAPSHOT = Path(__file__).with_name("texts.txt")
# Elements with texts of the report; cells of tables and alignments contain data.
BLOCKS = {"h1", "h2", "h3", "p", "dt", "dd", "caption", "th", "figcaption", "summary", "footer"}
SKIPPED = {"style", "svg", "bdi"}


class Texts(HTMLParser):
    """Collect the text of each block of a page in order, once."""

    def __init__(self, page: str):
        super().__init__()
        self.found: dict[str, None] = {}
        self.open: list[str] = []
        self.skipped = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skipped += tag in SKIPPED
        if tag in BLOCKS:
            self.open.append("")

    def handle_endtag(self, tag: str) -> None:
        self.skipped -= tag in SKIPPED
        if tag in BLOCKS and (text := " ".join(self.open.pop().split())):
            self.found[text] = None

    def handle_data(self, data: str) -> None:
        if self.open and not self.skipped:
            self.open[-1] += data


def report(language: str, folder: Path) -> str:
    """Write the report of the golden records of a language, without the texts of utterances."""
    shutil.copytree(ROOT / "tests/golden" / language / "eval", folder)
    page = write_report(folder, EvaluationRecord.read(folder / "results.json")).read_text("utf-8")
    return re.sub(r'<ol class="worst">.*?</ol>', "", page, flags=re.DOTALL)


def test_the_texts_are_those_of_the_snapshot(tmp_path: Path) -> None:
    found = "\n".join(Texts(report("uzbek", tmp_path / "eval")).found) + "\n"
    if os.environ.get("ESCOITA_GOLDEN") == "write":
        SNAPSHOT.write_text(found, "utf-8")
    assert found == SNAPSHOT.read_text("utf-8")


@pytest.mark.parametrize("language", ["uzbek", "galician"])
def test_the_report_contains_none_of_the_phrases(language: str, tmp_path: Path) -> None:
    texts = Texts(report(language, tmp_path / "eval")).found
    assert not [text for text in texts if PATTERN.search(text)]


@pytest.mark.parametrize("name", ["report.html.jinja", "pieces.html.jinja"])
def test_the_templates_contain_none_of_the_phrases(name: str) -> None:
    template = (ROOT / "eval/templates" / name).read_text("utf-8")
    texts = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", "\n", template, flags=re.DOTALL)
    assert not PATTERN.findall(texts)
