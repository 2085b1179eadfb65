"""Test the tab with the records of the models."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import AdapterRecord
from escoita.run_directory import RunDirectory
from escoita.space.tabs.about import about, normalizer_of
from escoita.space.texts import translate
from escoita.utils.formatting import percent
from tests.cards.samples import evaluation, rates, result, system_result
from tests.space.pages import demo_of


HOSTILE = "<script>alert(1)</script> \" ' & </dd>"


class Parsed(HTMLParser):
    """Collect the tags, the attributes and the text of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.text = set[str](), list[tuple[str, str | None]](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def run(quickstart_run: Path, tmp_path: Path) -> Path:
    """Copy the published files of the run."""
    for name in ("recipe.yaml", "training.json", "eval/results.json", "adapter/escoita.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(quickstart_run / name, tmp_path / name)
    for plot in (quickstart_run / "eval").glob("*.svg"):
        shutil.copy(plot, tmp_path / "eval")
    return tmp_path


def test_rates_are_those_of_the_record(run: Path) -> None:
    record, page = EvaluationRecord.read(run / "eval/results.json"), about(demo_of(run), "en")
    parsed = Parsed(page)
    for system in record.corpora[0].systems:
        for rate in (system.normalized.wer, system.normalized.cer):
            assert percent(rate) in parsed.text
    assert "escoita-quickstart-uz" in parsed.text and "apache-2.0" in parsed.text
    assert "about sixty words" in parsed.text
    assert AdapterRecord.read(run / "adapter/escoita.json").prompt.user in parsed.text
    assert parsed.tags.isdisjoint({"script", "svg", "iframe"})


def test_intervals_over_few_speakers_follow_those_over_clips(run: Path) -> None:
    systems = [system_result(normalized=rates(0.2, wer_speaker_ci95=(0.01, 0.39))), system_result("base")]
    corpora = [result(name, systems, speakers=5, few_speakers=True) for name in ("first", "second")]
    evaluation(*corpora).write(run / "eval/results.json")
    parsed = Parsed(about(demo_of(run), "gl"))
    assert parsed.text.count(translate("about.over_speakers", "gl", interval="1.00–39.00 %")) == 2
    assert translate("about.mean", "gl") in parsed.text


def test_the_records_are_read_again(run: Path) -> None:
    before = about(demo_of(run), "en")
    record = json.loads((run / "eval/results.json").read_text("utf-8"))
    record["corpora"][0]["systems"][0]["normalized"]["wer"] = 0.12345
    (run / "eval/results.json").write_text(json.dumps(record), "utf-8")
    assert "12.35 %" not in before and "12.35 %" in about(demo_of(run), "en")


def test_plots_are_images_without_scripts(run: Path) -> None:
    (run / "eval/wer-by-corpus.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>x()</script></svg>')
    parsed = Parsed(about(demo_of(run), "en"))
    sources = [value or "" for name, value in parsed.attributes if name == "src"]
    assert sources and all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert translate("about.by_corpus", metric="WER") in {value for name, value in parsed.attributes if name == "alt"}


def test_without_records_the_evaluation_command_is_shown(tmp_path: Path) -> None:
    (tmp_path / "uz" / "adapter").mkdir(parents=True)
    parsed = Parsed(about(demo_of(adapters={"uzbek": str(tmp_path / "uz" / "adapter")}), "en"))
    assert translate("about.none") in parsed.text
    assert "escoita eval --base acme/base --adapter uz/adapter --corpus MANIFEST --out DIR" in parsed.text
    assert "table" not in parsed.tags and "img" not in parsed.tags
    assert normalizer_of(None) == "raw"


@pytest.mark.parametrize("name", ["recipe.yaml", "training.json", "eval/results.json"])
def test_a_broken_record_is_reported_and_the_rest_is_shown(run: Path, name: str) -> None:
    (run / name).write_text("{<b>", "utf-8")
    parsed = Parsed(about(demo_of(run), "en"))
    assert translate("about.unreadable", reason=name) in parsed.text
    assert str(run) not in parsed.text and "b" not in parsed.tags
    assert ("table" in parsed.tags) == (name != "eval/results.json")


def test_texts_of_a_recipe_are_escaped(run: Path) -> None:
    demo = demo_of(run, base=HOSTILE, adapters={HOSTILE: str(run / "adapter")})
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
    parsed = Parsed(about(demo, "en"))
    assert parsed.text.count(HOSTILE) >= 4
    assert parsed.tags.isdisjoint({"script", "a"})


@pytest.mark.parametrize("language", ["gl", "uz"])
def test_the_tab_is_in_the_visitors_language(run: Path, language: str) -> None:
    page = about(demo_of(run), language)
    assert (
        translate("about.results", language) in Parsed(page).text and f'<div class="about" lang="{language}">' in page
    )
