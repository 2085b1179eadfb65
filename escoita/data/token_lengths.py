"""Compare transcripts with the token limit of a transcript."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from escoita.data.rows import Utterances
from escoita.utils.formatting import visible


_AT_ONCE = 1024


@dataclass(frozen=True)
class OverLimit:
    """
    Store the transcripts that a model cannot write within a token limit.

    Args:
        count (`int`): The number of these transcripts.
        rows (`int`): The number of all transcripts.
        limit (`int`): The token limit.
        most_tokens (`int`): The tokens of the longest transcript.
        source (`str`): The file of the longest transcript.
        row (`int`): Its row.
        id (`str`): The id of its clip.
    """

    count: int
    rows: int
    limit: int
    most_tokens: int
    source: str
    row: int
    id: str

    def __str__(self) -> str:
        return visible(
            f"{self.count:,} of {self.rows:,} transcripts have {self.limit:,} tokens or more, so that their end would"
            f" be cut off; the longest has {self.most_tokens:,} ({self.source}:{self.row}: {self.id})"
        )


def over_limit(rows: Utterances, tokenizer: Any, limit: float) -> OverLimit | None:
    """
    Find the transcripts with as many tokens as a limit, or more: the end of a transcript is a token, too.

    A text has at most as many tokens as bytes, because tokenizers fall back to bytes. Only texts with as many bytes as
    the limit are tokenized, so that a corpus of short transcripts takes no time.

    Args:
        rows ([`~escoita.data.rows.Utterances`]): The rows of a corpus.
        tokenizer (`PreTrainedTokenizer`): The tokenizer of the model.
        limit (`float`): The token limit; infinite for models without a limit.

    Returns:
        [`OverLimit`], *optional*: The transcripts; `None` if all are shorter.
    """
    count, most, longest = 0, 0, 0
    for indices, texts in _long(rows, limit):
        encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
        lengths = np.array([len(tokens) for tokens in encoded])
        count += int((lengths >= limit).sum())
        if lengths.max() > most:
            most, longest = int(lengths.max()), indices[int(lengths.argmax())]
    if not count:
        return None
    row = rows[longest]
    return OverLimit(count, len(rows), int(limit), most, row.source, row.row, row.id)


def _long(rows: Utterances, limit: float) -> Iterator[tuple[list[int], list[str]]]:
    """Yield blocks of indices and texts that have as many bytes as the limit."""
    indices: list[int] = []
    texts: list[str] = []
    for index, text in enumerate(rows.each("text")):
        if 4 * len(text) >= limit and len(text.encode()) >= limit:
            indices.append(index)
            texts.append(text)
        if len(texts) == _AT_ONCE:
            yield indices, texts
            indices, texts = [], []
    if texts:
        yield indices, texts
