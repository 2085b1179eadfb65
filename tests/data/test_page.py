"""Write pages of hostile and ordinary corpora, and use one in a browser."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from escoita.cli.data_view import KINDS
from escoita.cli.main import app
from escoita.data import page
from escoita.data.page import write_page
from escoita.data.statistics import Measured, measure
from escoita.errors import WriteError
from escoita.recipe.schema import Corpus
from tests.samples import RECIPE, melody, write_clip, write_manifest
from tests.space.browsing import CHROMIUM, FLAGS


HOSTILE = "</script><script>document.title = 'bad'</script><img src=x onerror=alert()> & \u2028 ]]>"


@pytest.fixture
def corpus(tmp_path: Path) -> Measured:
    folder = tmp_path / "data"
    folder.mkdir()
    names = ["one.wav", "javascript:alert(1).wav", "tres #1 ñ.wav"]
    for name in names:
        write_clip(folder / name, melody(2.0))
    rows: list[dict[str, Any] | str] = [
        {"audio_filepath": names[0], "text": HOSTILE, "speaker": "<b>ana</b>", "id": "a"},
        {"audio_filepath": names[1], "text": "שלום עולם", "id": "b"},
        {"audio_filepath": names[2], "text": "bo día 25", "offset": 0.5, "duration": 1.0, "id": "c"},
    ]
    manifest = write_manifest(folder / "rows.jsonl", rows)
    return measure(Corpus(name="talks", path=str(manifest)), "train", "gl")[0]


def clips_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    found = re.findall(r'<script id="clips" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert len(found) == 1
    clips: list[dict[str, Any]] = json.loads(found[0])["clips"]
    return clips


def test_texts_are_data_and_recordings_are_relative_links(corpus: Measured, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert write_page(path, "<i>name</i>", [corpus], KINDS) == 3
    content = path.read_text("utf-8")
    assert content.count("<script") == content.count("</script>") == 2
    assert "<img" not in content and "<b>" not in content and "<i>" not in content
    clips = clips_of(path)
    assert [clip["text"] for clip in clips] == [HOSTILE, "שלום עולם", "bo día 25"]
    assert [clip["dir"] for clip in clips] == ["ltr", "rtl", "ltr"]
    assert [clip["audio"] for clip in clips] == [
        "data/one.wav",
        "data/javascript%3Aalert%281%29.wav",
        "data/tres%20%231%20%C3%B1.wav#t=0.500,1.500",
    ]
    assert clips[2]["seconds"] == 1.0 and clips[2]["rate"] == 9.0
    assert "digits" in [kind for kind, _ in clips[2]["kinds"]]


def test_recordings_can_be_embedded_within_a_limit(
    corpus: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    write_page(path, "name", [corpus], KINDS, embed=True)
    embedded = [clip["audio"] for clip in clips_of(path)]
    header = "data:audio/flac;base64,"
    assert all(each.startswith(header) for each in embedded)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(embedded[2].removeprefix(header))))
    assert len(samples) / rate == pytest.approx(1.0, abs=0.01)
    monkeypatch.setattr(page, "EMBEDDED_BYTES", max(map(len, embedded)) + 10)
    write_page(path, "name", [corpus], KINDS, embed=True)
    assert 0 < sum(bool(clip["audio"]) for clip in clips_of(path)) < 3


def test_outliers_stay_if_there_are_too_many_clips(
    corpus: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_CLIPS", 2)
    write_page(tmp_path / "page.html", "name", [corpus, corpus], KINDS)
    assert all(clip["kinds"] for clip in clips_of(tmp_path / "page.html"))


def test_other_files_are_not_replaced(corpus: Measured, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(WriteError) as caught:
        write_page(path, "name", [corpus], KINDS)
    assert caught.value.path == path and path.read_text() == "mine"


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows: list[dict[str, Any] | str] = []
    for name in ("a", "b"):
        write_clip(tmp_path / f"{name}.wav", melody(1.0 + (name == "b")))
        rows.append({"audio_filepath": f"{name}.wav", "text": f"ola {name}"})
    write_manifest(tmp_path / "rows.jsonl", rows)
    corpora = {split: [{"name": "talks", "path": "rows.jsonl"}] for split in ("train", "test")}
    Path("recipe.yaml").write_text(yaml.safe_dump({**yaml.safe_load(RECIPE), "corpora": corpora}))
    result = CliRunner().invoke(app, ["data", "recipe.yaml", "--html", "page.html"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert [clip["audio"] for clip in clips_of(Path("page.html"))] == ["a.wav", "b.wav"] * 2


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_clips_are_filtered_sorted_and_played(corpus: Measured, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "page.html"
    write_page(path, "name", [corpus], KINDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_page()
        problems: list[str] = []
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        shown.goto(path.as_uri())
        assert shown.locator("#rows tr").count() == 3 and shown.title() == "Corpora of name"
        assert shown.locator("#rows tr").nth(0).locator("td").nth(1).inner_text().startswith("</script>")
        assert shown.locator("#rows td[dir=rtl]").count() == 1
        shown.select_option("#kind", "digits")
        assert shown.locator("#rows tr").count() == 1
        shown.select_option("#kind", "")
        shown.select_option("#sort", "slow")
        rates = [float(text) for text in shown.locator("#rows tr td:nth-child(3)").all_inner_texts()]
        assert rates == sorted(rates)
        played = shown.evaluate(
            "() => { const audio = [...document.querySelectorAll('audio')].find((each) => each.src.includes('#t='));"
            " audio.muted = true; return audio.play().then(() => audio.currentTime); }"
        )
        assert played >= 0.4 and not problems
        browser.close()
