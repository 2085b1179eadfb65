from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escoita.errors import RecordError
from escoita.evaluation.aggregate import score
from escoita.evaluation.errors import (
    MisplacedPredictionsError,
    MissingPredictionsError,
    MissingSystemError,
    OtherClipsError,
    OtherModelError,
)
from escoita.records.evaluation import EvaluationRecord, Rates, SystemResult
from tests.evaluation.samples import Row, write_rows


UZBEK: list[Row] = [
    ("chiroqni yoq", "chiroqni yoq", "a b c"),  # base: 2 substitutions, 1 insertion
    ("oshxonada chiroqni yoq", "chiroqni och", ""),  # 1 deletion, 1 substitution; base: 3 deletions
]
GALICIAN: list[Row] = [("un", "un dous", "un")]  # 1 insertion
WORDS = st.text("abʻ ", max_size=12)


@pytest.fixture
def record(tmp_path: Path) -> EvaluationRecord:
    write_rows(tmp_path, UZBEK, "uz-clips", rejected=2)
    write_rows(tmp_path, GALICIAN, "gl-clips", "gl", rejected=1)
    return score(tmp_path, resamples=200, corpora=["uz-clips", "gl-clips"])


def results_of(record: EvaluationRecord, system: str) -> list[SystemResult]:
    """Return the results of a system on each corpus and on the pool."""
    found = [result.of(system) for result in [*record.corpora, record.pooled]]
    return [result for result in found if result]


def kinds(rates: Rates) -> tuple[int, int, int]:
    return rates.substitutions, rates.deletions, rates.insertions


def test_one_corpus_by_hand(record: EvaluationRecord) -> None:
    uzbek, galician = record.corpora
    assert (uzbek.name, uzbek.language, uzbek.n, uzbek.rejected, uzbek.audio_seconds) == ("uz-clips", "uz", 2, 2, 4.0)
    rates = uzbek.main_system.normalized
    assert (rates.reference_words, rates.wer, kinds(rates)) == (5, 2 / 5, (1, 1, 0))
    # 10 deletions for "oshxonada " and 3 edits from yoq to och, of 12 and 22 characters
    assert (rates.reference_characters, rates.cer) == (34, 13 / 34)
    # two clips drawn of 0/2 and 2/3, each pair of one clip with 25 %
    assert rates.wer_ci95 == (0.0, 2 / 3) and rates.cer_ci95 == (0.0, 13 / 22)
    rates = galician.main_system.normalized
    assert (rates.reference_words, rates.wer, rates.wer_ci95, kinds(rates)) == (1, 1.0, (1.0, 1.0), (0, 0, 1))
    assert rates.cer == 5 / 2  # " dous"


def test_the_base_by_hand(record: EvaluationRecord) -> None:
    uzbek, galician, pooled = (result.normalized for result in results_of(record, "base"))
    assert (uzbek.wer, uzbek.wer_ci95, kinds(uzbek)) == (6 / 5, (1.0, 1.5), (2, 3, 1))
    assert galician.wer == galician.cer == 0
    assert (pooled.wer, kinds(pooled)) == (6 / 6, (2, 3, 1))


def test_the_pool_is_by_words_and_the_mean_by_corpora(record: EvaluationRecord) -> None:
    pooled = record.pooled
    assert (pooled.name, pooled.language, pooled.n, pooled.rejected) == ("pooled", "gl, uz", 3, 3)
    assert (pooled.main_system.normalized.wer, pooled.unit, pooled.units, pooled.word_share) == (
        3 / 6,
        "corpus",
        2,
        1.0,
    )
    assert [result.word_share for result in record.corpora] == [5 / 6, 1 / 6]
    assert [(mean.system, mean.wer) for mean in record.macro] == [("adapter", (2 / 5 + 1) / 2), ("base", 3 / 5)]
    # The Galician clip adds 1 edit and 1 word to every draw: 0/4, 2/5 and 4/6 become 1/5, 3/6 and 5/7.
    assert pooled.main_system.normalized.wer_ci95 == (1 / 5, 5 / 7)
    assert record.macro[0].wer_ci95 == ((0 + 1) / 2, (2 / 3 + 1) / 2)


