import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from escoita.cards.build import build_card
from escoita.cards.context import probes
from escoita.cards.verify.text import figures_of
from escoita.evaluation.presentation import FAULTS, NORMALIZER_TEXTS, normalizer_text
from escoita.evaluation.rows import verdict_of
from escoita.evaluation.verdict_texts import reasons
from escoita.metrics.normalizers import NORMALIZERS
from escoita.records.data import Missing
from tests.cards.card_samples import MARKDOWN, TWO, headings, make_card, table_rows
from tests.cards.samples import (
    data,
    difference,
    evaluation,
    leak,
    probe,
    rates,
    recipe,
    result,
    system,
    system_result,
    write_run,
)


def numbers(value: Any) -> set[float]:
    """Return every number of a record."""
    if isinstance(value, dict):
        return numbers(list(value.values()))
    if isinstance(value, list):
        return set().union(*map(numbers, value))
    return {value} if isinstance(value, int | float) else set()


def test_every_percentage_is_in_a_record(tmp_path: Path) -> None:
    more = result("more", [system_result(normalized=rates(0.5, wer_ci95=(0.45678, 0.5432)))], word_share=0.26)
    record = evaluation(result(word_share=0.74), more)
    body = ModelCard(make_card(tmp_path, recipe(corpora=TWO), evaluation_record=record)).text
    figures = set(re.findall(r"\d[\d.]*(?= %)", body)) | set(re.findall(r"\d[\d.]*(?= to [\d.]+ %)", body))
    known = {f"{100 * number:.2f}" for number in numbers(json.loads(record.model_dump_json()))}
    edits = [200, 60, 48]  # of the samples; shares are computed from the record by the interpretation
    shares = {f"{100 * count / sum(edits):.2f}" for count in edits}
    assert len(figures) > 18
    assert figures - known - shares == {"95", "100"}  # of intervals, and of the note on rates over 100 %


def test_the_table_of_results(tmp_path: Path) -> None:
    record = evaluation(result(), result("more", [system_result()]))
    heads, first, second, pooled, mean = table_rows(
        make_card(tmp_path, recipe(corpora=TWO), evaluation_record=record), "Results"
    )
    assert heads == ["Corpus", "Clips", "WER", "CER", "Base WER", "Base CER"] + heads[6:] and len(heads) == 7
    ours, better = ["7.12 % (6.51 to 7.73 %)", "2.34 % (2.01 to 2.69 %)"], "−118.05 (−123.45 to −112.34), better"
    assert first == ["Some clips", "1,234", *ours, "125.17 %", "81.24 %", better]
    assert second == ["More", "1,234", *ours, "–", "–", "–"]
    assert pooled[:3] == ["All, pooled by words", "2,468", "10.99 % (6.51 to 7.73 %)"]
    means = ["33.33 % (30.00 to 40.00 %)", "11.11 % (10.00 to 20.00 %)", "33.33 %", "11.11 %"]
    assert mean == ["Mean of the corpora", "–", *means, "–"]


def test_an_adapter_without_its_base_has_no_columns_for_it(tmp_path: Path) -> None:
    alone = evaluation(result(systems=[system_result()])).model_copy(
        update={"pooled": result("pooled", [system_result()])}
    )
    card = make_card(tmp_path, evaluation_record=alone)
    assert table_rows(card, "Results")[0] == ["Corpus", "Clips", "WER", "CER"]
    assert "Base WER" not in card


def test_verdict_without_a_measurable_difference(tmp_path: Path) -> None:
    same = difference(wer=0.001, ci95=(-0.02, 0.0225), p_value=0.8, verdict="no measurable difference")
    card = make_card(tmp_path, evaluation_record=evaluation(result(differences=[same])))
    assert table_rows(card, "Results")[1][-1] == "+0.10 (−2.00 to +2.25), no measurable difference"


def test_one_corpus_has_no_pooled_row(tmp_path: Path) -> None:
    card = make_card(tmp_path)
    assert len(table_rows(card, "Results")) == 2
    assert "pooled rates" not in card and "Mean of the corpora" not in card


