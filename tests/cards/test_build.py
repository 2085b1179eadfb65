import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from cards.build import build_card, write_card
from cards.metadata import metadata
from escoita.data_record import DataRecord, Missing
from escoita.errors import RecordError
from escoita.evaluation import EvaluationRecord
from escoita.plots import training_plot
from escoita.recipe import Recipe
from escoita.records import TrainingRecord
from tests.cards.samples import (
    data,
    difference,
    evaluation,
    heard,
    heard_training,
    leak,
    probe,
    rates,
    recipe,
    result,
    system,
    training,
    write_run,
)


MARKDOWN = MarkdownIt("commonmark").enable("table")
TWO = {
    "test": [
        {"name": "clips", "path": "a.jsonl", "title": "Some clips"},
        {"name": "more", "path": "b.jsonl", "title": "More"},
    ]
}
HOSTILE = [
    "a | b || c",
    "--- \n---\nlicense: mit",
    "{{ 7 * 7 }} {% raw %} {# #}",
    "```\n# Owned\n```",
    "'\": [}, & *b* <script>alert(1)</script>",
    "key: value # comment",
    "\\",
    "| --- | --- |",
    "${{x}} \u2028 ñ ʻ 字 😀",
    "yes",
    "1e3",
]


def card_of(
    path: Path,
    chosen: Recipe | None = None,
    training_record: TrainingRecord | None = None,
    evaluation_record: EvaluationRecord | None = None,
    data_record: DataRecord | None = None,
    base: str = "user/base",
    adapter: str = "user/adapter",
) -> str:
    chosen = chosen or recipe()
    run = write_run(path, chosen, training_record, evaluation_record, data_record)
    return build_card(run, chosen, base, adapter)


def table_rows(card: str, heading: str) -> list[list[str]]:
    """Cells of the first table under a heading, as Markdown shows them."""
    tokens = MARKDOWN.parse(ModelCard(card).text)
    start = next(i for i, token in enumerate(tokens) if token.type == "inline" and token.content == heading)
    rows: list[list[str]] = []
    for token in tokens[start + 1 :]:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def headings(card: str) -> list[str]:
    tokens = MARKDOWN.parse(ModelCard(card).text)
    return [after.content for token, after in zip(tokens, tokens[1:], strict=False) if token.type == "heading_open"]


def code_blocks(card: str) -> list[str]:
    return [token.content for token in MARKDOWN.parse(ModelCard(card).text) if token.type == "fence"]


def numbers(value: Any) -> set[float]:
    """Every number of a record."""
    if isinstance(value, dict):
        return numbers(list(value.values()))
    if isinstance(value, list):
        return set().union(*map(numbers, value))
    return {value} if isinstance(value, int | float) else set()


def test_built_twice_it_is_the_same(tmp_path: Path) -> None:
    assert card_of(tmp_path / "a") == card_of(tmp_path / "b")


def test_every_percentage_stands_in_a_record(tmp_path: Path) -> None:
    more = result("more", [heard(normalized=rates(0.5, wer_ci95=(0.45678, 0.5432)))], word_share=0.26)
    record = evaluation(result(word_share=0.74), more)
    body = ModelCard(card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record)).text
    figures = set(re.findall(r"[\d.]+(?= %)", body)) | set(re.findall(r"[\d.]+(?= to [\d.]+ %)", body))
    known = {f"{100 * number:.2f}" for number in numbers(json.loads(record.model_dump_json()))}
    assert len(figures) == 18
    assert figures - known == {"95", "100"}  # of the interval, and of the remark that a rate may be over 100 %


def test_the_table_of_results(tmp_path: Path) -> None:
    record = evaluation(result(), result("more", [heard()]))
    heads, first, second, pooled, mean = table_rows(
        card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record), "Results"
    )
    assert heads[-1] == "Adapter against base: WER in points (95 %)"
    better = "better: −118.05 (−123.45 to −112.34)"
    assert first == ["Some clips", "1,234", "125.17 %", "7.12 %", "6.51 to 7.73 %", "81.24 %", "2.34 %", better]
    assert (second[0], second[2], second[5], second[7]) == ("More", "–", "–", "–")
    assert (pooled[0], pooled[1], pooled[3]) == ("All, pooled by words", "2,468", "10.99 %")
    assert mean == ["Mean of the corpora", "–", "33.33 %", "33.33 %", "30.00 to 40.00 %", "11.11 %", "11.11 %", "–"]


def test_no_measurable_difference_is_said_in_these_words(tmp_path: Path) -> None:
    same = difference(wer=0.001, ci95=(-0.02, 0.0225), p_value=0.8, verdict="no measurable difference")
    card = card_of(tmp_path, evaluation_record=evaluation(result(differences=[same])))
    assert table_rows(card, "Results")[1][-1] == "no measurable difference: +0.10 (−2.00 to +2.25)"


