from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState

from escoita.cards.build import build_card
from escoita.cards.verify.verify import verify
from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.errors import MissingSystemError
from escoita.evaluation.gate import gate
from escoita.evaluation.predict import transcribe_all
from escoita.evaluation.predictions import described, predictions_path, read_predictions, write_predictions
from escoita.evaluation.presentation import retention_notes
from escoita.evaluation.report.plots import drawings
from escoita.evaluation.report.render import report_run, write_report
from escoita.evaluation.request import EvaluationData, SystemSpec
from escoita.evaluation.rescore import rescored
from escoita.inference.transcriber import Transcriber
from escoita.records.evaluation import CorpusResult, EvaluationRecord
from escoita.records.training import AdapterRecord, Prompt
from escoita.run_directory import RunDirectory
from tests.cards.publishing import BASE as BASE_REPO
from tests.cards.publishing import REPO
from tests.cards.verifiable_run import make_verifiable_run, published, write_files
from tests.evaluation.samples import write_rows
from tests.evaluation.test_reuse import data_of
from tests.models.samples import write_ctc, write_whisper


UZBEK = [("bir ikki", "bir ikki", "bir uch"), ("toʻrt besh", "toʻrt besh", "olti")] * 10
# The adapter has one error in each of the last five clips, and the base has none.
SPANISH = [("uno dos", "uno dos" if row < 15 else "uno tres", "uno dos") for row in range(20)]


def write_retention(folder: Path, systems: tuple[str, ...] = ("adapter", "base"), **changes: Any) -> None:
    for path in write_rows(folder, SPANISH, "spanish", "es", systems, **changes):
        table, made = read_predictions(path)
        write_predictions(described(table, made.model_copy(update={"use": "retention"})), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path, UZBEK, "uzbek")
    write_retention(tmp_path)
    score(tmp_path, "raw", 200).write(tmp_path / "results.json")
    return tmp_path


def test_forgetting_is_a_paired_difference_outside_of_the_pool(folder: Path) -> None:
    record = EvaluationRecord.read(folder / "results.json")
    assert [result.name for result in record.corpora] == ["uzbek"] and record.pooled.n == 20
    (result,) = record.retention
    difference = result.against("base")
    assert (result.name, result.language, result.n, result.word_share) == ("spanish", "es", 20, 1.0)
    assert difference is not None and difference.wer == 5 / 40 and difference.verdict == "worse"
    assert 0 < difference.ci95[0] < 5 / 40 < difference.ci95[1] and not result.slices
    assert record.predicted == ["uzbek", "spanish"]
    (note,) = retention_notes(record.retention)
    assert "spanish (es)" in note and "worse" in note


def test_rescoring_keeps_the_corpora_of_other_languages(folder: Path) -> None:
    record = rescored(folder, "basic")
    assert [result.name for result in record.retention] == ["spanish"] and record.pooled.n == 20


def test_predictions_of_the_base_are_needed(tmp_path: Path) -> None:
    write_rows(tmp_path, UZBEK, "uzbek")
    write_retention(tmp_path, ("adapter",))
    with pytest.raises(MissingSystemError) as refusal:
        score(tmp_path, "raw", 100)
    assert refusal.value.system == "base"


def test_the_report_contains_the_change(folder: Path) -> None:
    record = EvaluationRecord.read(folder / "results.json")
    page = write_report(folder, record).read_text("utf-8")
    assert 'id="forgetting"' in page and "12.50" in page
    assert 'id="forgetting"' not in write_report(folder, record.model_copy(update={"retention": []})).read_text()


@pytest.mark.parametrize("limit, passes", [(None, True), (0.2, True), (0.1, False)])
def test_the_gate_fails_over_the_limit(folder: Path, limit: float | None, passes: bool) -> None:
    results = folder / "results.json"
    found = gate(results, results, max_forgetting=limit)
    assert found.passed is passes and found.forgotten == ([] if passes else ["spanish"])
    assert "spanish" in found.markdown()