def test_shares_of_the_pooled_words(tmp_path: Path) -> None:
    record = evaluation(result(word_share=0.7401), result("more", word_share=0.2599))
    card = make_card(tmp_path, recipe(corpora=TWO), evaluation_record=record)
    assert "Some clips 74.01 %, More 25.99 %" in card


def test_raw_rates_are_below_the_normalized_ones(tmp_path: Path) -> None:
    systems = [system_result(raw=rates(0.2)), system_result("base", raw=rates(1.5))]
    record = evaluation(result(systems=systems, merged=3, split=4), normalizer="uzbek")
    record = record.model_copy(update={"pooled": record.corpora[0].model_copy(update={"name": "pooled"})})
    card = make_card(tmp_path, evaluation_record=record)
    heads, normalized, raw = table_rows(card, "Results")
    assert heads[1] == "Texts"
    assert (normalized[1], normalized[3], normalized[5]) == ("normalized", "7.12 % (6.51 to 7.73 %)", "125.17 %")
    assert (raw[1], raw[3], raw[5], raw[-1]) == ("raw", "20.00 % (6.51 to 7.73 %)", "150.00 %", "–")
    assert normalizer_text("uzbek") in card
    (line,) = [line for line in card.splitlines() if "joins or drops" in line]
    assert figures_of(line) == ["3", "4"]


def test_equal_raw_rates_are_not_shown(tmp_path: Path) -> None:
    card = make_card(tmp_path, evaluation_record=evaluation(normalizer="uzbek"))
    assert len(table_rows(card, "Results")) == 2 and "Texts" not in table_rows(card, "Results")[0]


def test_every_normalizer_has_a_text_and_an_unknown_one_is_named() -> None:
    assert NORMALIZER_TEXTS.keys() == set(NORMALIZERS)
    assert "klingon" in normalizer_text("klingon")


@pytest.mark.parametrize(
    "units, text",
    [
        (("utterance", "utterance"), "bootstrap over utterances, 1,000"),
        (("speaker", "speaker"), "bootstrap over speakers, 1,000"),
        (("utterance", "speaker"), "bootstrap over speakers (More) and utterances (Some clips), 1,000"),
    ],
)
def test_units_of_the_bootstrap(tmp_path: Path, units: tuple[str, str], text: str) -> None:
    record = evaluation(result(unit=units[0]), result("more", unit=units[1]))
    card = make_card(tmp_path, recipe(corpora=TWO), evaluation_record=record)
    assert f"{text} resamples" in card


def test_other_systems_have_their_own_table(tmp_path: Path) -> None:
    whisper = system_result("whisper", rates(0.25, cer=0.125))
    record = evaluation(
        result(systems=[system_result(), system_result("base"), whisper, system_result("earlier", rates(0.0625))])
    )
    systems = [
        *record.systems[:2],
        system("whisper", base="openai/whisper"),
        system("earlier", adapter="ana/small@v1"),
    ]
    record = record.model_copy(update={"systems": systems})
    assert "Other systems" not in make_card(tmp_path / "a")
    card = make_card(tmp_path / "b", evaluation_record=record)
    tables = [token.map for token in MARKDOWN.parse(card) if token.type == "table_open" and token.map]
    lines = card.splitlines()[tables[1][0] : tables[1][1]]
    assert lines[2].startswith("| Some clips | openai/whisper | 25.00 % (6.51 to 7.73 %) | 12.50 % | −118.05 (")
    assert lines[3].startswith("| Some clips | earlier revision, ana/small@v1 | 6.25 % (")


def test_failures_are_counted(tmp_path: Path) -> None:
    assert "Failure modes" not in headings(make_card(tmp_path / "a"))
    systems = [system_result(loop=2), system_result("base", loop=1100, chat_like=5)]
    record = evaluation().model_copy(update={"pooled": result("pooled", systems)})
    card = make_card(tmp_path / "b", evaluation_record=record)
    loops, answers = FAULTS["loop"].phrase, FAULTS["chat_like"].phrase
    assert "1,234 transcripts" in card and f": {loops} 2 (1,100), {answers} 0 (5).\n" in card
    alone = evaluation().model_copy(update={"pooled": result("pooled", [system_result(truncated=1)])})
    card = make_card(tmp_path / "c", evaluation_record=alone)
    assert f": {FAULTS['truncated'].phrase} 1.\n" in card


