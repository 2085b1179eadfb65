import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from escoita.cards.build import build_card
from escoita.evaluation.presentation import NORMALIZER_TEXTS, normalizer_text
from escoita.metrics.normalizers import NORMALIZERS
from escoita.records.data import Missing
from tests.cards.cards_of import MARKDOWN, TWO, card_of, headings, table_rows
from tests.cards.samples import (
    data,
    difference,
    evaluation,
    heard,
    leak,
    probe,
    rates,
    recipe,
    result,
    system,
    write_run,
)


def numbers(value: Any) -> set[float]:
    """Every number of a record."""
    if isinstance(value, dict):
        return numbers(list(value.values()))
    if isinstance(value, list):
        return set().union(*map(numbers, value))
    return {value} if isinstance(value, int | float) else set()


def test_every_percentage_stands_in_a_record(tmp_path: Path) -> None:
    more = result("more", [heard(normalized=rates(0.5, wer_ci95=(0.45678, 0.5432)))], word_share=0.26)
    record = evaluation(result(word_share=0.74), more)
    body = ModelCard(card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record)).text
    figures = set(re.findall(r"\d[\d.]*(?= %)", body)) | set(re.findall(r"\d[\d.]*(?= to [\d.]+ %)", body))
    known = {f"{100 * number:.2f}" for number in numbers(json.loads(record.model_dump_json()))}
    edits = [200, 60, 48]  # of the samples: their shares are what the interpretation makes of the record
    shares = {f"{100 * count / sum(edits):.2f}" for count in edits}
    assert len(figures) > 18
    assert figures - known - shares == {"95", "100"}  # of intervals, and of the remark that a rate may be over 100 %


def test_the_table_of_results(tmp_path: Path) -> None:
    record = evaluation(result(), result("more", [heard()]))
    heads, first, second, pooled, mean = table_rows(
        card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record), "Results"
    )
    assert heads == ["Corpus", "Clips", "WER", "CER", "Base WER", "Base CER", "WER against base, points"]
    ours, better = ["7.12 % (6.51 to 7.73 %)", "2.34 % (2.01 to 2.69 %)"], "−118.05 (−123.45 to −112.34), better"
    assert first == ["Some clips", "1,234", *ours, "125.17 %", "81.24 %", better]
    assert second == ["More", "1,234", *ours, "–", "–", "–"]
    assert pooled[:3] == ["All, pooled by words", "2,468", "10.99 % (6.51 to 7.73 %)"]
    means = ["33.33 % (30.00 to 40.00 %)", "11.11 % (10.00 to 20.00 %)", "33.33 %", "11.11 %"]
    assert mean == ["Mean of the corpora", "–", *means, "–"]


def test_an_adapter_without_its_base_has_no_columns_for_it(tmp_path: Path) -> None:
    alone = evaluation(result(systems=[heard()])).model_copy(update={"pooled": result("pooled", [heard()])})
    card = card_of(tmp_path, evaluation_record=alone)
    assert table_rows(card, "Results")[0] == ["Corpus", "Clips", "WER", "CER"]
    assert "base beside adapter" not in card


def test_no_measurable_difference_is_said_in_these_words(tmp_path: Path) -> None:
    same = difference(wer=0.001, ci95=(-0.02, 0.0225), p_value=0.8, verdict="no measurable difference")
    card = card_of(tmp_path, evaluation_record=evaluation(result(differences=[same])))
    assert table_rows(card, "Results")[1][-1] == "+0.10 (−2.00 to +2.25), no measurable difference"


def test_one_corpus_needs_no_pool(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    assert len(table_rows(card, "Results")) == 2
    assert "The pool counts" not in card and "Mean of the corpora" not in card


def test_what_the_pool_is_made_of(tmp_path: Path) -> None:
    record = evaluation(result(word_share=0.7401), result("more", word_share=0.2599))
    card = card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record)
    assert "The pool counts every word once: Some clips 74.01 %, More 25.99 % of the words." in card


