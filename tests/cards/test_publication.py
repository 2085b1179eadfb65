import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from escoita.cards.anonymize import SpeakerMismatchError
from escoita.cards.build import OtherWeightsError, build_card
from escoita.cards.publication import public_recipe, public_transcripts, publication
from escoita.errors import PublishError, RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.counts import write_counts
from escoita.evaluation.predictions import counts_path
from escoita.hub.scan import scan
from escoita.recipe.schema import Recipe
from escoita.records.data import Clip as Shown
from escoita.records.data import CorpusData, Duplicates, Normalization, OutlierExample, Outliers, Pair, Reason, Spread
from escoita.records.evaluation import EvaluationRecord
from escoita.records.plots import training_plot
from escoita.run_directory import RunDirectory
from tests.cards.samples import data, evaluation, leak, recipe, training, validated_training, write_run
from tests.evaluation.samples import write_rows


PLAIN = {
    "README.md",
    "SHA256SUMS",
    "adapter_config.json",
    "adapter_model.safetensors",
    "eval/results.json",
    "recipe.yaml",
    "training.json",
}
SHAS: dict[str, Any] = {"base_sha256": "ab" * 32, "adapter_sha256": "cd" * 32}
# Words that occur in no other text or file.
SAID = ["qwxz bir zzyx", "jkqv ikki vqkj", "xkcd uch dckx"]
SPEAKERS = ["maria.lopez", "Oysha", "maria.lopez"]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = write_run(tmp_path / "run", recipe())
    made.adapter.mkdir()
    (made.adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "/home/ana/gemma4"}')
    for name in ("training_args.bin", "README.md"):
        (made.adapter / name).write_bytes(b"weights")
    (made.adapter / "adapter_model.safetensors").write_bytes(save({}))
    return made


def published(run: RunDirectory, asked: Recipe | None = None) -> dict[str, bytes]:
    return publication(run, asked or run.load_recipe(), "user/adapter", "user/base")


def evaluated(
    run: RunDirectory, references: list[str], speakers: list[str], publish: bool, normalizer: str = "uzbek"
) -> None:
    """Write predictions of a corpus into a run; hypotheses and references have no common words."""
    asked = recipe().model_dump(mode="json")
    asked["corpora"]["test"][0]["publish_references"] = publish
    made = Recipe.model_validate(asked)
    made.write(run.recipe)
    known: list[dict[str, Any]] = [{"speaker": speaker} for speaker in speakers]
    rows = [(text, f"heard {place}", "") for place, text in enumerate(references)]
    write_rows(run.eval, rows, known=known, **SHAS)
    score(run.eval, normalizer, 20).write(run.results)
    write_counts(run.eval, made.corpora.test, normalizer)


def unpacked(files: dict[str, bytes], folder: Path) -> RunDirectory:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return RunDirectory(folder)


def published_text(files: dict[str, bytes]) -> str:
    """Return all published text, and every value of the tables."""
    tables = [pq.read_table(io.BytesIO(content)) for name, content in files.items() if name.endswith(".parquet")]
    values = [json.dumps(table.to_pylist(), ensure_ascii=False) + str(table.schema.metadata) for table in tables]
    return "\n".join([*(content.decode("utf-8", "replace") for content in files.values()), *files, *values])


def test_required_files(run: RunDirectory) -> None:
    files = published(run)
    assert set(files) == PLAIN
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "user/base"
    assert json.loads(files["training.json"])["base"] == "user/base"
    systems = EvaluationRecord.model_validate_json(files["eval/results.json"]).systems
    assert {system.base for system in systems} == {"user/base"}


def test_sources_of_all_figures_are_published(run: RunDirectory) -> None:
    evaluated(run, SAID, SPEAKERS, publish=True)
    write_rows(run.eval, [("", "", "")], "probes", **SHAS)
    data(leak("audio", 2)).write(run.data)
    made = [f"{corpus}/predictions{system}.parquet" for corpus in ("clips", "probes") for system in ("", "-base")]
    others = ["report.html", "clips/.unfinished-base/0.jsonl", "clips/notes.txt", "wer-by-duration.svg"]
    for name in others:
        (run.eval / name).parent.mkdir(parents=True, exist_ok=True)
        (run.eval / name).write_bytes(name.encode())
    write_rows(run.eval, [("", "", "")], "gone", **SHAS)
    run.durations.parent.mkdir()
    run.durations.write_text("<svg/>")
    files = published(run)
    plots = {"data/durations.svg", "eval/wer-by-duration.svg"}
    assert set(files) == PLAIN | {"data.json"} | plots | {f"eval/{name}" for name in made}
    assert files["data.json"] == run.data.read_bytes()
    assert "Train/test overlap" in files["README.md"].decode()
    scan(files)


