from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from accelerate import PartialState

from escoita.cards.build import build_card
from escoita.cards.verify.evaluation_settings import evaluation_differences
from escoita.cards.verify.verify import verify
from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.errors import MissingSystemError
from escoita.evaluation.evaluate import Setup, score_predictions, write_results
from escoita.evaluation.gate import gate
from escoita.evaluation.predict import transcribe_all
from escoita.evaluation.predictions import (
    counts_path,
    described,
    predictions_path,
    read_predictions,
    write_predictions,
)
from escoita.evaluation.report.plots import drawings
from escoita.evaluation.report.render import report_run, write_report
from escoita.evaluation.request import EvaluationData, EvaluationRequest, SystemSpec
from escoita.evaluation.rescore import rescore_run, rescored
from escoita.evaluation.verdict_texts import retention_notes
from escoita.inference.transcriber import Transcriber
from escoita.recipe.schema import Evaluation, RetentionCorpus
from escoita.records.evaluation import CorpusResult, EvaluationRecord
from escoita.records.training import AdapterRecord, Prompt
from escoita.run_directory import RunDirectory
from tests.cards.publishing import BASE as BASE_REPO
from tests.cards.publishing import REPO
from tests.cards.verifiable_run import make_verifiable_run, published, write_files
from tests.evaluation.samples import Row, write_rows
from tests.evaluation.test_reuse import data_of
from tests.models.samples import write_ctc, write_whisper


UZBEK = [("bir ikki", "bir ikki", "bir uch"), ("toʻrt besh", "toʻrt besh", "olti")] * 10
# The adapter has one error in each of the last five clips, and the base has none.
SPANISH = [("uno dos", "uno dos" if row < 15 else "uno tres", "uno dos") for row in range(20)]


def write_retention(
    folder: Path,
    systems: tuple[str, ...] = ("adapter", "base"),
    rows: Sequence[Row] = SPANISH,
    corpus: str = "spanish",
    language: str = "es",
    **changes: Any,
) -> None:
    for path in write_rows(folder, rows, corpus, language, systems, **changes):
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
    assert "spanish (es, normalizer unicode)" in note and "worse" in note


# The normalizer `basic` of the evaluation would split these words at the combining marks of Devanagari.
HINDI = [("नमस्ते दुनिया", "नमस्ते दुनिया", "नमस्ते दुनिया।")] * 10
THAI = [("ภาษาไทย", "ภาษาไท", "ภาษาไทย")] * 10


def test_normalizer_and_metric_are_those_of_the_language_of_each_corpus(tmp_path: Path) -> None:
    write_rows(tmp_path, UZBEK, "uzbek")
    write_retention(tmp_path)
    write_retention(tmp_path, rows=HINDI, corpus="hindi", language="hi")
    write_retention(tmp_path, rows=THAI, corpus="thai", language="th")
    record = score(tmp_path, "basic", 100, retention_normalizers={"spanish": "raw"})
    hindi, spanish, thai = record.retention
    assert record.retention_normalizers == {"hindi": "unicode", "spanish": "raw", "thai": "unicode"}
    assert hindi.main_system.normalized.reference_words == 20 and hindi.systems[1].normalized.wer == 0
    assert [each.differences[0].metric for each in record.retention] == ["wer", "wer", "cer"]
    assert thai.differences[0].value == pytest.approx(1 / 7)
    assert spanish.main_system.normalized == spanish.main_system.raw
    # The settings of the evaluation do not apply.
    other = score(tmp_path, "raw", 100, primary="cer", retention_normalizers=record.retention_normalizers)
    assert other.retention == record.retention


def test_the_normalizer_of_an_entry_is_used_for_its_rates_and_its_counts(folder: Path) -> None:
    corpus = {"name": "spanish", "path": "es.jsonl", "language": "es", "publish_references": False}
    entry = RetentionCorpus.model_validate(corpus | {"normalizer": "basic"})
    settings = Evaluation(normalizer="uzbek", resamples=100, retention=[entry])
    adapter = SystemSpec(
        "adapter", "user/base", AdapterRecord(language="uz", prompt=Prompt(user="own"), max_new_tokens=4)
    )
    base = replace(adapter, name="base")
    clips = data_of(["bir"])
    request = EvaluationRequest([adapter, base], [], folder, settings)
    setup = Setup(request, [adapter, base], {"uzbek": clips, "spanish": clips}, PartialState(cpu=True))
    record = score_predictions(setup)
    write_results(setup, record)
    assert (record.normalizer, record.retention_normalizers) == ("uzbek", {"spanish": "basic"})
    counts = pq.read_schema(counts_path(folder, "spanish")).metadata.values()
    assert any(b'"normalizer":"basic"' in value for value in counts)


def test_rescoring_keeps_the_corpora_of_other_languages_and_their_normalizers(folder: Path) -> None:
    before = EvaluationRecord.read(folder / "results.json")
    record = rescored(folder, "basic")
    assert record.retention == before.retention and record.pooled.n == 20
    assert record.retention_normalizers == {"spanish": "unicode"}


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
    digests: dict[str, Any] = {"base": record.main_system.base, "base_sha256": record.main_system.base_sha256}
    write_retention(run.eval, ("base",), **digests)
    adapter_sha256 = record.main_system.adapter_sha256 or ""
    write_retention(run.eval, ("adapter",), adapter_sha256=adapter_sha256, **digests)
    score(run.eval, "raw", 100, ["clips", "spanish", "probes"]).write(run.results)
    report_run(run.path)
    return run


def test_the_card_states_the_change_and_is_verified(run: RunDirectory, tmp_path: Path) -> None:
    recipe = run.load_recipe()
    card = build_card(run, recipe, BASE_REPO, REPO)
    assert "### Forgetting" in card and "Spanish clips | `es` | `unicode` | 20" in card
    assert "| Spanish clips | forgetting | 20 |" in card and "the rates on Spanish clips are recomputed from" in card
    files = published(run)
    (tmp_path / "spanish.parquet").write_bytes(files["eval/spanish/predictions.parquet"])
    assert read_predictions(tmp_path / "spanish.parquet")[1].references == "hashed"
    assert "eval/spanish/counts.parquet" in files
    checks = verify(str(write_files(tmp_path / "published", files)), score, drawings)
    assert not [check for check in checks if check.verdict == "differs"]


def test_another_normalizer_than_that_of_the_recipe_is_found(run: RunDirectory) -> None:
    recipe, record = run.load_recipe(), EvaluationRecord.read(run.results)
    assert [corpus.normalizer for corpus in recipe.eval.retention] == ["unicode"]
    assert not list(evaluation_differences(recipe, record))
    chosen = run.load_recipe(["eval.retention=[{name: spanish, path: a, language: es, normalizer: basic}]"])
    (found,) = evaluation_differences(chosen, record)
    assert "normalizer of spanish" in found


def test_rescoring_a_run_uses_the_changed_normalizer_of_its_recipe(run: RunDirectory) -> None:
    counts_path(run.eval, "spanish").unlink(missing_ok=True)
    text = run.recipe.read_text("utf-8")
    assert "normalizer: unicode" in text
    run.recipe.write_text(text.replace("normalizer: unicode", "normalizer: basic"), "utf-8")
    record = rescore_run(run.path)
    assert record.retention_normalizers == {"spanish": "basic"}
    assert not list(evaluation_differences(run.load_recipe(), record))


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
