from pathlib import Path
from typing import Any

import yaml

from escoita.cards.sections import curve, data_changes, early_stop, extensions, pace
from escoita.cards.verify.text import figures_of
from escoita.evaluation.presentation import normalizer_text
from escoita.recipe.schema import Recipe
from escoita.records.training import CorpusUse, DataChange, RunExtension
from tests.cards.card_samples import MARKDOWN, headings, make_card, table_rows
from tests.cards.samples import (
    recipe,
    training,
    validated_training,
)


def test_facts_of_the_training(tmp_path: Path) -> None:
    card = make_card(tmp_path, training_record=training(sessions=3, rejected=["a", "b"]))
    assert "audio tower 12,345, language tower 54,321" in card and "vision" not in card
    assert "600 steps, 12 epochs.\n" in card
    assert "- **Device:** `cpu`\n- **Time:** 12.6 min in 3 runs\n- **Peak memory:** 1.5 GB\n" in card
    assert "Energy" not in card
    assert "- **GPU energy:** 1.25 kWh\n" in make_card(tmp_path / "b", training_record=training(energy_joules=4.5e6))
    assert "from 2.5 at step 25 to 0.125 at step 600" in card
    assert "2 rows could not be used" in card
    assert "ab" * 32 in card and "torch 2.13.0, peft 0.21.2." in card


def test_training_progress_has_rates_and_a_plot(tmp_path: Path) -> None:
    plain = make_card(tmp_path / "a", training_record=training(loss=[]))
    assert "Training progress" not in headings(plain) and "training.svg" not in plain
    card = make_card(tmp_path / "b", training_record=validated_training())
    assert "Training progress" in headings(card)
    images = [child.attrs for token in MARKDOWN.parse(card) for child in token.children or [] if child.type == "image"]
    assert [attributes["src"] for attributes in images] == ["training.svg"]
    loss, rates, kept = curve(validated_training())
    assert figures_of(loss) == ["3.11", "0.43", "600"]
    assert figures_of(rates) == ["48", "126.51 %", "3.12 %", "600", "53.48 %", "0.67 %"]
    assert figures_of(kept) == ["300", "2.37 %"]
    assert all(sentence in card for sentence in (loss, rates, kept))
    card = make_card(tmp_path / "c", training_record=validated_training(normalizer="uzbek"))
    assert f"Texts were {normalizer_text('uzbek')}. " in card


def test_validation_of_the_loss_only(tmp_path: Path) -> None:
    points = [point.model_copy(update={"wer": None, "cer": None}) for point in validated_training().validation[1:]]
    record = validated_training(validation=points, kept_step=None)
    (loss,) = curve(record)
    assert figures_of(loss) == ["0.52", "300", "0.43", "600"]
    assert "validation clips" not in make_card(tmp_path, training_record=record)


def test_settings_outside_of_the_arguments_and_throughput(tmp_path: Path) -> None:
    plain = make_card(tmp_path / "a")
    assert "12 epochs.\n" in plain and "step time" not in plain
    unusual = {"load_in_4bit": True, "processes": 2, "engine": "unsloth", "mixed_precision": "bf16"}
    card = make_card(tmp_path / "b", training_record=validated_training(**unusual))
    assert "; base loaded in 4 bits; mixed precision (bfloat16); 2 processes; engine unsloth.\n" in card
    assert "- **Device:** `cpu` × 2\n" in card
    throughput = validated_training().pace
    assert throughput and pace(throughput) in card
    figures = ["0.251", "1.23 %", "143", "4.56 %"]
    assert figures_of(pace(throughput)) == figures
    assert figures_of(pace(throughput.model_copy(update={"halved_batches": 1200}))) == [*figures, "1,200"]


def test_adapter_that_is_not_better_than_the_base() -> None:
    base, *others = validated_training().validation
    equal = validated_training(validation=[base.model_copy(update={"wer": 0.02371}), *others])
    assert figures_of(curve(equal)[-1]) == ["300", "2.37 %", "better"]
    assert figures_of(curve(validated_training(validation=others))[-1]) == ["300", "2.37 %"]


