"""Test the stored tiny w2v-BERT 2.0, and its recipe."""

import pytest
from transformers import Wav2Vec2BertForCTC, Wav2Vec2BertProcessor

from escoita.metrics.normalizers import normalizer
from escoita.models.ctc_vocabulary import training_text, vocabulary
from escoita.recipe.schema import Modules, load_recipe
from tests.quickstart.test_corpus import QUICKSTART, rows, weight


BASE = QUICKSTART / "ctc"


@pytest.fixture(scope="module")
def processor() -> Wav2Vec2BertProcessor:
    return Wav2Vec2BertProcessor.from_pretrained(BASE)


@pytest.fixture(scope="module")
def model() -> Wav2Vec2BertForCTC:
    return Wav2Vec2BertForCTC.from_pretrained(BASE)


def test_the_base_is_small() -> None:
    assert 1_000_000 < weight(BASE) <= 5_000_000


def test_the_card_of_the_base() -> None:
    card = (BASE / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "no product" in card


def test_the_configuration_agrees_with_extractor_and_tokenizer(
    processor: Wav2Vec2BertProcessor, model: Wav2Vec2BertForCTC
) -> None:
    extractor = processor.feature_extractor
    assert model.config.feature_projection_input_dim == extractor.feature_size * extractor.stride == 160
    assert model.config.vocab_size == len(processor.tokenizer)
    assert model.config.pad_token_id == processor.tokenizer.pad_token_id


def test_the_recipe_has_the_number_of_trained_parameters(model: Wav2Vec2BertForCTC) -> None:
    recipe = load_recipe(QUICKSTART.parent / "recipes/quickstart-ctc.yaml")
    assert isinstance(recipe.method, Modules)
    (module,) = recipe.method.modules
    audio = sum(parameter.numel() for name, parameter in model.named_parameters() if name.startswith(f"{module}."))
    prepared = training_text(normalizer(str(recipe.eval.normalizer)))
    tokens = vocabulary(prepared(row["text"]) for row in rows("uz", "train"))
    assert recipe.method.trainable == {"audio": audio, "head": len(tokens) * (model.config.hidden_size + 1)}
