"""Test the vocabulary of CTC models."""

import json
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import EscoitaError
from escoita.metrics.normalizers import normalizer
from escoita.models.ctc_vocabulary import (
    VocabularySizeError,
    check_base_vocabulary,
    read_vocabulary,
    tokenizer_of,
    training_text,
    unknown_characters,
    unknown_line,
    vocabulary,
)
from escoita.records.evaluation import System


def test_the_vocabulary_is_that_of_the_normalized_transcripts_in_a_fixed_order() -> None:
    prepare = training_text(normalizer("galician"))
    texts = [prepare(text) for text in ("Ola,  mundo!", "a ñ")]
    assert texts == ["ola mundo", "a ñ"]
    found = vocabulary(texts)
    assert list(found) == ["<pad>", "<unk>", "|", *"adlmnouñ"] and list(found.values()) == list(range(11))
    assert vocabulary(reversed(texts)) == found


def test_characters_that_training_lacks_are_counted() -> None:
    found = unknown_characters(["xa ó", "ó"], vocabulary(["a"]))
    assert found == {"ó": 2, "x": 1} and "'ó' ×2" in unknown_line(found)
    assert unknown_line({}) == ""


def test_too_many_characters_are_refused() -> None:
    with pytest.raises(VocabularySizeError) as error:
        vocabulary([chr(0x4E00 + number) for number in range(8_001)])
    assert (error.value.key, error.value.value, error.value.limit) == ("corpora.train", 8_001, 8_000)


def test_a_saved_vocabulary_is_read_again(tmp_path: Path) -> None:
    tokens = vocabulary(["ñu 字"])
    tokenizer = tokenizer_of(tokens)
    tokenizer.save_pretrained(tmp_path)
    assert read_vocabulary(tmp_path / "vocab.json", "adapter") == tokens == tokenizer.get_vocab()
    # A blank between two equal letters keeps both.
    ids = tokenizer.convert_tokens_to_ids(["ñ", "ñ", "<pad>", "ñ", "|", "u"])
    assert tokenizer.decode(ids) == "ññ u"


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        {"<pad>": 0, "<unk>": 1, "|": 2, "a": 4},
        {"<pad>": 0, "<unk>": 1, "|": 2, "a": "3"},
        {"<pad>": 0, "<unk>": 1, "|": 2, "ab": 3},
        {"a": 0, "<unk>": 1, "|": 2, "<pad>": 3},
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    with pytest.raises(EscoitaError) as error:
        read_vocabulary(path, "user/adapter")
    assert error.value.path == "user/adapter/vocab.json"


@pytest.mark.parametrize(
    "tokens",
    [
        {"a": 0, "uzb": {"a": 0}},
        {chr(number): number for number in range(0x20000, 0x20000 + 50_001)},
        {"".join(map(chr, range(start, start + 100))): start for start in range(0x20000, 0x20000 + 50_100, 100)},
    ],
    ids=["mixed", "tokens", "characters"],
)
def test_bases_with_other_or_too_large_vocabularies_are_refused(tmp_path: Path, tokens: dict[str, Any]) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(tokens), "utf-8")
    with pytest.raises(EscoitaError) as error:
        check_base_vocabulary(path, "user/base")
    assert error.value.path == "user/base/vocab.json"


def test_a_record_takes_the_characters_of_every_accepted_base(tmp_path: Path) -> None:
    tokens = {chr(number): number - 0x20000 for number in range(0x20000, 0x20000 + 50_000)}
    (tmp_path / "vocab.json").write_text(json.dumps(tokens), "utf-8")
    check_base_vocabulary(tmp_path / "vocab.json", "user/base")
    (limit,) = System.model_fields["characters"].metadata
    assert limit.max_length >= len(tokens)
