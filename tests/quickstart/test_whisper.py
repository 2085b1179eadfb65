"""Test the stored tiny Whisper, and its recipe."""

import pytest
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from tests.quickstart.test_corpus import QUICKSTART


BASE = QUICKSTART / "whisper"


@pytest.fixture(scope="module")
def processor() -> WhisperProcessor:
    return WhisperProcessor.from_pretrained(BASE)


@pytest.fixture(scope="module")
def model() -> WhisperForConditionalGeneration:
    return WhisperForConditionalGeneration.from_pretrained(BASE)


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
