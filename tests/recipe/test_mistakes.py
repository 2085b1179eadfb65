"""Test fifty mistakes that users make in a recipe: each error has its line, its key and the right value."""

from pathlib import Path

import pytest

from escoita.recipe.errors import InvalidRecipeError
from escoita.recipe.schema import load_recipe
from tests.conftest import ROOT


RECIPE = (ROOT / "recipes/quickstart-uzbek.yaml").read_text("utf-8")
PATH = "      path: quickstart/corpus/uz/train.jsonl"
TARGETS = "  target_modules: >-"
# The line to replace, the mistake, the key that the error names, and a text that the error contains.
MISTAKES = [
    ("base: ./quickstart/gemma4", "model: google/gemma-4", "model", "base"),
    ("base: ./quickstart/gemma4", "base_model: google/gemma-4", "base_model", "base"),
    ("base: ./quickstart/gemma4", "model_name_or_path: google/gemma-4", "model_name_or_path", "base"),
    ("base: ./quickstart/gemma4", "Base: google/gemma-4", "Base", "base"),
    ("base: ./quickstart/gemma4", "base: [google/gemma-4]", "base", "text"),
    ("base: ./quickstart/gemma4", "base:", "base", "text"),
    ("dtype: float32", "dtype: bf16", "dtype", "bfloat16"),
    ("dtype: float32", "dtype: fp16", "dtype", "float16"),
    ("dtype: float32", "dtype: BFloat16", "dtype", "bfloat16"),
    ("dtype: float32", "torch_dtype: float32", "torch_dtype", "dtype"),
    ("dtype: float32", "load_in_8bit: true", "load_in_8bit", "load_in_4bit"),
    ("dtype: float32", "load_in_4bit: maybe", "load_in_4bit", "true or false"),
    ("dtype: float32", "engine: hf", "engine", "transformers"),
    ("dtype: float32", "engine: Unsloth", "engine", "unsloth"),
    ("language: uz", "language: Uzbek", "language", "uz"),
    ("language: uz", "language: o'zbek tili", "language", "tag"),
    ("language: uz", "language: xx", "language", "tag"),
    ("language: uz", "language: no", "language", "quoted"),
    ("language: uz", "lang: uz", "lang", "language"),
    ("  kind: lora", "  kind: qlora", "method.kind", "lora"),
    ("  kind: lora", "  kind: LoRA", "method.kind", "lora"),
    ("  kind: lora", "  kind: full", "method.kind", "modules"),
    ("  kind: lora", "  type: lora", "method.type", "kind"),
    ("  r: 8", "  lora_r: 8", "method.lora_r", "r"),
    ("  r: 8", "  rank: 8", "method.rank", "r"),
    ("  r: 8", "  r: eight", "method.r", "whole number"),
    ("  r: 8", "  r: 8.5", "method.r", "whole number"),
    ("  r: 8", "  r: 0", "method.r", "greater than 0"),
    ("  lora_alpha: 16", "  alpha: 16", "method.alpha", "lora_alpha"),
    ("  lora_dropout: 0", "  dropout: 0", "method.dropout", "lora_dropout"),
    ("  lora_dropout: 0", "  lora_dropout: 10", "method.lora_dropout", "less than 1"),
    ("  bias: none", "  bias: yes", "method.bias", "lora_only"),
    (TARGETS, "  target_modules: [q_proj, 8]\n  _: >-", "method.target_modules", "text"),
    ("  target_modules: >-", "  target_modules: '*.q_proj'\n  _: >-", "method.target_modules", "regular expression"),
    ("  target_modules: >-", "  targets: >-", "method.targets", "target_modules"),
    ("  user: Please", "  instruction: Please", "prompt.instruction", "user"),
    (PATH, "      file: a.jsonl", "corpora.train.0.file", "path"),
    (PATH, "      path: a\n      reader: csv", "corpora.train.0.reader", "manifest"),
    (PATH, "      path: a\n      reader: hf", "corpora.train.0.reader", "hub"),
    (PATH, "      path: a\n      reader: CommonVoice", "corpora.train.0.reader", "common_voice"),
    (PATH, "      path: a\n      format: tsv", "corpora.train.0.format", "reader"),
    (PATH, "      path: a\n      columns: {sentence: text}", "corpora.train.0.columns.sentence", "text"),
    (PATH, "      path: a\n      columns: text", "corpora.train.0.columns", "mapping"),
    (PATH, "      path: a\n      licence: mit", "corpora.train.0.licence", "license"),
    (PATH, "      path: a\n      weight: 0", "corpora.train.0.weight", "greater than 0"),
    ("  train:", "  training: []\n  train:", "corpora.training", "train"),
    ("  test:", "  dev: []\n  test:", "corpora.dev", "validation"),
    ("  test:", "  test: []\n  tests:", "corpora.test", "empty"),
    ("  r: 8", "  r: 8\n  r: 16", "method.r", "already given in line"),
    ("language: uz", "language: uz\nlanguage: gl", "language", "already given in line"),
    ("  max_rejected_share: 0.01", "  max_rejected_share: 1 %", "corpora.max_rejected_share", "number"),
    ("training: #", "trainer: #", "trainer", "training"),
    ("validation:", "early_stopping: 3\nvalidation:", "early_stopping", "validation.patience"),
    ("  patience: 3", "  early_stopping_patience: 3", "validation.early_stopping_patience", "patience"),
    ("card:", "licence: mit\ncard:", "licence", "card.license"),
    ("card:", "license: mit\ncard:", "license", "card.license"),
    ("card:", "title: Mine\ncard:", "title", "card.title"),
]  # fmt: skip


def test_there_are_fifty() -> None:
    assert len(MISTAKES) >= 50


@pytest.mark.parametrize(
    "line, written, key, right", MISTAKES, ids=[f"{row[2]}-{n}" for n, row in enumerate(MISTAKES)]
)
def test_a_mistake_is_answered_with_line_key_and_right_value(
    line: str, written: str, key: str, right: str, tmp_path: Path
) -> None:
    assert RECIPE.count(f"\n{line}") >= 1
    text = RECIPE.replace(f"\n{line}", f"\n{written}", 1)
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidRecipeError) as refused:
        load_recipe(path)
    (mistake,) = [mistake for mistake in refused.value.mistakes if mistake.key == key]
    last = key.split(".")[-1]
    lines = [number for number, each in enumerate(text.split("\n"), 1) if f"{last}:" in each]
    assert mistake.path == path and mistake.row in lines
    assert right in f"{mistake.problem} {mistake.hint}"
