"""The page of an evaluation as text; tests/evaluation/report/test_report_page.py opens it in a browser."""

import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.report.render import report_run, write_report
from escoita.records.evaluation import PROBES, EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.evaluation.report_samples import clips_of, misheard, quickstart_clips, write_heard
from tests.samples import RECIPE


CSS = Path(__file__).parents[3] / "eval/templates/report.css"
VOID = {"meta", "link", "br", "img", "use", "path"}


class Outline(HTMLParser):
    """Text, ids, attributes that lead elsewhere, and whether every element is closed in its turn."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        named = dict(attributes)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.addresses += [
            named[key] or "" for key in ("src", "href", "xlink:href", "action", "srcset") if key in named
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EvaluationRecord]:
    folder = tmp_path_factory.mktemp("eval")
    clips = quickstart_clips(40)
    texts = clips.column("text")
    heard = {"adapter": misheard(texts, 0.2), "base": misheard(texts, 0.8, 1), "whisper-tiny": misheard(texts, 0.3, 2)}
    write_heard(folder, clips, heard)
    others = ["Salom, dunyo!", "Rahmat. Xayr!"] * 9 + ["Asta-sekin yur", "Salom, dunyo!"]
    write_heard(
        folder, clips_of(others, "other"), dict.fromkeys(heard, ["Salom dunyo", "rahmat xayr men"] * 10), rejected=2
    )
    write_heard(folder, clips_of(["", ""], PROBES), dict.fromkeys(heard, ["", "Thank you."]))
    return folder, score(folder, "basic", 100, ["quickstart-uz", "other", PROBES])


@pytest.fixture(scope="module")
def page(evaluated: tuple[Path, EvaluationRecord]) -> str:
    folder, record = evaluated
    clips = {"quickstart-uz": quickstart_clips(40)}
    return write_report(folder, record, clips, {"quickstart-uz"}).read_text("utf-8")


def words(text: str) -> str:
    return " ".join(text.split())


def test_every_rate_of_the_record_stands_on_the_page(page: str, evaluated: tuple[Path, EvaluationRecord]) -> None:
    text = words(Outline(page).text)
    for result in evaluated[1].rows:
        for heard in result.systems:
            for rates in (heard.normalized, heard.raw):
                assert f"{100 * rates.wer:.2f} %" in text and f"{100 * rates.cer:.2f} %" in text
                assert f"{100 * rates.wer_ci95[0]:.2f} to {100 * rates.wer_ci95[1]:.2f} %" in text
    for mean in evaluated[1].macro:
        assert f"{100 * mean.wer:.2f} %" in text


def test_what_the_pool_and_the_mean_are_made_of_stands_beside_them(page: str) -> None:
    text = words(Outline(page).text)
    assert re.search(r"Pooled by words 60 clips, .* quickstart-uz \d\d\.\d\d %, other \d\d\.\d\d %", text)
    assert re.search(r"Macro mean The plain mean of the corpora, each weighing the same, 50\.0 %", text)
    assert "2 rows could not be used and are not scored. Clips of which the normaliser makes more words: 1." in text
    assert "makes fewer words" not in text


def test_no_measurable_difference_is_said_in_these_words(page: str) -> None:
    assert "no measurable difference" in Outline(page).text


def test_the_page_asks_for_nothing_outside_itself(page: str) -> None:
    outline = Outline(page)
    assert outline.addresses and all(address.startswith(("data:", "#")) for address in outline.addresses)
    assert "default-src 'none'" in page and not outline.seen["script"]
    without_names = page.replace("http://www.w3.org/", "")  # names of XML, which nobody fetches
    assert not re.search(r"https?:|@import|url\((?!#)", without_names)


def test_the_page_is_whole_and_every_id_is_there_once(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert [name for name, count in Counter(outline.ids).items() if count > 1] == []
    assert {address[1:] for address in outline.addresses if address.startswith("#")} <= set(outline.ids)


def test_tables_name_their_columns_and_say_what_they_show(page: str) -> None:
    outline = Outline(page)
    assert outline.seen["table"] == outline.seen["caption"] == outline.seen["thead"] > 5
    assert all("scope=" in tag for tag in re.findall(r"<th\b[^>]*>", page))


def test_players_hold_the_recordings(page: str) -> None:
    assert 0 < page.count('<audio controls preload="metadata"') < 20
    assert "without a player, as the recipe does not say of other" in page


def test_plots_stand_beside_the_page_and_in_it(page: str, evaluated: tuple[Path, EvaluationRecord]) -> None:
    for name in ("wer-by-corpus", "wer-by-duration", "wer-distribution"):
        assert (evaluated[0] / f"{name}.svg").read_text("utf-8") in page


def test_no_plot_of_an_evaluation_before_is_left(evaluated: tuple[Path, EvaluationRecord], tmp_path: Path) -> None:
    folder, record = evaluated
    shutil.copytree(folder, tmp_path / "eval")
    pooled = record.pooled.model_copy(update={"slices": []})
    write_report(tmp_path / "eval", record.model_copy(update={"pooled": pooled}))
    left = sorted(path.name for path in (tmp_path / "eval").glob("*.svg"))
    assert left == ["wer-by-corpus.svg", "wer-distribution.svg"]


def test_the_same_files_give_the_same_bytes(
    page: str, evaluated: tuple[Path, EvaluationRecord], tmp_path: Path
) -> None:
    folder, record = evaluated
    shutil.copytree(folder, tmp_path / "copy")
    clips = {"quickstart-uz": quickstart_clips(40)}
    assert write_report(tmp_path / "copy", record, clips, {"quickstart-uz"}).read_text("utf-8") == page


def test_text_of_corpora_and_models_is_never_markup(tmp_path: Path) -> None:
    hostile = [
        "<script>alert(1)</script>",
        "]]> --> </style></td>",
        "\"' onload=x {{ 7 * 7 }} {% raw %}",
        "&amp; &lt;b>",
    ]
    write_heard(tmp_path, clips_of(hostile), {"adapter": hostile[::-1]})
    outline = Outline(write_report(tmp_path, score(tmp_path, resamples=20)).read_text("utf-8"))
    assert not outline.seen["script"] and outline.open == []
    for text in hostile:
        assert all(word in outline.text for word in text.split())


def test_one_system_without_an_error_on_one_corpus(tmp_path: Path) -> None:
    write_heard(tmp_path, clips_of(["salom dunyo"] * 3), {"base": ["salom dunyo"] * 3})
    text = words(Outline(write_report(tmp_path, score(tmp_path, resamples=20)).read_text("utf-8")).text)
    assert "No other system was evaluated beside it" in text
    assert "None: the base made no error." in text
    assert "The probes, in which nothing is said, were not played." in text
    assert "Pooled" not in text and "raw WER" not in text


def test_predictions_of_another_evaluation_are_refused(
    evaluated: tuple[Path, EvaluationRecord], tmp_path: Path
) -> None:
    folder, record = evaluated
    shutil.copytree(folder, tmp_path / "eval")
    clips = quickstart_clips(40)
    write_heard(tmp_path / "eval", clips, {"base": clips.column("text")})
    with pytest.raises(RecordError, match="other predictions of base; evaluate again"):
        write_report(tmp_path / "eval", record)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    clips = quickstart_clips(4, "clips")
    write_heard(tmp_path / "eval", clips, {"adapter": ["x"] * 4, "base": clips.column("text")})
    score(tmp_path / "eval", resamples=20).write(tmp_path / "eval/results.json")
    return RunDirectory(tmp_path)


def test_a_run_writes_its_page_anew(run: RunDirectory) -> None:
    manifest = "quickstart/corpus/uz/test.jsonl"
    run.recipe.write_text(RECIPE.replace("path: test.jsonl", f"path: {manifest}\n      publish_audio: true"), "utf-8")
    page = report_run(run.path)
    assert page == run.eval / "report.html"
    text = page.read_text("utf-8")
    assert "<h1>A small adapter</h1>" in text
    assert text.count("<audio") == 4


def test_a_run_whose_recordings_are_gone_has_a_page_that_says_so(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    run.recipe.write_text(RECIPE.replace("path: test.jsonl", "path: gone.jsonl\n      publish_audio: true"), "utf-8")
    text = report_run(run.path).read_text("utf-8")
    assert "4 without a player, as clips was not at hand" in text
    assert "gone.jsonl" in capsys.readouterr().err


def test_colours_can_be_read_in_light_and_in_dark() -> None:
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", CSS.read_text("utf-8"), re.DOTALL)
    )
    assert light.keys() == dark.keys()
    for scheme in (light, dark):
        for ink in ("ink", "quiet", "good", "bad"):
            assert contrast(scheme[ink], scheme["paper"]) >= 4.5 and contrast(scheme[ink], scheme["tint"]) >= 4.5
        for mark in ("substituted", "deleted", "inserted"):
            assert contrast(scheme[mark], scheme[f"{mark}-tint"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, as WCAG 2 defines it."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
