"""Check the HTML of the report; `test_texts.py` checks its texts, `test_render_in_browser.py` opens it."""

import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from escoita.evaluation.aggregate import score
from escoita.evaluation.errors import OtherPredictionsError
from escoita.evaluation.report.render import duration, report_run, write_report
from escoita.records.evaluation import PROBES, EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.evaluation.report_samples import clips_of, quickstart_clips, with_errors, write_hypotheses
from tests.evaluation.samples import write_rows
from tests.samples import RECIPE


CSS = Path(__file__).parents[3] / "eval/templates/report.css"
VOID = {"meta", "link", "br", "img", "use", "path"}


class Outline(HTMLParser):
    """Collect text, ids and addresses of a page, and check that every element is closed."""

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
    hypotheses = {
        "adapter": with_errors(texts, 0.2),
        "base": with_errors(texts, 0.8, 1),
        "whisper-tiny": with_errors(texts, 0.3, 2),
    }
    write_hypotheses(folder, clips, hypotheses)
    others = ["Salom, dunyo!", "Rahmat. Xayr!"] * 9 + ["Asta-sekin yur", "Salom, dunyo!"]
    write_hypotheses(
        folder,
        clips_of(others, "other"),
        dict.fromkeys(hypotheses, ["Salom dunyo", "rahmat xayr men"] * 10),
        rejected=2,
    )
    write_hypotheses(folder, clips_of(["", ""], PROBES), dict.fromkeys(hypotheses, ["", "Thank you."]))
    return folder, score(folder, "basic", 100, ["quickstart-uz", "other", PROBES])


@pytest.fixture(scope="module")
def page(evaluated: tuple[Path, EvaluationRecord]) -> str:
    folder, record = evaluated
    clips = {"quickstart-uz": quickstart_clips(40)}
    return write_report(folder, record, clips, {"quickstart-uz"}).read_text("utf-8")


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_page_contains_every_rate_of_the_record(page: str, evaluated: tuple[Path, EvaluationRecord]) -> None:
    text = words(Outline(page).text)
    for result in evaluated[1].rows:
        for each in result.systems:
            for rates in (each.normalized, each.raw):
                assert f"{100 * rates.wer:.2f} %" in text and f"{100 * rates.cer:.2f} %" in text
                assert f"{100 * rates.wer_ci95[0]:.2f} to {100 * rates.wer_ci95[1]:.2f} %" in text
    for mean in evaluated[1].macro:
        assert f"{100 * mean.wer:.2f} %" in text


def test_the_pool_and_the_mean_state_their_weights(page: str) -> None:
    text = words(Outline(page).text)
    assert re.search(r"60 clips, .* quickstart-uz \d\d\.\d\d %, other \d\d\.\d\d %", text)
    assert "(50.0 % each)" in text


def test_a_better_system_is_marked(page: str) -> None:
    assert '<div class="verdict better">' in page and '<td class="better">' in page


def test_the_page_needs_no_network(page: str) -> None:
    outline = Outline(page)
    assert outline.addresses and all(address.startswith(("data:", "#")) for address in outline.addresses)
    assert "default-src 'none'" in page and not outline.seen["script"]
    without_names = page.replace("http://www.w3.org/", "")  # names of XML, which are not requested
    assert not re.search(r"https?:|@import|url\((?!#)", without_names)


