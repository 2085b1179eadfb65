"""Test the stored tiny Whisper, and its recipe."""

import pytest
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from escoita.recipe.schema import Modules, load_recipe
from tests.quickstart.test_corpus import QUICKSTART, rows, weight


BASE = QUICKSTART / "whisper"


@pytest.fixture(scope="module")
def processor() -> WhisperProcessor:
    return WhisperProcessor.from_pretrained(BASE)


@pytest.fixture(scope="module")
def model() -> WhisperForConditionalGeneration:
    return WhisperForConditionalGeneration.from_pretrained(BASE)


def test_the_base_is_small() -> None:
    assert 1_000_000 < weight(BASE) <= 5_000_000


def test_the_card_of_the_base() -> None:
    card = (BASE / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "no product" in card


def test_special_tokens_have_the_order_of_whisper(processor: WhisperProcessor) -> None:
    """Other programs compute the ids of tasks and timestamps from that of the end of text."""
    end = processor.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    offsets = {"<|startoftranscript|>": 1, "<|en|>": 2, "<|su|>": 100, "<|translate|>": 101, "<|transcribe|>": 102}
    offsets |= {"<|nospeech|>": 105, "<|notimestamps|>": 106, "<|0.00|>": 107, "<|30.00|>": 1607}
    for token, offset in offsets.items():
        assert processor.tokenizer.convert_tokens_to_ids(token) == end + offset
    codes = [code for code in LANGUAGES if code != "yue"]  # added by large-v3
    ids = processor.tokenizer.convert_tokens_to_ids([f"<|{code}|>" for code in codes])
    assert ids == list(range(end + 2, end + 101))
    assert len(processor.tokenizer) == end + 1608


def test_configurations_agree_with_tokenizer_and_extractor(
    processor: WhisperProcessor, model: WhisperForConditionalGeneration
) -> None:
    tokenizer, config, generation = processor.tokenizer, model.config, model.generation_config
    assert config.vocab_size == len(tokenizer) and config.num_mel_bins == 80
    assert 2 * config.max_source_positions == processor.feature_extractor.nb_max_frames
    named = generation.lang_to_id | {f"<|{task}|>": index for task, index in generation.task_to_id.items()}
    named |= {"<|notimestamps|>": generation.no_timestamps_token_id, "<|endoftext|>": generation.eos_token_id}
    named |= {"<|startoftranscript|>": generation.decoder_start_token_id}
    assert len(generation.lang_to_id) == 99 and generation.is_multilingual
    assert all(tokenizer.convert_tokens_to_ids(token) == index for token, index in named.items())
    first = tokenizer(" abre", add_special_tokens=False)["input_ids"][0]
    assert first not in generation.begin_suppress_tokens


@pytest.mark.parametrize("language", ["uz", "gl"])
def test_texts_are_tokenized_by_letters(processor: WhisperProcessor, language: str) -> None:
    tokenizer = processor.tokenizer
    texts = [row["text"] for split in ("train", "validation", "test") for row in rows(language, split)]
    for text, ids in zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
        assert len(ids) == len(text)  # no letter is split into bytes
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", ["日本語", "¿Que é isto?", "naïve €", "a  b"])
def test_unknown_letters_are_tokenized_by_bytes(processor: WhisperProcessor, text: str) -> None:
    assert processor.tokenizer.decode(processor.tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_recipe_has_the_number_of_trained_parameters(model: WhisperForConditionalGeneration) -> None:
    recipe = load_recipe(QUICKSTART.parent / "recipes/quickstart-whisper.yaml")
    assert isinstance(recipe.method, Modules)
    trained = {
        tower: sum(parameter.numel() for name, parameter in model.named_parameters() if name.startswith(f"{module}."))
        for tower, module in zip(("audio", "language"), recipe.method.modules, strict=True)
    }
    assert trained == recipe.method.trainable