def test_one_corpus_needs_no_pool(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    assert len(table_rows(card, "Results")) == 2
    assert "pooled row" not in card and "Mean of the corpora" not in card


def test_what_the_pool_is_made_of(tmp_path: Path) -> None:
    record = evaluation(result(word_share=0.7401), result("more", word_share=0.2599))
    card = card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record)
    assert "so that large corpora weigh more: Some clips 74.01 %, More 25.99 % of the words." in card


def test_raw_rates_stand_beside_the_normalised(tmp_path: Path) -> None:
    systems = [heard(raw=rates(0.2)), heard("base", raw=rates(1.5))]
    record = evaluation(result(systems=systems, merged=3, split=4), normalizer="uzbek")
    record = record.model_copy(update={"pooled": record.corpora[0].model_copy(update={"name": "pooled"})})
    card = card_of(tmp_path, evaluation_record=record)
    heads, normalised, raw = table_rows(card, "Results")
    assert heads[1] == "Texts"
    assert (normalised[1], normalised[3], normalised[4]) == ("normalised", "125.17 %", "7.12 %")
    assert (raw[1], raw[3], raw[4], raw[-1]) == ("raw", "150.00 %", "20.00 %", "–")
    assert "Texts were normalised for Uzbek" in card
    assert "Normalising joins or drops words of 3 references and splits words of 4." in card


def test_a_normaliser_of_another_time_is_named(tmp_path: Path) -> None:
    card = card_of(tmp_path, evaluation_record=evaluation(normalizer="klingon"))
    assert "Texts were normalised by klingon; raw rates" in card


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
    assert lines[2].startswith("| Some clips | openai/whisper | 25.00 % | 6.51 to 7.73 % | 12.50 % | better: −118.05")
    assert lines[3].startswith("| Some clips | earlier revision, ana/small@v1 | 6.25 % |")


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


def test_the_table_of_training_data(tmp_path: Path) -> None:
    assert table_rows(card_of(tmp_path), "Training data")[1:] == [["clips", "train", "800", "30.0", "cc0-1.0"]]


def test_what_happened_is_told(tmp_path: Path) -> None:
    card = card_of(tmp_path, training_record=training(sessions=3, rejected=["a", "b"]))
    assert "audio tower 12,345, language tower 54,321" in card and "vision" not in card
    assert "600 steps, 12 epochs, 12.6 minutes on `cpu` in 3 sessions, peak memory 1.5 GB." in card
    assert "from 2.5 at step 25 to 0.125 at step 600" in card
    assert "2 rows could not be used" in card
    assert "ab" * 32 in card and "torch 2.13.0, peft 0.21.2." in card


def test_how_training_went_is_told_and_drawn(tmp_path: Path) -> None:
    assert "Training curve" not in headings(card_of(tmp_path / "a"))
    card = card_of(tmp_path / "b", training_record=heard_training())
    assert "Training curve" in headings(card)
    images = [child.attrs for token in MARKDOWN.parse(card) for child in token.children or [] if child.type == "image"]
    assert [attributes["src"] for attributes in images] == ["training.svg"]
    assert "The validation loss went from 3.11 (the base) to 0.43 (step 600)." in card
    assert "48 clips of the validation corpora, always the same ones, were heard each time:" in card
    assert "WER went from 126.51 % (the base) to 3.12 % (step 600), CER went from 53.48 % to 0.67 %." in card
    assert "This adapter is that of step 300, of the lowest WER of all adapters, 2.37 %." in card
    assert "Texts were compared as they are. Which adapter is kept was chosen by these clips" in card
    assert "hold every figure above and all that is drawn" in card
    card = card_of(tmp_path / "c", training_record=heard_training(normalizer="uzbek"))
    assert "Texts were normalised for Uzbek: lower case" in card and "Texts were compared as they are;" not in card


def test_where_only_the_loss_was_evaluated_nothing_is_said_of_rates(tmp_path: Path) -> None:
    points = [point.model_copy(update={"wer": None, "cer": None}) for point in heard_training().validation[1:]]
    card = card_of(tmp_path, training_record=heard_training(validation=points, kept_step=None))
    assert "The validation loss went from 0.52 (step 300) to 0.43 (step 600)." in card
    assert "always the same ones" not in card and "This adapter is that" not in card and "chosen by" not in card