def test_raw_rates_stand_beside_the_normalised(tmp_path: Path) -> None:
    systems = [heard(raw=rates(0.2)), heard("base", raw=rates(1.5))]
    record = evaluation(result(systems=systems, merged=3, split=4), normalizer="uzbek")
    record = record.model_copy(update={"pooled": record.corpora[0].model_copy(update={"name": "pooled"})})
    card = card_of(tmp_path, evaluation_record=record)
    heads, normalised, raw = table_rows(card, "Results")
    assert heads[1] == "Texts"
    assert (normalised[1], normalised[3], normalised[5]) == ("normalised", "7.12 % (6.51 to 7.73 %)", "125.17 %")
    assert (raw[1], raw[3], raw[5], raw[-1]) == ("raw", "20.00 % (6.51 to 7.73 %)", "150.00 %", "–")
    assert "the raw rates, of the texts as they are, stand beside where they differ" in card
    assert "Texts were normalised for Uzbek" in card
    assert "Normalising joins or drops words of 3 references and splits words of 4." in card


def test_raw_rates_that_are_the_same_are_not_said_twice(tmp_path: Path) -> None:
    card = card_of(tmp_path, evaluation_record=evaluation(normalizer="uzbek"))
    assert len(table_rows(card, "Results")) == 2 and "Texts" not in table_rows(card, "Results")[0]
    assert "; the rates of the raw texts are the same. [Evaluation](#evaluation)" in card


def test_every_normaliser_has_words_and_one_of_another_time_is_named() -> None:
    assert NORMALIZER_TEXTS.keys() == set(NORMALIZERS)
    assert normalizer_text("klingon") == "normalised by klingon"


@pytest.mark.parametrize(
    "units, said",
    [
        (("utterance", "utterance"), "bootstrap over utterances, 1,000"),
        (("speaker", "speaker"), "bootstrap over speakers, 1,000"),
        (("utterance", "speaker"), "bootstrap over speakers (More) and utterances (Some clips), 1,000"),
    ],
)
def test_what_was_drawn_is_said(tmp_path: Path, units: tuple[str, str], said: str) -> None:
    record = evaluation(result(unit=units[0]), result("more", unit=units[1]))
    card = card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record)
    assert f"Intervals: {said} resamples; in the pool, each corpus by itself." in card


def test_baselines_have_a_table_of_their_own(tmp_path: Path) -> None:
    whisper = heard("whisper", rates(0.25, cer=0.125))
    record = evaluation(result(systems=[heard(), heard("base"), whisper, heard("earlier", rates(0.0625))]))
    systems = [
        *record.systems[:2],
        system("whisper", base="openai/whisper"),
        system("earlier", adapter="ana/small@v1"),
    ]
    record = record.model_copy(update={"systems": systems})
    assert "Other systems" not in card_of(tmp_path / "a")
    card = card_of(tmp_path / "b", evaluation_record=record)
    tables = [token.map for token in MARKDOWN.parse(card) if token.type == "table_open" and token.map]
    lines = card.splitlines()[tables[1][0] : tables[1][1]]
    assert lines[2].startswith("| Some clips | openai/whisper | 25.00 % (6.51 to 7.73 %) | 12.50 % | −118.05 (")
    assert lines[3].startswith("| Some clips | earlier revision, ana/small@v1 | 6.25 % (")


def test_faults_that_happened_are_told(tmp_path: Path) -> None:
    assert "Beside plain edits" not in card_of(tmp_path / "a")
    systems = [heard(loop=2), heard("base", loop=1100, chat_like=5)]
    record = evaluation().model_copy(update={"pooled": result("pooled", systems)})
    card = card_of(tmp_path / "b", evaluation_record=record)
    said = "loops 2 (1,100), an answer instead of a transcript 0 (5)."
    assert f"in 1,234 clips of the adapter, those of the base in brackets: {said}" in card
    alone = evaluation().model_copy(update={"pooled": result("pooled", [heard(truncated=1)])})
    card = card_of(tmp_path / "c", evaluation_record=alone)
    assert "in 1,234 clips of the adapter: cut off at the limit of tokens 1." in card
    assert "base beside adapter" not in card