@pytest.mark.parametrize("publish", [True, False])
def test_published_predictions_give_the_published_rates(run: RunDirectory, tmp_path: Path, publish: bool) -> None:
    evaluated(run, SAID * 4, [f"{speaker}-{place}" for place in range(4) for speaker in SPEAKERS], publish)
    there = unpacked(published(run), tmp_path / "there")
    record = EvaluationRecord.read(there.results)
    assert record == score(there.eval, record.normalizer, record.resamples, ["clips"])
    ours = EvaluationRecord.read(run.results)
    assert (
        record.pooled.main_system == ours.pooled.main_system
        and record.corpora[0].differences == ours.corpora[0].differences
    )
    assert build_card(there, there.load_recipe(), "user/base", "user/adapter") == there.card.read_text("utf-8")


@pytest.mark.parametrize("publish, count", [(True, 3), (False, 0)])
def test_public_transcripts_are_counted(run: RunDirectory, publish: bool, count: int) -> None:
    evaluated(run, SAID, SPEAKERS, publish)
    write_rows(run.eval, [("", "", "")], "probes", **SHAS)
    assert public_transcripts(published(run)) == {"clips": count}


@settings(max_examples=20)
@given(st.lists(st.tuples(st.text("ab не", max_size=9), st.text("ab1_ (", max_size=3)), min_size=1, max_size=40))
def test_renaming_speakers_does_not_change_figures(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    made = write_run(tmp_path_factory.mktemp("run"), recipe())
    made.adapter.mkdir()
    (made.adapter / "adapter_config.json").write_text("{}")
    (made.adapter / "adapter_model.safetensors").write_bytes(save({}))
    texts, speakers = [text for text, _ in rows], [speaker for _, speaker in rows]
    evaluated(made, texts, [*speakers[:-1], "not stated"], publish=len(rows) % 2 == 0)
    there = unpacked(published(made), tmp_path_factory.mktemp("there"))
    record = EvaluationRecord.read(there.results)
    assert record == score(there.eval, record.normalizer, record.resamples, ["clips"])


def test_withheld_transcripts_are_in_no_file(run: RunDirectory) -> None:
    evaluated(run, SAID, SPEAKERS, publish=False)
    test, train = (
        [Shown(split=split, corpus="clips", id=f"c-{row}", text=text) for row, text in enumerate(SAID)]
        for split in ("test", "train")
    )
    pairs = [Pair(clip=one, like=other) for one, other in zip(test, train, strict=True)]
    spread = Spread(min=1, p5=1, median=1, mean=1, p95=1, max=1)
    described = CorpusData(
        name="clips",
        split="test",
        language="uz",
        clips=3,
        audio_seconds=6.0,
        rejected=1,
        reasons=[Reason(reason=f"language {SAID[0]!r} is no code", rows=1, examples=[f"t.csv:1: {SAID[1]}.wav: no"])],
        seconds=spread,
        histogram=[3],
        characters_per_second=spread,
        words=9,
        characters=39,
        speakers=2,
        without_speaker=0,
        genders={},
        normalization=Normalization(merged=1, split=0, emptied=0, examples=[(SAID[0], SAID[1])]),
        outliers=[
            Outliers(
                kind="digits",
                clips=1,
                share=0.3,
                examples=[OutlierExample(clip=test[2], detail=f"{SAID[2]} is not written")],
            )
        ],
        inventory=[],
        sha256="0" * 64,
    )
    again = Duplicates(split="test", by="transcript", clips=1, share=0.3, distinct=1, examples=pairs)
    record = data(leak("transcript", 3, examples=pairs))
    record.model_copy(update={"corpora": [described], "duplicates": [again]}).write(run.data)
    everything = published_text(published(run))
    assert "eval/clips/counts.parquet" in everything and hashlib.sha256(SAID[0].encode()).hexdigest() in everything
    assert not [text for text in SAID if text in everything]
    # The same search finds transcripts that may be published.
    open_recipe = recipe()
    open_recipe.write(run.recipe)
    assert all(text in published_text(published(run)) for text in SAID)


def test_speakers_are_not_named(run: RunDirectory) -> None:
    evaluated(run, SAID, SPEAKERS, publish=True)
    assert "maria" in run.results.read_text()
    training(rejected=["train.jsonl:3: maria.lopez/7.wav: no audio"]).write(run.training)
    clip = Shown(split="train", corpus="clips", id="Oysha_1", text="a", public_id="speaker_1")
    data(leak("speaker", 1, examples=[Pair(clip=clip, like=clip)])).write(run.data)
    files = published(run)
    everything = published_text(files)
    assert "maria" not in everything and "Oysha" not in everything
    assert json.loads(files["training.json"])["rejected"] == ["train.jsonl:3: no audio"]
    assert "speaker_1" in files["data.json"].decode()


def test_private_transcripts_without_counts_are_refused(run: RunDirectory) -> None:
    evaluated(run, SAID, SPEAKERS, publish=False)
    counts_path(run.eval, "clips").unlink()
    with pytest.raises(RecordError) as error:
        published(run)
    assert error.value.path == counts_path(run.eval, "clips")


def test_counts_mark_a_corpus_as_withheld_without_the_recipe(run: RunDirectory) -> None:
    evaluated(run, SAID, SPEAKERS, publish=False)
    asked = recipe().model_dump(mode="json")
    asked["corpora"]["test"][0]["name"] = "others"
    assert not [text for text in SAID if text in published_text(published(run, Recipe.model_validate(asked)))]


def test_results_of_other_speakers_are_refused(run: RunDirectory) -> None:
    evaluated(run, SAID, SPEAKERS, publish=True)
    write_rows(run.eval, [(text, "", "") for text in SAID], known=[{"speaker": "x"}] * 3, **SHAS)
    with pytest.raises(SpeakerMismatchError):
        published(run)


def test_checksums_are_those_of_sha256sum(run: RunDirectory) -> None:
    files = published(run)
    lines = [line.split("  ") for line in files["SHA256SUMS"].decode().splitlines()]
    assert [name for _, name in lines] == sorted(set(files) - {"README.md", "SHA256SUMS"})
    assert all(hashlib.sha256(files[name]).hexdigest() == digest for digest, name in lines)


def test_errors_name_files_of_the_run(run: RunDirectory) -> None:
    record = evaluation()
    other = record.main_system.model_copy(update={"adapter_sha256": "00" * 32})
    record.model_copy(update={"systems": [other]}).write(run.results)
    with pytest.raises(OtherWeightsError) as refusal:
        published(run)
    assert refusal.value.path == str(run.results)


def test_training_plot_is_published_with_the_card(run: RunDirectory) -> None:
    validated_training().write(run.training)
    files = published(run)
    assert set(files) == PLAIN | {"training.svg"}
    assert files["training.svg"].decode() == training_plot(validated_training())
    assert "](training.svg)" in files["README.md"].decode()


def test_folders_of_this_machine_are_not_in_the_recipe() -> None:
    asked = {"baselines": ["/models/whisper", "openai/whisper-small"], "against": "/home/ana/runs/old"}
    published_text = yaml.safe_load(public_recipe(recipe(eval=asked), "user/base"))
    assert (
        published_text["eval"]["baselines"] == ["whisper", "openai/whisper-small"]
        and published_text["eval"]["against"] == "old"
    )
    assert yaml.safe_load(public_recipe(recipe(), "user/base"))["eval"]["against"] is None
    corpus = {"name": "clips", "path": "/home/ana/a.jsonl", "audio_root": "/home/ana/talks"}
    text = public_recipe(recipe(corpora={"train": [corpus], "test": [corpus]}), "user/base")
    assert "/home" not in text and "audio_root: talks" in text
    retained = {"retention": [corpus | {"name": "spanish", "language": "es"}]}
    text = public_recipe(recipe(eval=retained), "user/base")
    assert "/home" not in text and "audio_root: talks" in text


def test_run_without_an_adapter_is_refused(run: RunDirectory) -> None:
    (run.adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(PublishError) as error:
        published(run)
    assert error.value.path == run.adapter