def test_what_decides_how_training_comes_out_is_told(tmp_path: Path) -> None:
    plain = card_of(tmp_path / "a")
    assert "peak memory 1.5 GB.\n" in plain and "A step took" not in plain
    unusual = {"load_in_4bit": True, "processes": 2, "engine": "unsloth", "mixed_precision": "bf16"}
    card = card_of(tmp_path / "b", training_record=heard_training(**unusual))
    said = "; base in 4 bits; steps in mixed precision, bfloat16; 2 processes; engine unsloth.\n"
    assert f"peak memory 1.5 GB{said}" in card
    assert "A step took 0.251 seconds (median), 1.23 % of the time spent waiting for data; 143 hours of audio" in card
    assert "audio were trained on in an hour, 4.56 % of what was computed being padding.\n" in card
    halved = heard_training().pace.model_copy(update={"halved_batches": 1200})  # type: ignore[union-attr]
    card = card_of(tmp_path / "c", training_record=heard_training(pace=halved))
    assert "being padding. Batches taken in halves, for want of memory: 1,200." in card


def test_an_adapter_that_heard_no_better_than_the_base_is_called_that(tmp_path: Path) -> None:
    base, *others = heard_training().validation
    deaf = heard_training(validation=[base.model_copy(update={"wer": 0.02371}), *others])
    assert "2.37 %; none heard these clips better than the base." in card_of(tmp_path / "a", training_record=deaf)
    card = card_of(tmp_path / "b", training_record=heard_training(validation=others))
    assert "of all adapters, 2.37 %." in card


def test_a_prompt_that_says_where_the_audio_is_stands_as_it_is(tmp_path: Path) -> None:
    card = card_of(tmp_path, recipe(prompt={"user": "<|audio_1|> Escoita!"}))
    assert "User prompt: `<|audio_1|> Escoita!`" in card
    assert '"text": "<|audio_1|> Escoita!"' in card  # the snippet


def test_a_single_evaluation_goes_nowhere(tmp_path: Path) -> None:
    once = heard_training(validation=heard_training().validation[1:2])
    card = card_of(tmp_path, training_record=once)
    assert "The validation loss was 0.52 (step 300)." in card
    assert "WER was 2.37 % (step 300), CER was 0.56 %." in card


def test_modules_that_were_trained_whole_are_named(tmp_path: Path) -> None:
    document = yaml.safe_load(recipe().to_yaml())
    document["method"] = {"kind": "modules", "modules": ["audio_embed.encoder", "a`b|c"]}
    whole = training(trainable_parameters={"audio": 655_712, "vision": 0, "language": 0})
    card = card_of(tmp_path, Recipe.model_validate(document), whole)
    assert "- **Method:** whole modules (`audio_embed.encoder`, ``a`b|c``), everything else frozen; trained" in card
    assert "; trained parameters: audio tower 655,712, of 2,000,000 in all\n" in card
    assert "LoRA" not in card and "Targets of the adapter" not in card
    assert "LoRA, rank 4, alpha 16;" in card_of(tmp_path / "lora")


def test_what_was_not_used_in_the_test_is_told(tmp_path: Path) -> None:
    assert "of the test corpora could not be used" not in card_of(tmp_path / "a")
    record = evaluation().model_copy(update={"pooled": result("pooled", rejected=7)})
    assert "7 rows of the test corpora could not be used" in card_of(tmp_path / "b", evaluation_record=record)


def test_an_absent_fact_leaves_no_heading(tmp_path: Path) -> None:
    plain = headings(card_of(tmp_path / "a"))
    assert not {"Intended use", "Limitations", "Licence"} & set(plain)
    said = {"intended_use": "Commands.", "limitations": "Few words.", "base_terms": "Terms."}
    assert {"Intended use", "Limitations", "Licence"} <= set(headings(card_of(tmp_path / "b", recipe(card=said))))


def test_the_front_matter_survives_the_library(tmp_path: Path) -> None:
    content = card_of(tmp_path)
    card = ModelCard(content)
    assert card.data.to_dict() == metadata(recipe(), evaluation(), "user/base").to_dict()
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
    assert ModelCard(str(card)).text.strip() == card.text.strip() == content.split("\n---\n", 1)[1].strip()
    assert [(entry.metric_type, entry.metric_value) for entry in card.data.get("eval_results")] == [
        ("wer", 0.0712),
        ("cer", 0.0234),
    ]