def test_speed_is_audio_over_computing(record: EvaluationRecord) -> None:
    assert {result.rtfx for result in results_of(record, "adapter")} == {2 / 0.5}
    assert {result.rtfx for result in results_of(record, "base")} == {2 / 1.0}
    assert [result.tokens_per_second for result in results_of(record, "adapter")] == [
        2 * 4 / 1,
        2 * 2 / 0.5,
        2 * 6 / 1.5,
    ]


def test_a_system_against_the_other(tmp_path: Path) -> None:
    # in each of ten clips, the adapter has one error less in two words
    write_rows(tmp_path, [("bir ikki", "bir ikki", "bir uch")] * 5 + [("bir ikki", "ikki bir", "olti uch toʻrt")] * 5)
    result = score(tmp_path, resamples=100).corpora[0]
    (found,) = result.differences
    assert (found.other, found.wer, found.ci95) == ("base", (10 - 20) / 20, pytest.approx((-0.5, -0.5)))
    assert (found.verdict, result.against("base"), result.against("whisper")) == ("better", found, None)
    # 2 / 101 of the draws; ten pairs would give 2 / 1024
    assert found.p_value == pytest.approx(2 / 101)


@pytest.mark.parametrize(
    "clips, verdict", [(1, "no measurable difference"), (5, "no measurable difference"), (6, "worse")]
)
def test_few_clips_are_not_significant(tmp_path: Path, clips: int, verdict: str) -> None:
    write_rows(tmp_path, [("bir", "besh", "bir")] * clips)
    (found,) = score(tmp_path, resamples=2000).corpora[0].differences
    assert (found.wer, found.ci95, found.verdict) == (1.0, (1.0, 1.0), verdict)
    assert found.p_value == min(1, 2 / 2**clips)


def test_few_resamples_are_not_significant(tmp_path: Path) -> None:
    write_rows(tmp_path, [("bir ikki", "bir", "bir ikki")] * 20)
    (found,) = score(tmp_path, resamples=20).corpora[0].differences
    assert found.ci95 == (0.5, 0.5) and found.p_value == pytest.approx(2 / 21)
    assert found.verdict == "no measurable difference"


def test_equal_systems_do_not_differ(tmp_path: Path) -> None:
    write_rows(tmp_path, [("bir ikki", "bir", "bir"), ("uch", "uch", "uch")] * 10)
    (found,) = score(tmp_path, resamples=100).pooled.differences
    assert (found.wer, found.ci95, found.p_value, found.verdict) == (0, (0, 0), 1.0, "no measurable difference")


def test_speakers_are_resampled_if_all_are_known(tmp_path: Path) -> None:
    known = [{"speaker": f"s{index % 12}"} for index in range(24)]
    write_rows(tmp_path, [("bir ikki", "bir", "bir")] * 24, "named", known=known)
    write_rows(tmp_path, [("bir ikki", "bir", "bir")] * 24, "unnamed", known=[*known[1:], {}])
    named, unnamed = score(tmp_path, resamples=10).corpora
    assert (named.unit, named.units, unnamed.unit, unnamed.units) == ("speaker", 12, "utterance", 24)


def test_the_main_system_comes_first(tmp_path: Path) -> None:
    names = ["base", "whisper", "adapter", "ctc"]
    write_rows(tmp_path, [("bir", *names)], systems=names)
    record = score(tmp_path, resamples=5)
    assert [system.name for system in record.systems] == ["adapter", "base", "ctc", "whisper"]
    assert [difference.other for difference in record.pooled.differences] == ["base", "ctc", "whisper"]
    chosen = score(tmp_path, resamples=5, systems=["whisper", "base"])
    assert [system.name for system in chosen.systems] == ["base", "whisper"]
    assert chosen.main_system.name == chosen.pooled.main_system.system == "base"


