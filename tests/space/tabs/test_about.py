import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import AdapterRecord
from escoita.run_directory import RunDirectory
from escoita.space.tabs.about import about, normalizer_of
from escoita.utils.formatting import percent
from tests.space.pages import about_what


HOSTILE = "<script>alert(1)</script> \" ' & </dd>"


class Tags(HTMLParser):
    """Notes every tag, attribute and word."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.words = set[str](), list[tuple[str, str | None]](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def run(quickstart_run: Path, tmp_path: Path) -> Path:
    """A copy of what was published, without what is not."""
    for name in ("recipe.yaml", "training.json", "eval/results.json", "adapter/escoita.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(quickstart_run / name, tmp_path / name)
    for plot in (quickstart_run / "eval").glob("*.svg"):
        shutil.copy(plot, tmp_path / "eval")
    return tmp_path


def test_every_figure_is_that_of_the_record(run: Path) -> None:
    evaluation, page = EvaluationRecord.read(run / "eval/results.json"), about(about_what(run), "en")
    shown = Tags(page)
    for system in evaluation.corpora[0].systems:
        for rate in (system.normalized.wer, system.normalized.cer):
            assert percent(rate) in shown.words
    assert "escoita-quickstart-uz" in shown.words and "apache-2.0" in shown.words
    assert "It knows about sixty words" in shown.words
    assert AdapterRecord.read(run / "adapter/escoita.json").prompt.user in shown.words
    assert shown.tags.isdisjoint({"script", "svg", "iframe"})


def test_the_records_are_read_anew(run: Path) -> None:
    before = about(about_what(run), "en")
    record = json.loads((run / "eval/results.json").read_text("utf-8"))
    record["corpora"][0]["systems"][0]["normalized"]["wer"] = 0.12345
    (run / "eval/results.json").write_text(json.dumps(record), "utf-8")
    assert "12.35 %" not in before and "12.35 %" in about(about_what(run), "en")


def test_plots_are_pictures_in_which_nothing_runs(run: Path) -> None:
    (run / "eval/wer-by-corpus.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>x()</script></svg>')
    shown = Tags(about(about_what(run), "en"))
    sources = [value or "" for name, value in shown.attributes if name == "src"]
    assert sources and all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "Word error rate by corpus" in {value for name, value in shown.attributes if name == "alt"}


def test_without_records_it_says_so_and_how_to_measure(tmp_path: Path) -> None:
    (tmp_path / "uz" / "adapter").mkdir(parents=True)
    shown = Tags(about(about_what(adapters={"uzbek": str(tmp_path / "uz" / "adapter")}), "en"))
    assert "No evaluation was published" in shown.words
    assert "escoita eval --base acme/base --adapter uz/adapter --corpus MANIFEST --out DIR" in shown.words
    assert "table" not in shown.tags and "img" not in shown.tags
    assert normalizer_of(None) == "raw"


@pytest.mark.parametrize("name", ["recipe.yaml", "training.json", "eval/results.json"])
def test_a_broken_record_is_named_and_the_rest_is_shown(run: Path, name: str) -> None:
    (run / name).write_text("{<b>", "utf-8")
    shown = Tags(about(about_what(run), "en"))
    assert f"A record cannot be read: {name}" in shown.words
    assert str(run) not in shown.words and "b" not in shown.tags
    assert ("table" in shown.tags) == (name != "eval/results.json")


def test_whatever_a_recipe_says_stays_text(run: Path) -> None:
    demo = about_what(run, base=HOSTILE, adapters={HOSTILE: str(run / "adapter")})
    recipe = RunDirectory(run).load_recipe()
    card = recipe.card.model_copy(
        update={
            "limitations": HOSTILE,
            "base_terms": HOSTILE,
            "license": "other",
            "license_name": HOSTILE,
            "license_link": "javascript:alert(1)",
        }
    )
    recipe.model_copy(update={"card": card}).write(run / "recipe.yaml")
    shown = Tags(about(demo, "en"))
    assert shown.words.count(HOSTILE) >= 4
    assert shown.tags.isdisjoint({"script", "a"})


@pytest.mark.parametrize("language, heading", [("gl", "Que tal escoita"), ("uz", "Qanchalik yaxshi eshitadi")])
def test_it_speaks_the_visitors_language(run: Path, language: str, heading: str) -> None:
    page = about(about_what(run), language)
    assert heading in Tags(page).words and f'<div class="about" lang="{language}">' in page
