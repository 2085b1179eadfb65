"""Test properties that the stored tiny bases and their recipes have in common."""

import math
import re
from typing import Any

import pytest
from safetensors import safe_open

from escoita.metrics.normalizers import normalizer
from escoita.models import family_of
from escoita.models.ctc_vocabulary import training_text, vocabulary
from escoita.recipe.schema import Modules, load_recipe
from tests.quickstart.test_corpus import QUICKSTART, rows, weight


BASES = ("gemma4", "phi4", "whisper", "ctc")
# A language for the bases whose tokens are letters and bytes.
LETTERS = [("phi4", "gl"), ("whisper", "uz"), ("whisper", "gl")]
# The modules of each tower that a recipe trains whole.
TRAINED = {
    "quickstart-galician": {
        "audio": r"model\.embed_tokens_extend\.audio_embed\.(encoder|(up|down)_proj_for_speech)\."
    },
    "quickstart-whisper": {"audio": r"model\.encoder\.", "language": r"model\.decoder\."},
    "quickstart-ctc": {"audio": r"wav2vec2_bert\.encoder\."},
}


def tokenizer(base: str) -> Any:
    return family_of(str(QUICKSTART / base)).load_processor(str(QUICKSTART / base)).tokenizer


@pytest.mark.parametrize("base", BASES)
def test_the_base_is_small(base: str) -> None:
    assert 1_000_000 < weight(QUICKSTART / base) <= 5_000_000


@pytest.mark.parametrize("base", BASES)
def test_the_card_of_the_base(base: str) -> None:
    card = (QUICKSTART / base / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "no product" in card


@pytest.mark.parametrize("base, language", LETTERS)
def test_texts_are_tokenized_by_letters(base: str, language: str) -> None:
    tokens = tokenizer(base)
    texts = [row["text"] for split in ("train", "validation", "test") for row in rows(language, split)]
    for text, ids in zip(texts, tokens(texts, add_special_tokens=False)["input_ids"], strict=True):
        assert len(ids) == len(text)  # no letter is split into bytes
        assert tokens.decode(ids) == text


@pytest.mark.parametrize("base", ["phi4", "whisper"])
def test_unknown_letters_are_tokenized_by_bytes(base: str) -> None:
    tokens = tokenizer(base)
    for text in ("日本語", "¿Que é isto?", "naïve €", "a  b"):
        assert tokens.decode(tokens(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize("name", TRAINED)
def test_the_recipe_has_the_number_of_trained_parameters(name: str) -> None:
    recipe = load_recipe(QUICKSTART.parent / f"recipes/{name}.yaml")
    assert isinstance(recipe.method, Modules)
    with safe_open(f"{recipe.base}/model.safetensors", "pt") as file:
        sizes = {key: math.prod(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    trained = {
        tower: sum(
            size
            for key, size in sizes.items()
            # The measured values are not trained.
            if re.match(pattern, key) and not key.endswith(("global_mean", "global_invstd"))
        )
        for tower, pattern in TRAINED[name].items()
    }
    if name == "quickstart-ctc":
        prepared = training_text(normalizer(str(recipe.eval.normalizer)))
        tokens = vocabulary(prepared(row["text"]) for row in rows("uz", "train"))
        config = family_of(recipe.base).read_config(recipe.base)
        trained["head"] = len(tokens) * (config.hidden_size + 1)
    assert trained == {tower: count for tower, count in recipe.method.trainable.items() if count != "none"}


def test_the_configuration_of_ctc_agrees_with_extractor_and_tokenizer() -> None:
    base = str(QUICKSTART / "ctc")
    family = family_of(base)
    config, processor = family.read_config(base), family.load_processor(base)
    extractor = processor.feature_extractor
    assert config.feature_projection_input_dim == extractor.feature_size * extractor.stride == 160
    assert config.vocab_size == len(processor.tokenizer)
    assert config.pad_token_id == processor.tokenizer.pad_token_id