def test_a_base_alone_is_the_main_system(tmp_path: Path) -> None:
    write_rows(tmp_path, [("un", "un")], systems=["base"])
    record = score(tmp_path, resamples=5)
    assert (record.main_system.name, record.main_system.adapter, record.pooled.differences) == ("base", None, [])


def test_corpora_are_in_the_requested_order(tmp_path: Path) -> None:
    for name in ("c", "a", "b"):
        write_rows(tmp_path, UZBEK, name)
    assert [result.name for result in score(tmp_path, resamples=5).corpora] == ["a", "b", "c"]
    assert [result.name for result in score(tmp_path, resamples=5, corpora=["c", "a"]).corpora] == ["c", "a"]


def test_the_record_names_its_systems_and_can_be_read_again(record: EvaluationRecord, tmp_path: Path) -> None:
    assert (record.main_system.base, record.main_system.adapter, record.normalizer, record.resamples) == (
        "user/base",
        "adapter",
        "raw",
        200,
    )
    record.write(tmp_path / "results.json")
    assert EvaluationRecord.read(tmp_path / "results.json") == record


def test_scoring_again_gives_the_same_record(record: EvaluationRecord, tmp_path: Path) -> None:
    assert score(tmp_path, resamples=200, corpora=["uz-clips", "gl-clips"]) == record


def test_the_resamples_of_a_corpus_do_not_depend_on_others(record: EvaluationRecord, tmp_path: Path) -> None:
    assert score(tmp_path, resamples=200, corpora=["gl-clips", "uz-clips"]).corpora == record.corpora[::-1]
    alone = score(tmp_path, resamples=200, corpora=["uz-clips"]).corpora[0]
    assert alone == record.corpora[0].model_copy(update={"word_share": 1.0})


@pytest.mark.parametrize("name, wer, base_wer", [("raw", 1.0, 1.0), ("basic", 0.0, 0.5), ("galician", 0.0, 0.5)])
def test_references_and_hypotheses_are_normalized(tmp_path: Path, name: str, wer: float, base_wer: float) -> None:
    write_rows(tmp_path, [("¡Mañá, Antón!", "mañá antón", "Mañá: Anton")])
    record = score(tmp_path, name, resamples=5)
    ours, base = record.pooled.systems
    assert (record.normalizer, ours.normalized.wer, base.normalized.wer) == (name, wer, base_wer)
    assert (ours.raw.wer, base.raw.wer, ours.raw.reference_characters) == (1.0, 1.0, 13)


def test_references_with_another_number_of_words_are_counted(tmp_path: Path) -> None:
    write_rows(
        tmp_path, [("asta-sekin", "a", "b"), ("(kulgi) ha", "a", "b"), ("yoʻq", "a", "b"), ("[kulgi]", "a", "b")]
    )
    pooled = score(tmp_path, "basic", resamples=5).pooled
    assert (pooled.merged, pooled.split) == (2, 1)
    assert score(tmp_path, resamples=5).pooled.merged == 0


def test_faults_are_counted_in_the_raw_texts(tmp_path: Path) -> None:
    rows = [("chiroqni yoq", "chiroqni yoq", ""), ("bir", "bir", "Sure, here is the transcription: bir")]
    write_rows(tmp_path, rows, "a")
    write_rows(tmp_path, rows[:1], "b")
    ours, base = score(tmp_path, "basic", resamples=5).pooled.systems
    assert set(ours.faults.model_dump().values()) == {0}
    assert (base.faults.empty, base.faults.chat_like) == (2, 1)


def test_probes_are_not_a_corpus(tmp_path: Path) -> None:
    write_rows(tmp_path, UZBEK, "clips")
    write_rows(tmp_path, [("", "", "you you"), ("", "...", "Thank you.")], "probes")
    record = score(tmp_path, resamples=5)
    assert [result.name for result in record.corpora] == ["clips"] and record.pooled.n == 2
    assert [(probe.system, probe.n, probe.with_text, probe.words) for probe in record.probes] == [
        ("adapter", 2, 0, 0),
        ("base", 2, 2, 4),
    ]
    assert score(tmp_path, resamples=5, corpora=["clips"]).probes == []


