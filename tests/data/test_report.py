import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from escoita.audio.loading import SAMPLING_RATE, read_audio
from escoita.data import clips
from escoita.data.report import around_change, duration_edges, reasons, survey, write_survey
from escoita.data.rows import Rejected
from escoita.errors import CorpusError
from escoita.recipe.schema import Recipe, load_recipe
from escoita.records.data import CorpusData, DataRecord
from escoita.run_directory import RunDirectory
from tests.conftest import CORPUS
from tests.samples import RECIPE, tone, write_clip, write_manifest


Rows = list[dict[str, Any] | str]


def quickstart(split: str, count: int) -> Rows:
    """Real clips, their paths whole."""
    rows = [json.loads(line) for line in (CORPUS / f"{split}.jsonl").read_text("utf-8").splitlines()[:count]]
    return [row | {"audio_filepath": str(CORPUS / row["audio_filepath"])} for row in rows]


def recipe_of(folder: Path, train: Rows, test: Rows, validation: Rows | None = None, **evaluation: Any) -> Recipe:
    document = yaml.safe_load(RECIPE) | {"run_dir": str(folder / "runs/small"), "eval": evaluation}
    for split, rows in (("train", train), ("validation", validation), ("test", test)):
        if rows:
            path = write_manifest(folder / f"{split}.jsonl", rows)
            document["corpora"][split] = [{"name": "clips", "path": str(path)}]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(document), "utf-8")
    return load_recipe(folder / "recipe.yaml")


def of(record: DataRecord, split: str) -> CorpusData:
    (data,) = (each for each in record.corpora if each.split == split)
    return data


def test_what_the_quick_start_holds(tmp_path: Path) -> None:
    record = survey(recipe_of(tmp_path, quickstart("train", 40), quickstart("test", 10)))
    train = of(record, "train")
    rows = [row for row in quickstart("train", 40) if isinstance(row, dict)]
    lengths = [soundfile.info(row["audio_filepath"]).duration for row in rows]
    texts = [row["text"] for row in rows]
    assert (train.name, train.language, train.clips, train.rejected) == ("clips", "uz", 40, 0)
    assert train.audio_seconds == pytest.approx(sum(lengths), abs=0.1)
    assert train.seconds.max == pytest.approx(max(lengths), abs=0.01)
    assert train.seconds.median == pytest.approx(np.median(lengths), abs=0.01)
    assert sum(train.histogram) == 40 and len(train.histogram) == len(record.duration_edges)
    assert record.histograms == {"train": train.histogram, "test": of(record, "test").histogram}
    assert (train.words, train.characters) == (sum(len(text.split()) for text in texts), len("".join(texts)))
    assert train.characters_per_second.min <= train.characters / train.audio_seconds <= train.characters_per_second.max
    assert train.speakers == len({row["speaker"] for row in rows}) and train.without_speaker == 0
    assert {each.character: each.count for each in train.inventory}["ʻ"] == "".join(texts).count("ʻ")
    assert not record.missing and not any(leak.clips for leak in record.leaks)
    assert [(leak.split, leak.by) for leak in record.leaks] == [
        ("test", by) for by in ("transcript", "speaker", "audio")
    ]


