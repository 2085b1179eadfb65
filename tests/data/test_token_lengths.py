"""Test the comparison of transcripts with a token limit."""

import math
from typing import Any

import pytest

from escoita.data.rows import Utterance, Utterances
from escoita.data.token_lengths import over_limit


class Tokenizer:
    """Split texts into characters, and count the texts."""

    def __init__(self) -> None:
        self.texts = 0

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, Any]:
        assert not add_special_tokens
        self.texts += len(texts)
        return {"input_ids": [list(text) for text in texts]}


def rows(*texts: str) -> Utterances:
    return Utterances.of(
        Utterance(f"clip-{row}", "a.wav", text, "c", "gl", "train.csv", row) for row, text in enumerate(texts, start=2)
    )


def test_count_and_longest_row_are_reported() -> None:
    tokenizer = Tokenizer()
    found = over_limit(rows("abc", "abcd", "abcdef", "áé"), tokenizer, 4)
    assert found is not None
    assert (found.count, found.rows, found.limit, found.most_tokens) == (2, 4, 4, 6)
    assert (found.source, found.row, found.id) == ("train.csv", 4, "clip-4")
    assert tokenizer.texts == 3  # those with four bytes or more


@pytest.mark.parametrize("limit", [7, 1000, math.inf])
def test_shorter_transcripts_are_not_reported(limit: float) -> None:
    tokenizer = Tokenizer()
    assert over_limit(rows("abc", "abcdef"), tokenizer, limit) is None
    assert tokenizer.texts == 0
    assert over_limit(rows(), tokenizer, limit) is None


def test_many_rows_are_read_in_blocks() -> None:
    found = over_limit(rows(*["abcd"] * 2500, "abcdefgh"), Tokenizer(), 3)
    assert found is not None and (found.count, found.row) == (2501, 2502)