@pytest.mark.parametrize("rows", [[], [("", "")], [("", "bir ikki")]])
def test_references_without_words_give_no_rate(tmp_path: Path, rows: list[Row]) -> None:
    write_rows(tmp_path, rows, "empty", systems=["adapter"])
    write_rows(tmp_path, [("bir ikki", "bir")], "full", systems=["adapter"])
    empty, full = score(tmp_path, resamples=5).corpora
    inserted = len(rows[0][1].split()) if rows else 0
    assert (empty.main_system.raw.wer, empty.word_share, full.word_share) == (inserted, 0.0, 1.0)
    record = score(tmp_path, resamples=5, corpora=["empty"])
    assert (record.pooled.word_share, record.macro[0].wer) == (0.0, inserted)
    assert score(tmp_path, resamples=5).macro[0].wer == 1 / 2  # a corpus without words has no rate


def test_without_clips_the_speed_is_zero(tmp_path: Path) -> None:
    write_rows(tmp_path, [], systems=["adapter"])
    main_system = score(tmp_path, resamples=5).pooled.main_system
    assert (main_system.rtfx, main_system.tokens_per_second) == (0.0, 0.0)


@settings(max_examples=20)
@given(st.lists(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=5), min_size=1, max_size=3))
def test_counts_of_the_pool_are_sums(tmp_path_factory: pytest.TempPathFactory, corpora: list[list[Row]]) -> None:
    folder = tmp_path_factory.mktemp("predictions")
    for place, rows in enumerate(corpora):
        write_rows(folder, rows, f"corpus-{place}", rejected=place)
    record = score(folder, "uzbek", resamples=3)
    for name in ("n", "rejected", "audio_seconds", "merged", "split"):
        assert getattr(record.pooled, name) == sum(getattr(result, name) for result in record.corpora)
    for system in ("adapter", "base"):
        *parts, pooled = results_of(record, system)
        for form in ("normalized", "raw"):
            counts = {"substitutions", "deletions", "insertions", "reference_words", "reference_characters"}
            sums = {name: sum(getattr(getattr(part, form), name) for part in parts) for name in counts}
            assert getattr(pooled, form).model_dump(include=counts) == sums
            edits = sums["substitutions"] + sums["deletions"] + sums["insertions"]
            assert getattr(pooled, form).wer == edits / max(1, sums["reference_words"])
        for fault, count in pooled.faults.model_dump().items():
            assert count == sum(getattr(part.faults, fault) for part in parts)


def test_predictions_of_different_models_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, GALICIAN, "one")
    write_rows(tmp_path, GALICIAN, "two", base_sha256="c" * 64)
    one, two = tmp_path / "one/predictions.parquet", tmp_path / "two/predictions.parquet"
    with pytest.raises(OtherModelError) as refusal:
        score(tmp_path)
    assert (refusal.value.path, refusal.value.key, refusal.value.other) == (two, "base_sha256", one)


def test_a_system_has_the_speech_detector_of_its_long_recordings(tmp_path: Path) -> None:
    write_rows(tmp_path, GALICIAN, "a-short")
    write_rows(tmp_path, GALICIAN, "long", speech_detector="silero")
    assert {system.speech_detector for system in score(tmp_path).systems} == {"silero"}
    write_rows(tmp_path, GALICIAN, "long-too", speech_detector="energy")
    with pytest.raises(OtherModelError) as refusal:
        score(tmp_path)
    assert refusal.value.key == "speech_detector"


@pytest.mark.parametrize(
    "others, row, value",
    [
        ([("un", "b"), ("dous", "b")], None, None),
        ([("un", "b"), ("tres", "b"), ("dous", "b")], 2, "tres"),
    ],
)
def test_systems_need_the_same_clips(tmp_path: Path, others: list[Row], row: int | None, value: str | None) -> None:
    (adapter,) = write_rows(tmp_path, [("un", "a"), ("dous", "a"), ("tres", "a")], systems=["adapter"])
    (base,) = write_rows(tmp_path, others, systems=["base"])
    with pytest.raises(OtherClipsError) as refusal:
        score(tmp_path)
    assert (refusal.value.path, refusal.value.other) == (base, adapter)
    assert (refusal.value.row, refusal.value.value) == (row, value)