def test_raw_and_normalised_rates_survive_the_library_apart(tmp_path: Path) -> None:
    systems = [heard(raw=rates(0.25, cer=0.125))]
    record = evaluation(result(systems=systems), result("more", systems), normalizer="uzbek")
    card = ModelCard(card_of(tmp_path, recipe(corpora=TWO), evaluation_record=record))
    entries = ModelCard(str(card)).data.get("eval_results")
    found = [(entry.dataset_type, entry.metric_name, entry.metric_args, entry.metric_value) for entry in entries]
    assert found == [
        (name, f"{metric} (fraction, {normalizer})", {"normalizer": normalizer}, value)
        for name in ("clips", "more")
        for normalizer, metric, value in (
            ("uzbek", "WER", 0.0712),
            ("uzbek", "CER", 0.0234),
            ("raw", "WER", 0.25),
            ("raw", "CER", 0.125),
        )
    ]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles_break_nothing(tmp_path: Path, title: str) -> None:
    corpora = {
        split: [{"name": "clips", "path": "a.jsonl", "title": title, "license": title, "description": title}]
        for split in ("train", "test")
    }
    texts = dict.fromkeys(
        ("title", "description", "developers", "base_terms", "intended_use", "limitations", "license"), title
    )
    chosen = recipe(
        card=texts | {"tags": [title]},
        corpora=corpora,
        training={"optim": title, title: title},
        prompt={"user": title, "system": title},
    )
    leaks = leak("transcript", 40)
    pair = leaks.examples[0].model_copy(update={"clip": leaks.examples[0].clip.model_copy(update={"text": title})})
    record = data(leaks.model_copy(update={"examples": [pair]}))
    systems = [system(device=title, dtype=title), *evaluation().systems[1:], system("whisper", base=title)]
    hostile = evaluation(result(systems=[heard(), heard("base"), heard("whisper")])).model_copy(
        update={"systems": systems}
    )
    content = card_of(tmp_path / "hostile", chosen, evaluation_record=hostile, data_record=record)
    shown = " ".join(title.split())
    plain = {"description": "a", "base_terms": "a", "intended_use": "a", "limitations": "a", "developers": "a"}

    card = ModelCard(content)
    assert card.data.to_dict() == metadata(chosen, evaluation(), "user/base").to_dict()
    assert (card.data.get("license"), card.data.get("tags")) == (title, ["speech", "lora", title])
    harmless = card_of(tmp_path / "plain", recipe(card=plain), data_record=data(leak("transcript", 40)))
    assert len(headings(content)) == len(headings(harmless))
    assert {len(row) for row in table_rows(content, "Results")} == {8}
    assert table_rows(content, "Results")[1][0] == shown
    assert table_rows(content, "What the test shares with training")[1][-1] == f"“{shown}” (t-7; in train l-9)"
    assert table_rows(content, "Training data")[1] == [shown, "train", "800", "30.0", shown]
    assert table_rows(content, "Training procedure")[-1] == [shown, shown]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_names_leave_the_code_to_copy_whole(tmp_path: Path, title: str) -> None:
    chosen = recipe(prompt={"user": title, "system": title})
    ours, plain = code_blocks(card_of(tmp_path, chosen, base=title, adapter=title))
    for block in (ours, plain):
        texts = [node.value for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Constant)]
        assert texts.count(title) >= 2
    assert sum(node.value == title for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.Constant)) == 4


def test_the_base_is_a_link_only_when_it_is_of_the_hub(tmp_path: Path) -> None:
    assert "[user/base](https://huggingface.co/user/base)" in card_of(tmp_path / "a")
    local = card_of(tmp_path / "b", base="/models/gemma4")
    assert "**Base model:** `/models/gemma4`" in local and "base_model:" not in local


def test_the_card_of_a_run_is_written_beside_its_records(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipe())
    assert write_card(run.path) == run.path / "README.md"
    assert run.card.read_text("utf-8") == build_card(run, recipe(), "quickstart/gemma4", str(run.adapter))
    assert not run.curve.exists()


def test_the_plot_of_training_is_drawn_beside_the_card_from_the_record_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipe(), heard_training())
    write_card(run.path)
    assert run.curve.read_text("utf-8") == training_plot(heard_training())
    assert f"]({run.curve.name})" in run.card.read_text("utf-8")


@pytest.mark.parametrize("digest", ["base_sha256", "adapter_sha256"])
def test_figures_of_other_weights_make_no_card(tmp_path: Path, digest: str) -> None:
    record = evaluation(systems=[system(**{digest: "00" * 32}), system("base")])
    run = write_run(tmp_path / "run", recipe(), evaluation_record=record)
    with pytest.raises(RecordError, match="measured another base or adapter than was trained here; evaluate again$"):
        write_card(run.path)


@pytest.mark.parametrize("missing", ["training", "results"])
def test_without_its_records_there_is_no_card(tmp_path: Path, missing: str) -> None:
    run = write_run(tmp_path / "run", recipe())
    getattr(run, missing).unlink()
    with pytest.raises(RecordError, match="no such record yet; escoita (train|eval) writes it$"):
        write_card(run.path)
    assert not run.card.exists()