def test_elements_are_closed_and_ids_are_unique(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert [name for name, count in Counter(outline.ids).items() if count > 1] == []
    assert {address[1:] for address in outline.addresses if address.startswith("#")} <= set(outline.ids)


def test_tables_have_captions_and_column_headings(page: str) -> None:
    outline = Outline(page)
    assert outline.seen["table"] == outline.seen["caption"] == outline.seen["thead"] > 5
    assert all("scope=" in tag for tag in re.findall(r"<th\b[^>]*>", page))


def test_the_page_contains_recordings(page: str) -> None:
    assert 0 < page.count('<audio controls preload="metadata"') < 20
    assert "(publish_audio)" in page  # the reason for the other corpus


def test_plots_are_in_the_page_and_next_to_it(page: str, evaluated: tuple[Path, EvaluationRecord]) -> None:
    for name in ("wer-by-corpus", "wer-by-duration", "wer-distribution"):
        assert (evaluated[0] / f"{name}.svg").read_text("utf-8") in page


def test_outdated_plots_are_removed(evaluated: tuple[Path, EvaluationRecord], tmp_path: Path) -> None:
    folder, record = evaluated
    shutil.copytree(folder, tmp_path / "eval")
    pooled = record.pooled.model_copy(update={"slices": []})
    write_report(tmp_path / "eval", record.model_copy(update={"pooled": pooled}))
    names = sorted(path.name for path in (tmp_path / "eval").glob("*.svg"))
    assert names == ["wer-by-corpus.svg", "wer-distribution.svg"]


def test_the_same_files_give_the_same_bytes(
    page: str, evaluated: tuple[Path, EvaluationRecord], tmp_path: Path
) -> None:
    folder, record = evaluated
    shutil.copytree(folder, tmp_path / "copy")
    clips = {"quickstart-uz": quickstart_clips(40)}
    assert write_report(tmp_path / "copy", record, clips, {"quickstart-uz"}).read_text("utf-8") == page


def test_texts_of_corpora_and_models_are_escaped(tmp_path: Path) -> None:
    hostile = [
        "<script>alert(1)</script>",
        "]]> --> </style></td>",
        "\"' onload=x {{ 7 * 7 }} {% raw %}",
        "&amp; &lt;b>",
    ]
    write_hypotheses(tmp_path, clips_of(hostile), {"adapter": hostile[::-1]})
    outline = Outline(write_report(tmp_path, score(tmp_path, resamples=20)).read_text("utf-8"))
    assert not outline.seen["script"] and outline.open == []
    for text in hostile:
        assert all(word in outline.text for word in text.split())


def test_a_single_system_without_errors_on_one_corpus(tmp_path: Path) -> None:
    write_hypotheses(tmp_path, clips_of(["salom dunyo"] * 3), {"base": ["salom dunyo"] * 3})
    outline = Outline(write_report(tmp_path, score(tmp_path, resamples=20)).read_text("utf-8"))
    assert outline.seen["li"] == 6 and not outline.seen["ol"] and "probes-caption" not in outline.ids
    assert "Pooled" not in outline.text and "raw WER" not in outline.text


def test_predictions_of_another_evaluation_are_refused(
    evaluated: tuple[Path, EvaluationRecord], tmp_path: Path
) -> None:
    folder, record = evaluated
    shutil.copytree(folder, tmp_path / "eval")
    clips = quickstart_clips(40)
    write_hypotheses(tmp_path / "eval", clips, {"base": clips.column("text")})
    with pytest.raises(OtherPredictionsError) as refusal:
        write_report(tmp_path / "eval", record)
    assert refusal.value.path == tmp_path / "eval/quickstart-uz"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    clips = quickstart_clips(4, "clips")
    write_hypotheses(tmp_path / "eval", clips, {"adapter": ["x"] * 4, "base": clips.column("text")})
    score(tmp_path / "eval", resamples=20).write(tmp_path / "eval/results.json")
    return RunDirectory(tmp_path)


def test_the_report_of_a_run_can_be_written_again(run: RunDirectory) -> None:
    manifest = "quickstart/corpus/uz/test.jsonl"
    run.recipe.write_text(RECIPE.replace("path: test.jsonl", f"path: {manifest}\n      publish_audio: true"), "utf-8")
    page = report_run(run.path)
    assert page == run.eval / "report.html"
    text = page.read_text("utf-8")
    assert "<h1>A small adapter</h1>" in text
    assert text.count("<audio") == 4


def test_missing_recordings_are_reported(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    run.recipe.write_text(RECIPE.replace("path: test.jsonl", "path: gone.jsonl\n      publish_audio: true"), "utf-8")
    text = report_run(run.path).read_text("utf-8")
    assert "without a recording in this report: 4." in text
    assert "gone.jsonl" in capsys.readouterr().err


def test_colors_have_enough_contrast_in_both_schemes() -> None:
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
    """Return the contrast ratio of two colors by WCAG 2."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(color: str) -> float:
    channels = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0.4 s"), (59.9, "59.9 s"), (60, "1.0 min"), (3600, "1.0 h"), (4e6, "1,111.1 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_speakers_have_their_number_their_rates_and_published_names(tmp_path: Path) -> None:
    rows = [("bir ikki", "bir uch", "bir bir")] * 2 + [("bir ikki", "bir ikki", "bir bir")] * 4
    write_rows(tmp_path, rows, known=[{"speaker": name} for name in ("zoe", "zoe", "ana", "ana", "eva", "eva")])
    page = write_report(tmp_path, score(tmp_path)).read_text("utf-8")
    text = Outline(page).text
    assert "zoe" not in page
    assert "s001240.00 %50.00 %" in text and "s0032450.00 %50.00 %" in text
    assert "3 speakers" in text and "over clips of these 3 speakers" in text


def test_texts_have_the_direction_of_their_language(tmp_path: Path) -> None:
    write_rows(tmp_path, [("ئۇيغۇر تىلى", "ئۇيغۇر", "ئۇيغۇر.")], "ug-clips", "ug")
    write_rows(tmp_path, [("unha luz", "a luz", "a luz.")], "gl-clips", "gl")
    page = write_report(tmp_path, score(tmp_path, "unicode", resamples=20)).read_text("utf-8")
    assert 'lang="ug" dir="rtl"' in page and 'lang="gl" dir="auto"' in page
    assert 'lang="ug" dir="auto"' not in page and '<html lang="en">' in page