def test_a_system_needs_predictions_on_every_corpus(tmp_path: Path) -> None:
    write_rows(tmp_path, [("un", "a", "b")], "one")
    write_rows(tmp_path, [("un", "a")], "two", systems=["adapter"])
    with pytest.raises(MissingSystemError) as refusal:
        score(tmp_path)
    assert (refusal.value.path, refusal.value.system) == (tmp_path / "two", "base")
    assert [system.name for system in score(tmp_path, resamples=5, systems=["adapter"]).systems] == ["adapter"]


def test_a_file_in_the_wrong_place_is_refused(tmp_path: Path) -> None:
    (path,) = write_rows(tmp_path, [("un", "a")], systems=["adapter"])
    path = path.rename(path.with_name("predictions-base.parquet"))
    with pytest.raises(MisplacedPredictionsError) as refusal:
        score(tmp_path)
    assert (refusal.value.path, refusal.value.system, refusal.value.corpus) == (path, "adapter", "clips")


@pytest.mark.parametrize("corpora, missing", [(None, ""), (["clips", "gone"], "gone"), (["probes"], "")])
def test_missing_predictions_are_reported(tmp_path: Path, corpora: list[str] | None, missing: str) -> None:
    if corpora:
        write_rows(tmp_path, GALICIAN)
        write_rows(tmp_path, [("", "", "")], "probes")
    with pytest.raises(MissingPredictionsError) as refusal:
        score(tmp_path, corpora=corpora)
    assert refusal.value.path == tmp_path / missing


def test_too_many_resamples_and_predictions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path, [("bir ikki", "bir", "ikki")] * 3)
    monkeypatch.setattr("escoita.evaluation.aggregate.DRAWS", 3_000)
    score(tmp_path, resamples=1_000)
    with pytest.raises(RecordError) as refusal:
        score(tmp_path, resamples=1_001)
    assert (refusal.value.key, refusal.value.value) == ("resamples", 1_001)
    monkeypatch.setattr("escoita.evaluation.prediction_folder.FOLDER_BYTES", 100)
    with pytest.raises(RecordError) as refusal:
        score(tmp_path)
    assert (refusal.value.path, refusal.value.key) == (tmp_path, None)


@pytest.mark.parametrize(
    "silence, verdict", [("", "not comparable"), ("............", "not comparable"), ("bir bir bir bir bir", "worse")]
)
def test_an_adapter_that_fails_is_not_better_than_a_base_that_inserts(
    tmp_path: Path, silence: str, verdict: str
) -> None:
    write_rows(tmp_path, [("chiroqni yoq", silence, "besh olti yetti sakkiz")] * 40)
    result = score(tmp_path, resamples=200).corpora[0]
    assert [each.unusable for each in result.systems] == [40, 0]
    assert result.differences[0].verdict == verdict


def test_a_hypothesis_that_is_empty_and_loops_counts_once(tmp_path: Path) -> None:
    write_rows(tmp_path, [("bir ikki", "............", "besh")] * 3 + [("bir ikki", "bir", "besh")] * 4)
    ours = score(tmp_path, resamples=100).corpora[0].main_system
    assert (ours.faults.empty, ours.faults.loop, ours.unusable) == (3, 3, 3)


def test_a_base_that_failed_is_worse_and_never_better(tmp_path: Path) -> None:
    write_rows(tmp_path / "a", [("bir ikki", "bir ikki", "")] * 40)
    assert score(tmp_path / "a", resamples=200).corpora[0].differences[0].verdict == "better"
    write_rows(tmp_path / "b", [("bir ikki", "besh olti yetti", "")] * 40)
    assert score(tmp_path / "b", resamples=200).corpora[0].differences[0].verdict == "not comparable"
