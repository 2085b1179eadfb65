from pathlib import Path
from typing import Any

import yaml

from escoita.recipe.schema import Recipe
from escoita.records.training import CorpusUse, DataChange
from tests.cards.cards_of import MARKDOWN, card_of, headings, table_rows
from tests.cards.samples import (
    heard_training,
    recipe,
    training,
)


def test_what_happened_is_told(tmp_path: Path) -> None:
    card = card_of(tmp_path, training_record=training(sessions=3, rejected=["a", "b"]))
    assert "audio tower 12,345, language tower 54,321" in card and "vision" not in card
    assert "600 steps, 12 epochs.\n" in card
    assert "- **Device:** `cpu`\n- **Time:** 12.6 min in 3 sessions\n- **Peak memory:** 1.5 GB\n" in card
    assert "Energy" not in card
    assert "- **Energy of the GPU:** 1.25 kWh\n" in card_of(
        tmp_path / "b", training_record=training(energy_joules=4.5e6)
    )
    assert "from 2.5 at step 25 to 0.125 at step 600" in card
    assert "2 rows could not be used" in card
    assert "ab" * 32 in card and "torch 2.13.0, peft 0.21.2." in card


def test_how_training_went_is_told_and_drawn(tmp_path: Path) -> None:
    plain = card_of(tmp_path / "a", training_record=training(loss=[]))
    assert "Course of training" not in headings(plain) and "training.svg" not in plain
    card = card_of(tmp_path / "b", training_record=heard_training())
    assert "Course of training" in headings(card)
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
    assert "12 epochs.\n" in plain and "A step took" not in plain
    unusual = {"load_in_4bit": True, "processes": 2, "engine": "unsloth", "mixed_precision": "bf16"}
    card = card_of(tmp_path / "b", training_record=heard_training(**unusual))
    said = "; base in 4 bits; steps in mixed precision, bfloat16; 2 processes; engine unsloth.\n"
    assert f"12 epochs{said}" in card and "- **Device:** `cpu` × 2\n" in card
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
    assert table_rows(card, "Prompt")[1:] == [
        ["user", "<|audio_1|> Escoita!, whose mark is where the audio stands"],
        ["assistant", "the transcript"],
    ]
    assert '"text": "<|audio_1|> Escoita!"' in card  # the snippet


def test_a_single_evaluation_goes_nowhere(tmp_path: Path) -> None:
    once = heard_training(validation=heard_training().validation[1:2])
    card = card_of(tmp_path, training_record=once)
    assert "The validation loss was 0.52 (step 300)." in card
    assert "WER was 2.37 % (step 300), CER was 0.56 %." in card


def changed(**changes: Any) -> DataChange:
    use = CorpusUse(name="clips", split="train", utterances=1600, audio_seconds=3600.0, rejected=0)
    fields = {"step": 100, "added": 40, "removed": 80, "changed": 1, "earlier_rows_sha256": "ab" * 32}
    return DataChange.model_validate(fields | {"earlier_corpora": [use]} | changes)


def test_a_run_that_resumed_with_other_rows_says_so(tmp_path: Path) -> None:
    card = card_of(tmp_path / "a", training_record=heard_training(data_changes=[changed()]))
    said = "After step 100 the training resumed with other rows: 40 were added, 80 removed and 1 changed."
    assert f"{said} Before, it was trained on 1,600 clips (" in card
    assert "validations up to" not in card and "WER went from 126.51 % (the base)" in card
    only_order = changed(added=0, removed=0, changed=0)
    assert "other rows: only their order changed." in card_of(
        tmp_path / "b", training_record=training(loss=[], data_changes=[only_order])
    )


def test_rates_of_other_validation_clips_are_not_compared(tmp_path: Path) -> None:
    card = card_of(tmp_path, training_record=heard_training(data_changes=[changed(validation=True)]))
    assert "the validations up to step 100 are of other clips" in card
    assert "WER went from 2.37 % (step 300) to 3.12 % (step 600)" in card and "126.51 %" not in card


def test_modules_that_were_trained_whole_are_named(tmp_path: Path) -> None:
    document = yaml.safe_load(recipe().to_yaml())
    document["method"] = {"kind": "modules", "modules": ["audio_embed.encoder", "a`b|c"]}
    whole = training(trainable_parameters={"audio": 655_712, "vision": 0, "language": 0})
    card = card_of(tmp_path, Recipe.model_validate(document), whole)
    assert (
        "What was trained: whole modules (`audio_embed.encoder`, ``a`b|c``), everything else frozen. Trained" in card
    )
    assert " Trained parameters: audio tower 655,712, of 2,000,000 in all.\n" in card
    assert "- **Model type:** adapter of an audio language model: modules trained whole\n" in card
    assert "LoRA" not in card


def test_a_low_rank_adapter_is_told_to_the_last_setting(tmp_path: Path) -> None:
    layers = r".*language_model.*\.(q|k)_proj|.*audio_tower.*\.(a|b)|.*embed_audio\.x|.*_other"
    card = card_of(tmp_path, recipe(method={"target_modules": layers, "use_rslora": True, "lora_dropout": 0.05}))
    assert "What was trained: Rank-stabilised LoRA, rank 4, alpha 16. " in card
    assert table_rows(card, "LoRA")[1:] == [
        ["r", "4"],
        ["lora_alpha", "16"],
        ["lora_dropout", "0.05"],
        ["bias", "none"],
        ["use_rslora", "True"],
        ["targets, language", r".*language_model.*\.(q|k)_proj"],
        ["targets, audio", r".*audio_tower.*\.(a|b)<br>.*embed_audio\.x"],
        ["targets, any tower", ".*_other"],
    ]
