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
from escoita.data.loading import RejectedRowsError
from escoita.data.report import (
    DEFAULT_MAX_AUDIO_SECONDS,
    around_change,
    duration_edges,
    find_outliers,
    normalization,
    reasons,
    refusals,
    survey,
    usual_speaking_rate,
    write_survey,
)
from escoita.data.rows import Rejected, Utterance, Utterances
from escoita.data.statistics import Measured, shortened
from escoita.errors import CorpusError
from escoita.metrics.characters import count_characters
from escoita.recipe.schema import Recipe, load_recipe
from escoita.records.data import CorpusData, DataRecord, OutlierKind, Outliers
from escoita.run_directory import RunDirectory
from tests.conftest import CORPUS
from tests.data.measures import clip, measured
from tests.samples import RECIPE, melody, tone, write_clip, write_manifest


Rows = list[dict[str, Any] | str]


def quickstart(split: str, count: int) -> Rows:
    """Return rows of real clips with absolute paths."""
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


def test_statistics_of_the_quick_start(tmp_path: Path) -> None:
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
    """Return the recipe of a corpus with a problem of each kind."""
    train, test = quickstart("train", 30), quickstart("test", 10)
    first, second = train[0], train[1]
    assert isinstance(first, dict) and isinstance(second, dict)
    samples = read_audio(first["audio_filepath"])
    padded = np.concatenate([np.zeros(SAMPLING_RATE // 4, np.float32), samples / 2])
    soundfile.write(tmp_path / "copy.mp3", padded, SAMPLING_RATE)
    write_clip(tmp_path / "silence.wav", np.zeros(SAMPLING_RATE, np.float32))
    write_clip(tmp_path / "hour.flac", melody(31))
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


def test_every_problem_is_found(broken: Recipe) -> None:
    record = survey(broken)
    test = of(record, "test")
    assert (test.clips, test.rejected) == (17, 3)
    reason = test.reasons[0]
    assert reason.rows == 2
    assert reason.examples == [
        f"test.jsonl:18: gone.wav: {reason.reason}",
        f"test.jsonl:19: lost.wav: {reason.reason}",
    ]
    outliers = {each.kind: [example.clip.id for example in each.examples] for each in test.outliers}
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


def test_the_record_is_reproducible_and_contains_no_folder(
    broken: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(broken.run_path)
    record = write_survey(broken, run)
    written = run.data.read_bytes(), run.durations.read_bytes()
    assert DataRecord.read(run.data) == record
    assert str(tmp_path).encode() not in written[0] and str(CORPUS).encode() not in written[0]
    monkeypatch.setattr(clips, "decode_clip", lambda utterance: pytest.fail(f"{utterance.audio} was decoded again"))
    unchanged = broken.model_copy(update={"corpora": broken.corpora.model_copy(update={"test": broken.corpora.train})})
    survey(unchanged)
    monkeypatch.undo()
    write_survey(broken, run)
    assert (run.data.read_bytes(), run.durations.read_bytes()) == written


def test_the_digest_changes_with_the_corpus(tmp_path: Path) -> None:
    train, test = quickstart("train", 6), quickstart("test", 6)
    before = survey(recipe_of(tmp_path, train, test))
    assert isinstance(train[3], dict)
    after = survey(recipe_of(tmp_path, [*train[:3], train[3] | {"text": "boshqa"}, *train[4:]], test))
    fewer = survey(recipe_of(tmp_path, train[1:], test))
    digests = {of(record, "train").sha256 for record in (before, after, fewer)}
    assert len(digests) == 3 and len({of(record, "test").sha256 for record in (before, after, fewer)}) == 1


def test_a_missing_corpus(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, quickstart("train", 4), quickstart("test", 4))
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(CorpusError) as error:
        survey(recipe)
    assert error.value.path == tmp_path / "train.jsonl"
    record = survey(recipe, missing_ok=True)
    assert [(each.split, each.name) for each in record.missing] == [("train", "clips")]
    assert [data.split for data in record.corpora] == ["test"] and record.leaks == []


def test_missing_recordings(tmp_path: Path) -> None:
    """The manifest was copied without its clips."""
    recipe = recipe_of(tmp_path, [{"audio_filepath": "a.wav", "text": "un"}], quickstart("test", 4))
    with pytest.raises(RejectedRowsError) as error:
        survey(recipe)
    assert (error.value.rejected, error.value.total) == (1, 1)
    assert [each.split for each in survey(recipe, missing_ok=True).missing] == ["train"]


def test_all_corpora_are_missing(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, quickstart("train", 1), quickstart("test", 1))
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").unlink()
    record = survey(recipe, missing_ok=True)
    assert len(record.missing) == 2 and record.corpora == record.leaks == record.duplicates == []


AUDIBLE = b"audible"
# About twelve characters per second.
USUAL = [clip("chiroqni yoq", 1 + index % 7 / 20, AUDIBLE) for index in range(30)]


def outliers_of(corpus: Measured, limit: float = 30.0) -> dict[OutlierKind, Outliers]:
    characters = count_characters(corpus.utterances.each("text"))
    return {each.kind: each for each in find_outliers(corpus, characters, limit)}


def test_a_corpus_without_outliers() -> None:
    assert outliers_of(measured(*USUAL)) == {}


@pytest.mark.parametrize(
    "outlier, kind, value",
    [
        (clip("chiroqni yoq " * 29, 30.5, AUDIBLE), "long", "30.5 s"),
        (clip("u", 0.1, AUDIBLE), "short", "0.10 s"),
        (clip("chiroqni yoq " * 20, 2.0, AUDIBLE), "dense", "130.0"),
        (clip("ha", 5.0, AUDIBLE), "sparse", "0.4 "),
        (clip("чироқни ёқ ok", 1.0, AUDIBLE), "script", "Cyrillic"),
        (clip("soat 7:30 da", 1.0, AUDIBLE), "digits", "7:30 "),
        (clip("chiroqni yoq", 1.0), "silent", "audible"),
        (clip("chiroqni yoq", 1.0, AUDIBLE, duration=1.6), "claim", "1.60 s"),
        (clip("chiroqni yoq", 1.0, AUDIBLE, duration=0.4), "claim", "0.40 s"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_an_outlier_of_each_kind(outlier: tuple, kind: OutlierKind, value: str) -> None:
    (outliers,) = outliers_of(measured(*USUAL, outlier)).values()
    assert (outliers.kind, outliers.clips, outliers.share) == (kind, 1, 1 / 31)
    (example,) = outliers.examples
    assert (example.clip.id, example.clip.text) == ("30", shortened(outlier[0]["text"]))
    assert value in example.detail


@pytest.mark.parametrize(
    "usual",
    [
        clip("chiroqni yoq " * 28, 30.0, AUDIBLE),
        clip("ha", 0.2, AUDIBLE),
        clip("chiroqni yoq OK да", 1.5, AUDIBLE),
        clip("oʻn toʻrtta", 1.0, AUDIBLE),
        clip("chiroqni yoq", 1.0, AUDIBLE, duration=1.5),
        clip("chiroqni yoq", 1.0, AUDIBLE, offset=3.0, duration=9.0),
    ],
    ids=["as long as the limit", "short", "a foreign word", "a modifier letter", "a rounded claim", "a segment"],
)
def test_clips_that_are_not_outliers(usual: tuple) -> None:
    assert outliers_of(measured(*USUAL, usual)) == {}


@pytest.mark.parametrize(
    "words, short", [(["bir", "ikki", "uch"], 1), (["a", "be", "ce"], 0)], ids=["words", "letters"]
)
def test_a_clip_is_too_short_relative_to_the_words_of_its_corpus(words: list[str], short: int) -> None:
    corpus = measured(*[clip(words[index % 3], 0.25, AUDIBLE) for index in range(30)], clip(words[0], 0.08, AUDIBLE))
    found = outliers_of(corpus)
    assert (found["short"].clips if "short" in found else 0) == short


def test_the_most_extreme_outliers_are_the_examples() -> None:
    lengths = [31, 45, 33, 60, 32, 44, 35]
    outliers = outliers_of(measured(*USUAL, *(clip("chiroqni yoq " * 30, each, AUDIBLE) for each in lengths)))["long"]
    assert outliers.clips == 7
    assert [example.detail for example in outliers.examples] == ["60.0 s", "45.0 s", "44.0 s", "35.0 s", "33.0 s"]


def test_the_limit_of_another_model_applies() -> None:
    assert outliers_of(measured(*USUAL), limit=1.25)["long"].clips == sum(
        fields["audio_seconds"] > 1.25 for fields, _ in USUAL
    )


def test_the_script_is_that_of_most_letters_of_the_corpus() -> None:
    rows = [clip("чироқни ёқ", 1.0, AUDIBLE)] * 5 + [clip("chiroqni yoq", 1.0, AUDIBLE), clip("12 !?", 1.0, AUDIBLE)]
    (example,) = outliers_of(measured(*rows))["script"].examples
    assert example.detail.startswith("Latin")


def test_a_corpus_without_letters() -> None:
    assert set(outliers_of(measured(*[clip("12 !?", 1.0, AUDIBLE)] * 3))) == {"digits"}


def test_outliers_have_little_influence_on_the_usual_rate() -> None:
    rates = np.random.default_rng(1).lognormal(np.log(12), 0.2, 1_000)
    spoilt = np.concatenate([rates, np.full(200, 0.01), np.full(100, 900.0)])
    for slow, fast in (usual_speaking_rate(rates), usual_speaking_rate(spoilt)):
        assert 4 < slow < 6 and 23 < fast <= 30


def test_half_and_twice_the_median_are_always_usual() -> None:
    assert usual_speaking_rate(np.full(100, 10.0)) == pytest.approx((5, 20))


def test_few_clips_have_no_usual_rate() -> None:
    assert usual_speaking_rate(np.array([2.0, 25.0] + [10.0] * 17)) == (1.0, 30.0)


def test_the_limit_is_that_of_the_families() -> None:
    from escoita.models.base import Family

    assert Family.max_audio_seconds == DEFAULT_MAX_AUDIO_SECONDS


def test_clips_of_which_one_channel_is_used() -> None:
    (outliers,) = outliers_of(measured(*USUAL, channels=[0] * (len(USUAL) - 1) + [2])).values()
    assert (outliers.kind, outliers.clips) == ("channel", 1)
    assert "2" in outliers.examples[0].detail


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


def test_reasons_that_differ_in_numbers_only_are_one() -> None:
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
def test_the_first_change_of_a_normalizer_is_shown_in_context(before: str, after: str, shown: tuple[str, str]) -> None:
    assert around_change(before, after) == shown


def test_changes_of_the_normalizer_are_counted(tmp_path: Path) -> None:
    rows: Rows = [
        {"audio_filepath": "own.wav", "text": text} for text in ("O'zbek tili", "[kulgi]", "bir ikki", "a (b) c")
    ]
    write_clip(tmp_path / "own.wav")
    changes = of(survey(recipe_of(tmp_path, rows, rows, normalizer="basic")), "train").normalization
    assert (changes.merged, changes.split, changes.emptied) == (1, 1, 1)
    assert ("O'zbek tili", "o zbek tili") in changes.examples and ("[kulgi]", "") in changes.examples


def test_the_command(broken: Recipe, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = command("-m", "escoita", "data", str(tmp_path / "recipe.yaml"), "--set", "name=other")
    assert done.returncode == 0, done.stderr
    run = RunDirectory(tmp_path / "runs/small")
    assert done.stdout.endswith(f"Record: {run.data}\nPlot:   {run.durations}\n")
    assert DataRecord.read(run.data).name == "other" and run.durations.read_text("utf-8").startswith("<svg")
    assert "copy, like train uz-train-0000: boshqa gap" in done.stdout
    assert not run.recipe.exists(), "the command does not start a run"


def refused(folder: Path, train: Rows, validation: Rows | None = None, **training: Any) -> list[str]:
    recipe = recipe_of(folder, train, quickstart("test", 2), validation)
    recipe = recipe.model_copy(update={"training": recipe.training | training})
    return refusals(survey(recipe), recipe)


def test_rows_over_the_share_and_silent_corpora_would_be_refused(tmp_path: Path) -> None:
    good: Any = quickstart("train", 2)
    gone = {**good[0], "audio_filepath": "gone.wav"}
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    silent = {**good[0], "audio_filepath": str(tmp_path / "silent.wav")}
    assert refused(tmp_path, good) == []
    assert len(refused(tmp_path, [*good, gone])) == 1
    assert len(refused(tmp_path, [silent])) == 1
    assert len(refused(tmp_path, [silent, gone])) == 2
    assert len(refused(tmp_path, good, [*good, gone])) == 1
    assert refused(tmp_path, good, [*good, gone], eval_strategy="no") == []


def test_the_command_exits_with_1_if_training_would_refuse(
    tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    good: Any = quickstart("train", 2)
    recipe_of(tmp_path, [*good, {**good[0], "audio_filepath": "gone.wav"}], quickstart("test", 2))
    done = command("-m", "escoita", "data", str(tmp_path / "recipe.yaml"))
    assert done.returncode == 1 and "clips, train: " in done.stderr and "Unusable rows" in done.stdout
    assert (tmp_path / "runs/small/data.json").is_file()


def test_the_command_fails_with_one_line(
    tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    recipe_of(tmp_path, quickstart("train", 2), quickstart("test", 2))
    (tmp_path / "test.jsonl").unlink()
    done = command("-m", "escoita", "data", str(tmp_path / "recipe.yaml"))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "corpora.test.0.path" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "text, kind",
    [
        ("chiroqni\u00a0yoq", "invisible"),
        ("chiroqni yoq &quot;", "entity"),
        ("chiroqni yoq (kulgi)", "note"),
    ],
)
def test_transcripts_that_were_not_spoken_are_outliers(text: str, kind: OutlierKind) -> None:
    (outliers,) = outliers_of(measured(*USUAL, clip(text, 1.5, AUDIBLE))).values()
    assert (outliers.kind, outliers.clips) == (kind, 1)
    assert outliers.examples[0].detail


def test_words_that_basic_splits_at_marks_are_counted() -> None:
    rows = Utterances.of(
        Utterance(f"c{row}", "a.wav", text, "c", "hi", "s", row) for row, text in enumerate(["हिन्दी भाषा", "bir"])
    )
    assert (normalization(rows, "basic").at_marks, normalization(rows, "basic").words_at_marks) == (1, 2)
    assert normalization(rows, "unicode").at_marks == 0