@pytest.fixture
def broken(tmp_path: Path) -> Recipe:
    """The quick start, spoilt in each way that is looked for."""
    train, test = quickstart("train", 30), quickstart("test", 10)
    first, second = train[0], train[1]
    assert isinstance(first, dict) and isinstance(second, dict)
    samples = read_audio(first["audio_filepath"])
    padded = np.concatenate([np.zeros(SAMPLING_RATE // 4, np.float32), samples / 2])
    soundfile.write(tmp_path / "copy.mp3", padded, SAMPLING_RATE)
    write_clip(tmp_path / "silence.wav", np.zeros(SAMPLING_RATE, np.float32))
    write_clip(tmp_path / "hour.flac", tone(seconds=31))
    write_clip(tmp_path / "own.wav", tone())
    own = {"audio_filepath": "own.wav", "text": "yangi soʻz", "speaker": "x1"}
    test += [
        {"audio_filepath": "copy.mp3", "text": "boshqa gap", "id": "copy"},
        own | {"id": "known", "text": second["text"].upper() + "!", "speaker": second["speaker"]},
        own | {"id": "digits", "text": "soat 7 da", "gender": "female"},
        own | {"id": "script", "text": "чироқни ёқ"},
        own | {"id": "claim", "duration": 4.5},
        {"audio_filepath": "silence.wav", "text": "hech narsa", "id": "silent"},
        {"audio_filepath": "hour.flac", "text": "uzun gap " * 40, "id": "long"},
        {"audio_filepath": "gone.wav", "text": "yoʻq"},
        {"audio_filepath": "lost.wav", "text": "yoʻq"},
        "{",
    ]
    return recipe_of(tmp_path, train, test, quickstart("validation", 8), normalizer="basic")


def test_everything_that_is_spoilt_is_found(broken: Recipe) -> None:
    record = survey(broken)
    test = of(record, "test")
    assert (test.clips, test.rejected) == (17, 3)
    assert [(reason.reason, reason.rows) for reason in test.reasons][0] == ("no such file", 2)
    assert test.reasons[0].examples == [
        "test.jsonl:18: gone.wav: no such file",
        "test.jsonl:19: lost.wav: no such file",
    ]
    outliers = {each.kind: [odd.clip.id for odd in each.examples] for each in test.outliers}
    for kind in ("long", "digits", "script", "silent", "claim"):
        assert outliers[kind] == [kind]
    leaks = {leak.by: leak for leak in record.leaks if leak.split == "test"}
    assert [pair.clip.id for pair in leaks["audio"].examples] == ["copy"]
    assert leaks["audio"].examples[0].like.split == "train" and leaks["audio"].clips == 1
    assert [pair.clip.id for pair in leaks["transcript"].examples] == ["known"]
    assert [pair.clip.id for pair in leaks["speaker"].examples] == ["known"]
    assert leaks["speaker"].compared == 14, "three clips name no speaker"
    assert all(leak.seen == ["train", "validation"] for leak in leaks.values())
    assert {(each.split, each.by): each.clips for each in record.duplicates}["test", "audio"] == 3
    assert test.genders == {"female": 1} and test.without_speaker == 3
    assert of(record, "validation").outliers == [] == of(record, "train").outliers


def test_the_record_is_the_same_again_and_names_no_folder(
    broken: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(broken.run_path)
    record = write_survey(broken, run)
    written = run.data.read_bytes(), run.durations.read_bytes()
    assert DataRecord.read(run.data) == record
    assert str(tmp_path).encode() not in written[0] and str(CORPUS).encode() not in written[0]
    monkeypatch.setattr(clips, "decode_clip", lambda utterance: pytest.fail(f"{utterance.audio} is decoded again"))
    spared = broken.model_copy(update={"corpora": broken.corpora.model_copy(update={"test": broken.corpora.train})})
    survey(spared)
    monkeypatch.undo()
    write_survey(broken, run)
    assert (run.data.read_bytes(), run.durations.read_bytes()) == written


def test_the_digest_tells_a_corpus_that_has_changed(tmp_path: Path) -> None:
    train, test = quickstart("train", 6), quickstart("test", 6)
    before = survey(recipe_of(tmp_path, train, test))
    assert isinstance(train[3], dict)
    after = survey(recipe_of(tmp_path, [*train[:3], train[3] | {"text": "boshqa"}, *train[4:]], test))
    fewer = survey(recipe_of(tmp_path, train[1:], test))
    digests = {of(record, "train").sha256 for record in (before, after, fewer)}
    assert len(digests) == 3 and len({of(record, "test").sha256 for record in (before, after, fewer)}) == 1


def test_a_corpus_that_is_not_at_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipe_of(tmp_path, quickstart("train", 4), quickstart("test", 4))
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"train\.jsonl"):
        survey(recipe)
    record = survey(recipe, missing_ok=True)
    assert [(each.split, each.name) for each in record.missing] == [("train", "clips")]
    assert [data.split for data in record.corpora] == ["test"] and record.leaks == []
    assert "Not compared: " in capsys.readouterr().err


def test_recordings_that_are_not_at_hand(tmp_path: Path) -> None:
    """Half of the corpora travelled: the manifest is there, the clips are not."""
    recipe = recipe_of(tmp_path, [{"audio_filepath": "a.wav", "text": "un"}], quickstart("test", 4))
    with pytest.raises(CorpusError, match="none of 1 rows can be used"):
        survey(recipe)
    assert [each.split for each in survey(recipe, missing_ok=True).missing] == ["train"]


def test_nothing_at_hand_at_all(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, quickstart("train", 1), quickstart("test", 1))
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").unlink()
    record = survey(recipe, missing_ok=True)
    assert len(record.missing) == 2 and record.corpora == record.leaks == record.duplicates == []


@pytest.mark.parametrize(
    "lengths, edges",
    [
        ([[0.4, 1.9]], [0, 0.1, 1.9, 2.0]),
        ([[3.0], [29.9] * 9], [0, 2, 28, 30]),
        ([[5.0] * 999 + [3_600.0]], [0, 0.5, 5.0, 5.5]),
        ([], [0, 0.1, 0, 0.1]),
    ],
    ids=["short", "the longest corpus counts", "one hour among seconds", "no clips"],
)
def test_the_bins_of_durations(lengths: list[list[float]], edges: list[float]) -> None:
    found = duration_edges([np.array(each) for each in lengths])
    assert [found[0], found[1], found[-2], found[-1]] == edges
    assert len(found) <= 21 and np.allclose(np.diff(found), found[1])


def test_reasons_that_differ_in_figures_alone_are_one() -> None:
    rows = [
        Rejected("/srv/m.jsonl", 1, "a.wav", "no such file"),
        *(
            Rejected("/srv/m.jsonl", row, "b.wav", f"holds {row / 7:.2f} s, not the part from 3 s")
            for row in range(2, 9)
        ),
    ]
    first, second = reasons(rows)
    assert (first.reason, first.rows) == ("holds 0.29 s, not the part from 3 s", 7)
    assert len(first.examples) == 5 and first.examples[0] == f"m.jsonl:2: b.wav: {first.reason}"
    assert (second.reason, second.rows) == ("no such file", 1)


@pytest.mark.parametrize(
    "before, after, shown",
    [
        (
            "Bu oʻng oʻrmon O'zbek tili va adabiyoti",
            "bu oʻng oʻrmon o zbek tili va adabiyoti",
            ("… oʻng oʻrmon O'zbek tili va …", "… oʻng oʻrmon o zbek tili …"),
        ),
        ("un (dous) tres", "un tres", ("un (dous) tres", "un tres")),
        ("[risa]", "", ("[risa]", "")),
        ("un dous", "un dous", ("un dous", "un dous")),
    ],
)
def test_the_place_that_a_normaliser_changes(before: str, after: str, shown: tuple[str, str]) -> None:
    assert around_change(before, after) == shown


def test_what_the_normaliser_does_is_counted(tmp_path: Path) -> None:
    rows: Rows = [
        {"audio_filepath": "own.wav", "text": text} for text in ("O'zbek tili", "[kulgi]", "bir ikki", "a (b) c")
    ]
    write_clip(tmp_path / "own.wav")
    made = of(survey(recipe_of(tmp_path, rows, rows, normalizer="basic")), "train").normalization
    assert (made.merged, made.split, made.emptied) == (1, 1, 1)
    assert ("O'zbek tili", "o zbek tili") in made.examples and ("[kulgi]", "") in made.examples


def test_the_command(broken: Recipe, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = command("-m", "escoita", "data", str(tmp_path / "recipe.yaml"), "--set", "name=other")
    assert done.returncode == 0, done.stderr
    run = RunDirectory(tmp_path / "runs/small")
    assert done.stdout.endswith(f"Record: {run.data}\nPlot:   {run.durations}\n")
    assert DataRecord.read(run.data).name == "other" and run.durations.read_text("utf-8").startswith("<svg")
    assert "copy, like train uz-train-0000: boshqa gap" in done.stdout
    assert not run.recipe.exists(), "looking at data begins no run"


def test_the_command_refuses_in_one_line(
    tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    recipe_of(tmp_path, quickstart("train", 2), quickstart("test", 2))
    (tmp_path / "test.jsonl").unlink()
    done = command("-m", "escoita", "data", str(tmp_path / "recipe.yaml"))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"escoita: {tmp_path / 'test.jsonl'}: ")
    assert not (tmp_path / "runs").exists()