def test_prompt_with_a_placeholder_for_the_audio(tmp_path: Path) -> None:
    card = make_card(tmp_path, recipe(prompt={"user": "<|audio_1|> Escoita!"}))
    assert table_rows(card, "Prompt")[1:] == [
        ["user", "<|audio_1|> Escoita!, in which the audio replaces the placeholder"],
        ["assistant", "the transcript"],
    ]
    assert '"text": "<|audio_1|> Escoita!"' in card  # the snippet


def test_single_validation() -> None:
    loss, rates, _ = curve(validated_training(validation=validated_training().validation[1:2]))
    assert figures_of(loss) == ["0.52", "300"]
    assert figures_of(rates)[1:] == ["2.37 %", "300", "0.56 %"]


def changed(**changes: Any) -> DataChange:
    use = CorpusUse(name="clips", split="train", utterances=1600, audio_seconds=3600.0, rejected=0)
    fields = {"step": 100, "added": 40, "removed": 80, "changed": 1, "earlier_rows_sha256": "ab" * 32}
    return DataChange.model_validate(fields | {"earlier_corpora": [use]} | changes)


def test_run_that_resumed_with_changed_data(tmp_path: Path) -> None:
    record = validated_training(data_changes=[changed()])
    (sentence,) = data_changes(record)
    assert figures_of(sentence) == ["100", "40", "80", "1", "1,600", "1.0"]
    assert sentence in make_card(tmp_path / "a", training_record=record)
    assert "126.51 %" in figures_of(curve(record)[1])
    only_order = training(loss=[], data_changes=[changed(added=0, removed=0, changed=0)])
    assert figures_of(data_changes(only_order)[0]) == ["100", "1,600", "1.0"]


def test_run_that_was_extended(tmp_path: Path) -> None:
    extension = {"step": 300, "unit": "steps", "before": 300, "now": 600, "date": "2026-03-01T10:00:00+00:00"}
    record = validated_training(extensions=[RunExtension.model_validate(extension)])
    (sentence,) = extensions(record)
    assert figures_of(sentence)[-2:] == ["300", "600"] and "2026-03-01" in sentence
    assert sentence in make_card(tmp_path / "a", training_record=record)
    assert extensions(validated_training()) == []


def test_rates_on_other_validation_clips_are_not_compared() -> None:
    record = validated_training(data_changes=[changed(validation=True)])
    assert figures_of(data_changes(record)[-1]) == ["100"]
    assert figures_of(curve(record)[1])[1:4] == ["2.37 %", "300", "3.12 %"]


def test_fully_fine_tuned_modules_are_named(tmp_path: Path) -> None:
    document = yaml.safe_load(recipe().to_yaml())
    document["method"] = {"kind": "modules", "modules": ["audio_embed.encoder", "a`b|c"]}
    modules = training(trainable_parameters={"audio": 655_712, "vision": 0, "language": 0})
    card = make_card(tmp_path, Recipe.model_validate(document), modules)
    assert "`audio_embed.encoder`, ``a`b|c``; " in card
    assert "audio tower 655,712, of 2,000,000 in total.\n" in card
    assert "LoRA" not in card


def test_all_settings_of_lora(tmp_path: Path) -> None:
    layers = r".*language_model.*\.(q|k)_proj|.*audio_tower.*\.(a|b)|.*embed_audio\.x|.*_other"
    card = make_card(tmp_path, recipe(method={"target_modules": layers, "use_rslora": True, "lora_dropout": 0.05}))
    assert "Rank-stabilized LoRA, rank 4, alpha 16. " in card
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


def test_early_stopping_is_stated() -> None:
    long = recipe(validation={"patience": 2}, training={"num_train_epochs": 40})
    assert "40 epochs" in early_stop(long, training()) and "2 evaluations" in early_stop(long, training())
    steps = long.model_copy(update={"training": {"max_steps": training().steps + 1}})
    assert f"{training().steps + 1:,} steps" in early_stop(steps, training())
    complete = long.model_copy(update={"training": {"max_steps": training().steps}})
    assert early_stop(complete, training()) == ""
    # A foreign recipe may hold anything.
    assert early_stop(long.model_copy(update={"training": {"num_train_epochs": "many"}}), training()) == ""
    assert early_stop(recipe(validation={"patience": None}, training={"num_train_epochs": 40}), training()) == ""