def test_what_was_heard_in_silence_is_told(tmp_path: Path) -> None:
    assert "probes" not in card_of(tmp_path / "a")
    record = evaluation(probes=[probe("adapter", 1), probe("base", 11)])
    said = "In 12 probes of silence and noise the adapter heard words in 1, the base in 11 of 12."
    assert said in card_of(tmp_path / "b", evaluation_record=record)
    assert "words in 1." in card_of(tmp_path / "c", evaluation_record=evaluation(probes=[probe("adapter", 1)]))


def test_speed_is_told_with_the_machine(tmp_path: Path) -> None:
    card = card_of(tmp_path / "run")
    assert "transcribed 40.4 seconds of audio in a second of computing on `cpu` (`float32`, batches" in card
    assert "batches of at most 60 seconds), peak memory 2.3 GB." in card
    still = heard().model_copy(update={"rtfx": 0.0})
    record = evaluation().model_copy(update={"pooled": result("pooled", [still])})
    assert "in a second of computing" not in card_of(tmp_path / "still", evaluation_record=record)


def test_what_the_test_shares_with_training(tmp_path: Path) -> None:
    assert "What the test shares with training" not in headings(card_of(tmp_path / "a"))
    assert "What the test shares with training" not in headings(card_of(tmp_path / "b", data_record=data()))
    record = data(
        leak("transcript", 40),
        leak("speaker", 0, compared=0),
        leak("audio", 0),
        leak("transcript", 7, split="validation"),
        leak("transcript", 7, "elsewhere"),
    )
    card = card_of(tmp_path / "c", data_record=record)
    example = "“chiroqni yoq” (t-7; in train l-9)"
    assert table_rows(card, "What the test shares with training")[1:] == [
        ["Some clips", "words", "40 (25.00 %)", "20", example],
        ["Some clips", "speaker", "not known", "–", "–"],
        ["Some clips", "recording", "0 (0.00 %)", "0", "–"],
    ]
    assert "`data.json`" in card and "not compared" not in card
    missing = record.model_copy(update={"missing": [Missing(split="train", name="more-clips")]})
    assert "so not compared: more-clips (train)." in card_of(tmp_path / "d", data_record=missing)


def test_plots_are_shown_where_they_are(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe())
    (run.eval / "wer-by-duration.svg").write_text("<svg/>")
    card = build_card(run, recipe(), "user/base", "user/adapter")
    assert "![Word error rate by duration](eval/wer-by-duration.svg)" in card and "by-corpus" not in card


def test_what_was_not_used_in_the_test_is_told(tmp_path: Path) -> None:
    assert "of the test corpora could not be used" not in card_of(tmp_path / "a")
    record = evaluation().model_copy(update={"pooled": result("pooled", rejected=7)})
    assert "7 rows of the test corpora could not be used" in card_of(tmp_path / "b", evaluation_record=record)


def test_what_limits_a_verdict_and_token_limits_are_shown(tmp_path: Path) -> None:
    assert "are empty or loop" not in card_of(tmp_path / "a") and "Most tokens" not in card_of(tmp_path / "a")
    silent = heard(normalized=rates(1.0, cer=1.0), empty=1234).model_copy(update={"unusable": 1234})
    base, ctc = (heard(name).model_copy(update={"unusable": 0}) for name in ("base", "mms"))
    differences = [difference(name, verdict="not comparable") for name in ("base", "mms")]
    found = result(systems=[silent, base, ctc], differences=differences)
    record = evaluation(found).model_copy(update={"pooled": found.model_copy(update={"name": "pooled"})})
    systems = [*record.systems[:2], system("mms", base="facebook/mms", max_new_tokens=None)]
    card = card_of(tmp_path / "b", evaluation_record=record.model_copy(update={"systems": systems}))
    assert "), not comparable; WER and CER disagree |" in card
    assert "- Some clips, the adapter against the base: 1,234 of 1,234 hypotheses of the adapter are empty or" in card
    assert "The WER of the base on Some clips is 125.17 %, which is over 100 %, because it inserts 48 words." in card
    assert "Most tokens of a transcript: the adapter 64, the base 64, facebook/mms no limit." in card
    assert "but the two are not comparable; 1,234 of 1,234 hypotheses of the adapter are empty or loop" in card