def test_words_in_silence_are_counted(tmp_path: Path) -> None:
    assert probes(evaluation()) == "" and "silence" not in make_card(tmp_path / "a")
    record = evaluation(probes=[probe("adapter", 1), probe("base", 11)])
    assert figures_of(probes(record)) == ["1", "12", "11", "12"]
    assert probes(record) in make_card(tmp_path / "b", evaluation_record=record)
    assert figures_of(probes(evaluation(probes=[probe("adapter", 1)]))) == ["1", "12"]


def test_speed_and_machine(tmp_path: Path) -> None:
    card = make_card(tmp_path / "run")
    (line,) = [line for line in card.splitlines() if "40.4 seconds of audio" in line]
    assert "`cpu` (`float32`" in line and figures_of(line) == ["40.4", "32", "60", "2.3"]
    still = system_result().model_copy(update={"rtfx": 0.0})
    record = evaluation().model_copy(update={"pooled": result("pooled", [still])})
    assert "seconds of audio" not in make_card(tmp_path / "still", evaluation_record=record)


def test_train_test_overlap(tmp_path: Path) -> None:
    assert "Train/test overlap" not in headings(make_card(tmp_path / "a"))
    assert "Train/test overlap" not in headings(make_card(tmp_path / "b", data_record=data()))
    record = data(
        leak("transcript", 40),
        leak("speaker", 0, compared=0),
        leak("audio", 0),
        leak("transcript", 7, split="validation"),
        leak("transcript", 7, "elsewhere"),
    )
    card = make_card(tmp_path / "c", data_record=record)
    example = "“chiroqni yoq” (t-7; in train l-9)"
    assert table_rows(card, "Train/test overlap")[1:] == [
        ["Some clips", "transcript", "40 (25.00 %)", "20", example],
        ["Some clips", "speaker", "unknown", "–", "–"],
        ["Some clips", "recording", "0 (0.00 %)", "0", "–"],
    ]
    assert "`data.json`" in card and "Not compared" not in card
    missing = record.model_copy(update={"missing": [Missing(split="train", name="more-clips")]})
    assert ": more-clips (train)." in make_card(tmp_path / "d", data_record=missing)


def test_existing_plots_are_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe())
    (run.eval / "wer-by-duration.svg").write_text("<svg/>")
    card = build_card(run, recipe(), "user/base", "user/adapter")
    assert "![Word error rate by duration](eval/wer-by-duration.svg)" in card and "by-corpus" not in card


def test_rejected_test_rows_are_counted(tmp_path: Path) -> None:
    assert "of the test corpora could not be used" not in make_card(tmp_path / "a")
    record = evaluation().model_copy(update={"pooled": result("pooled", rejected=7)})
    assert "7 rows of the test corpora could not be used" in make_card(tmp_path / "b", evaluation_record=record)


def test_reasons_of_a_verdict_and_token_limits_are_shown(tmp_path: Path) -> None:
    assert "are empty or loop" not in make_card(tmp_path / "a") and "no limit" not in make_card(tmp_path / "a")
    silent = system_result(normalized=rates(1.0, cer=1.0), empty=1234).model_copy(update={"unusable": 1234})
    base, ctc = (system_result(name).model_copy(update={"unusable": 0}) for name in ("base", "mms"))
    differences = [difference(name, verdict="not comparable") for name in ("base", "mms")]
    found = result(systems=[silent, base, ctc], differences=differences)
    record = evaluation(found).model_copy(update={"pooled": found.model_copy(update={"name": "pooled"})})
    systems = [*record.systems[:2], system("mms", base="facebook/mms", max_new_tokens=None)]
    card = make_card(tmp_path / "b", evaluation_record=record.model_copy(update={"systems": systems}))
    assert table_rows(card, "Results")[1][-1].split(", ", 1)[1] == verdict_of(found, "base")
    assert "the adapter 64, the base 64, facebook/mms no limit." in card
    assert all(reason in card for reason in reasons(found, "base"))
