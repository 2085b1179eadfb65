"""Run `escoita init` on each layout, and read the corpora of the recipe that it writes."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from escoita.cli import init as command
from escoita.cli.init import ExistingFileError
from escoita.cli.main import app
from escoita.data.clips import check_clips
from escoita.data.readers import read_corpus
from escoita.data.rows import Utterance
from escoita.errors import CorpusError, EscoitaError
from escoita.metrics.characters import compared_form
from escoita.recipe.schema import Recipe, load_recipe
from tests.conftest import ROOT
from tests.data.inspection.layouts import LAYOUTS, TEXTS, write_layout
from tests.samples import tone, write_clip


BASE = str(ROOT / "quickstart/gemma4")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield
    os.chdir(before)


def run(*arguments: str, answers: str | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), input=answers)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def init(*arguments: str) -> Recipe:
    run("init", *arguments, "--language", "uz", "--name", "household", "--base", BASE)
    return load_recipe("household.yaml")


def rows_of(recipe: Recipe) -> dict[str, list[Utterance]]:
    rows = {}
    for split in ("train", "validation", "test"):
        (corpus,) = getattr(recipe.corpora, split) or [None]
        if corpus:
            read, rejected = read_corpus(corpus, recipe.language)
            usable, broken = check_clips(read, 30.0)
            assert not rejected and not broken
            rows[split] = list(usable)
    return rows


# Layouts of a reader each; the others are read by the slow tests.
FAST = ("csv", "ELAN", "Kaldi", "txt", "xlsx", "spontaneous")


@pytest.mark.parametrize(
    "layout", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS]
)
def test_the_corpora_of_each_layout_can_be_read(layout: str, tmp_path: Path) -> None:
    write_layout(layout, tmp_path / "recordings")
    recipe = init("recordings")
    rows = rows_of(recipe)
    assert rows["train"] and rows["test"]
    found = [row for split in rows.values() for row in split]
    expected = {compared_form(text) for text in TEXTS}
    assert {compared_form(row.text) for row in found} <= expected
    assert len(found) >= 10 and len({(row.split, row.id) for row in found}) == len(found)
    speakers = {split: {row.speaker for row in each} - {""} for split, each in rows.items()}
    named = LAYOUTS[layout][1]
    if named:
        assert len(set().union(*speakers.values())) == named
    if recipe.corpora.split_by == "speaker":
        assert not speakers["test"] & speakers["train"]
    assert (recipe.corpora.split_by == "speaker") == (named > 1 and layout != "spontaneous")
    sentences = {split: {compared_form(row.text) for row in each} for split, each in rows.items()}
    assert not sentences["test"] & sentences["train"]
    assert not any(corpus.publish_references for corpus in (*recipe.corpora.train, *recipe.corpora.test))


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    write_layout("parquet", tmp_path / "recordings")
    first = init("recordings")
    before = Path("household.yaml").read_bytes()
    with pytest.raises(ExistingFileError) as caught:
        init("recordings")
    assert caught.value.path == Path("household.yaml")
    Path("household.yaml").unlink()
    Path("household.jsonl").unlink()
    with pytest.raises(ExistingFileError) as caught:
        init("recordings")
    assert caught.value.path == Path("household-audio")
    assert init("recordings", "--force") == first and Path("household.yaml").read_bytes() == before


def test_force_removes_no_folder_of_the_user(tmp_path: Path) -> None:
    folder = write_layout("parquet", tmp_path / "household-audio")
    before = sorted(folder.rglob("*"))
    with pytest.raises(CorpusError) as caught:
        init("household-audio", "--force")
    assert caught.value.path == Path("household-audio") and sorted(folder.rglob("*")) == before
    Path("household.yaml").mkdir()
    with pytest.raises(ExistingFileError):
        init("household-audio", "--force")


def test_the_folder_of_the_recordings_is_not_changed(tmp_path: Path) -> None:
    folder = write_layout("WebDataset", tmp_path / "recordings")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    init("recordings")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_columns_and_licenses_can_be_given(tmp_path: Path) -> None:
    write_layout("csv", tmp_path / "recordings")
    recipe = init(
        "recordings", "--column", "speaker=", "--column", "text=Data de gravación", "--license", "cc-by-4.0",
        "--publish-transcripts",
    )  # fmt: skip
    (test,) = recipe.corpora.test
    assert recipe.corpora.split_by == "clip" and test.license == "cc-by-4.0" and test.publish_references
    assert rows_of(recipe)["test"][0].text.startswith("2024")


def test_folders_can_name_the_speakers(tmp_path: Path) -> None:
    write_layout("txt", tmp_path / "recordings")
    assert init("recordings", "--speaker-folders").corpora.split_by == "speaker"


@pytest.mark.parametrize("command", ["init", "split"])
def test_the_option_for_speakers_is_named_if_folders_may_be_speakers(command: str, tmp_path: Path) -> None:
    lines: list[str] = []
    for folder in ("ana", "bieito"):
        (tmp_path / "recordings" / folder).mkdir(parents=True)
        for index in range(4):
            path = write_clip(tmp_path / f"recordings/{folder}/{index}.wav", tone(300 + 50 * index))
            lines.append(f"{path},frase {folder} {index}")
    (tmp_path / "rows.csv").write_text("\n".join(["audio,text", *lines]), "utf-8")
    options = ("--language", "gl", *(("--base", BASE, "--name", "first") if command == "init" else ()))
    output = run(command, "rows.csv", *options)
    assert "--speaker-folders" in output and "ana, bieito" in output
    options = ("--language", "gl", *(("--base", BASE, "--name", "second") if command == "init" else ("--force",)))
    assert "--speaker-folders" not in run(command, "rows.csv", *options, "--speaker-folders")


def test_folders_that_are_splits_are_no_speakers(tmp_path: Path) -> None:
    write_layout("audiofolder", tmp_path / "recordings")
    output = run("init", "recordings", "--language", "uz", "--base", BASE, "--column", "speaker=")
    assert "--speaker-folders" not in output


def test_the_first_of_two_transcripts_of_a_recording_is_used(tmp_path: Path) -> None:
    lines = []
    for index in range(10):
        path = write_clip(tmp_path / f"{index}.wav", tone(300 + 50 * index))
        lines.append(f"{path},frase {index}")
    lines += [lines[3].replace("frase", "outra"), lines[4]]  # a second transcript, and a repeated row
    (tmp_path / "rows.csv").write_text("\n".join(["audio,text", *lines]), "utf-8")
    output = run("init", "rows.csv", "--language", "gl", "--base", BASE)
    assert "'frase 3' (rows.csv:5) is used, 'outra 3' is not" in output
    texts = [row.text for split in rows_of(load_recipe("rows.yaml")).values() for row in split]
    assert sorted(texts) == sorted([*(f"frase {index}" for index in range(10)), "frase 4"])


def test_a_long_second_transcript_is_shortened(tmp_path: Path) -> None:
    lines = []
    for index in range(10):
        path = write_clip(tmp_path / f"{index}.wav", tone(300 + 50 * index))
        lines.append(f"{path},frase {index}")
    lines.append(lines[3] + " outra" * 10_000)
    (tmp_path / "rows.csv").write_text("\n".join(["audio,text", *lines]), "utf-8")
    output = run("init", "rows.csv", "--language", "gl", "--base", BASE)
    assert "frase 3 outra" in output and max(map(len, output.splitlines())) < 2_000


def test_questions_are_asked_on_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command._ask(None, None, yes=True) == (False, None)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert command._ask(None, None, yes=False) == (False, None)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *args, **kwargs: True)
    monkeypatch.setattr("typer.prompt", lambda *args, **kwargs: "cc0-1.0")
    assert command._ask(None, None, yes=False) == (True, "cc0-1.0")
    assert command._ask(False, "mit", yes=False) == (False, "mit")


@pytest.mark.parametrize(
    "arguments, key",
    [
        (["--language", "Uzbek"], "--language"),
        (["--name", "a b"], "--name"),
        (["--gpu", "big"], "--gpu"),
        (["--column", "words=x"], "--column"),
        (["--column", "text=Nada"], "columns.text"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(arguments: list[str], key: str, tmp_path: Path) -> None:
    write_layout("csv", tmp_path / "recordings")
    with pytest.raises(EscoitaError) as caught:
        run("init", "recordings", "--language", "uz", "--base", BASE, *arguments)
    assert caught.value.key == key
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recordings"]


@pytest.mark.parametrize(
    "gpu, base, four_bit", [("80GB", "gemma-4", False), ("24", "gemma-4", True), ("8 GB", "Qwen3", False)]
)
def test_the_base_fits_the_gpu(gpu: str, base: str, four_bit: bool, tmp_path: Path) -> None:
    write_layout("csv", tmp_path / "Gravacións de Ana")
    output = run("init", "Gravacións de Ana", "--language", "uz", "--gpu", gpu)
    recipe = load_recipe("gravacions-de-ana.yaml")
    assert base in recipe.base and recipe.load_in_4bit == four_bit and recipe.eval.normalizer == "uzbek"
    assert recipe.training["per_device_train_batch_size"] >= 1
    assert "escoita train gravacions-de-ana.yaml" in output


def test_split_writes_a_manifest(tmp_path: Path) -> None:
    write_layout("csv", tmp_path / "recordings")
    (table,) = Path("recordings").glob("*.csv")
    output = run("split", str(table), "--out", "recordings/rows.jsonl")
    assert unicodedata.normalize("NFC", "rows.jsonl") in output
    from escoita.recipe.schema import Corpus

    sizes = [
        len(read_corpus(Corpus(name="c", path="recordings/rows.jsonl", split=split), "uz")[0])
        for split in ("train", "validation", "test")
    ]
    assert sum(sizes) == 12 and min(sizes) > 0
    with pytest.raises(ExistingFileError):
        run("split", str(table), "--out", "recordings/rows.jsonl")
    run("split", "recordings/rows.jsonl", "--again", "--seed", "1", "--out", "recordings/again.jsonl")
    assert Path("recordings/again.jsonl").read_text() != Path("recordings/rows.jsonl").read_text()


@pytest.mark.parametrize(
    "name, language", [("2024-03-01", "no"), ("123", "uz-Latn"), ("a\nb: [c", "gl"), ("on", "sw")]
)
def test_names_and_languages_that_yaml_reads_as_others_are_quoted(name: str, language: str, tmp_path: Path) -> None:
    write_layout("txt", tmp_path / name)
    run("init", name, "--language", language, "--base", BASE)
    (written,) = tmp_path.glob("*.yaml")
    recipe = load_recipe(written)
    assert recipe.name == written.stem and recipe.language == language
    assert recipe.corpora.train[0].audio_root == name


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["semicolon, BOM", "ELAN", "LJSpeech", "Kaldi", "txt", "spontaneous"])
def test_three_commands_lead_to_an_evaluated_adapter(layout: str, tmp_path: Path) -> None:
    write_layout(layout, tmp_path / "recordings")
    init("recordings")
    run("data", "household.yaml")
    run("doctor", "household.yaml")
    run("train", "household.yaml", "--set", "training.max_steps=2")
    run("eval", "--run", "runs/household")
    assert Path("runs/household/eval/results.json").is_file()