def test_a_limit_without_a_corpus_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, UZBEK, "uzbek")
    score(tmp_path, "raw", 50).write(tmp_path / "results.json")
    with pytest.raises(RecordError) as refusal:
        gate(tmp_path / "results.json", tmp_path / "results.json", max_forgetting=0.1)
    assert refusal.value.key == "--max-forgetting"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Return a run whose recipe measures forgetting on Spanish clips, with private transcripts."""
    run = make_verifiable_run(tmp_path / "run")
    corpus = "name: spanish, path: spanish.jsonl, language: es, title: Spanish clips, license: CC0"
    run.load_recipe([f"eval.retention=[{{{corpus}, publish_references: false}}]"]).write(run.recipe)
    record = EvaluationRecord.read(run.results)
    digests = {"base": record.main_system.base, "base_sha256": record.main_system.base_sha256}
    write_retention(run.eval, ("base",), **digests)
    adapter_sha256 = record.main_system.adapter_sha256 or ""
    write_retention(run.eval, ("adapter",), adapter_sha256=adapter_sha256, **digests)
    score(run.eval, "raw", 100, ["clips", "spanish", "probes"]).write(run.results)
    report_run(run.path)
    return run


def test_the_card_states_the_change_and_is_verified(run: RunDirectory, tmp_path: Path) -> None:
    recipe = run.load_recipe()
    card = build_card(run, recipe, BASE_REPO, REPO)
    assert "### Forgetting" in card and "Spanish clips | `es` | 20" in card
    assert "| Spanish clips | forgetting | 20 |" in card and "the rates on Spanish clips are recomputed from" in card
    files = published(run)
    (tmp_path / "spanish.parquet").write_bytes(files["eval/spanish/predictions.parquet"])
    assert read_predictions(tmp_path / "spanish.parquet")[1].references == "hashed"
    assert "eval/spanish/counts.parquet" in files
    checks = verify(str(write_files(tmp_path / "published", files)), score, drawings)
    assert not [check for check in checks if check.verdict == "differs"]


def test_a_changed_figure_is_found(run: RunDirectory, tmp_path: Path) -> None:
    files = published(run)
    record = EvaluationRecord.from_json(files["eval/results.json"])
    (result,) = record.retention
    better = result.differences[0].model_copy(update={"wer": -0.1})
    forged = record.model_copy(update={"retention": [result.model_copy(update={"differences": [better]})]})
    changed = files | {"eval/results.json": forged.to_json().encode()}
    checks = verify(str(write_files(tmp_path / "forged", changed)), score, drawings)
    assert "eval/results.json" in {check.what for check in checks if check.verdict == "differs"}
    missing: list[CorpusResult] = []
    forged = record.model_copy(update={"retention": missing})
    checks = verify(
        str(write_files(tmp_path / "left-out", files | {"eval/results.json": forged.to_json().encode()})),
        score,
        drawings,
    )
    assert {"eval/results.json", "recipe and results.json"} <= {
        check.what for check in checks if check.verdict == "differs"
    }


def test_only_adapter_and_base_transcribe_with_the_prompt_of_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whisper = write_whisper(tmp_path / "whisper")
    settings = AdapterRecord(language="gl", prompt=Prompt(user="own"), max_new_tokens=4)
    systems = [SystemSpec(name, whisper, settings) for name in ("base", "adapter")]
    systems.append(SystemSpec("ctc", write_ctc(tmp_path / "ctc"), settings, own_limit=True))
    clips = data_of(["ola", "adeus"])
    retained = EvaluationData(clips.clips, clips.load, retention=True, prompt=Prompt(user="other"))
    prompts: list[str] = []
    with_settings = Transcriber.with_settings

    def recording(self: Transcriber, settings: AdapterRecord, adapter: str | None = None) -> Transcriber:
        prompts.append(settings.prompt.user)
        return with_settings(self, settings, adapter)

    monkeypatch.setattr(Transcriber, "with_settings", recording)
    transcribe_all(systems, {"spanish": retained, "clips": clips}, tmp_path / "out", 60, PartialState(cpu=True))
    assert prompts == ["other", "own", "other", "own", "own"]
    found = {path.name for path in (tmp_path / "out/spanish").glob("*.parquet")}
    assert found == {"predictions.parquet", "predictions-base.parquet"}
    assert read_predictions(predictions_path(tmp_path / "out", "spanish", "base"))[1].use == "retention"
