"""Check the vocabulary and the tokens of the transcripts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from escoita.data.rows import Utterance, Utterances
from escoita.metrics.normalizers import normalizer
from escoita.models.ctc_vocabulary import training_text, unknown_characters, unknown_line
from escoita.models.trainable import TrainableFamily
from escoita.recipe.schema import Recipe
from escoita.training.preflight.checks import Finding
from escoita.training.preflight.corpora import Sampled


def find_vocabulary(
    recipe: Recipe, family: TrainableFamily, processor: Any, trained: Sampled, tested: Sequence[Utterances]
) -> Iterator[Finding]:
    """
    Build the vocabulary of the training transcripts, and compare the references of the test with it.

    Args:
        recipe ([`Recipe`]): The recipe, with the normalizer.
        family ([`TrainableFamily`]): The family of the base, whose adapters have their own vocabulary.
        processor (`ProcessorMixin`): The processor of the base, which gets the vocabulary.
        trained ([`Sampled`]): The sample of the training split, whose transcripts are normalized.
        tested (`Sequence[Utterances]`): The rows of the test corpora.
    """
    normalize = training_text(normalizer(recipe.eval.normalizer))
    trained.clips = [replace(clip, text=normalize(clip.text)) for clip in trained.clips]
    trained.rows = [
        rows.with_texts({index: normalize(text) for index, text in enumerate(rows.each("text"))})
        for rows in trained.rows
    ]
    family.learn_vocabulary(processor, (text for rows in trained.rows for text in rows.each("text")))
    tokens = processor.tokenizer.get_vocab()
    characters = "".join(token for token in tokens if len(token) == 1)
    yield Finding("ok", "vocabulary", f"{len(tokens)} tokens of the training transcripts", details=(characters,))
    texts = (normalize(text) for rows in tested for text in rows.each("text"))
    if line := unknown_line(unknown_characters(texts, tokens)):
        advice = "correct the transcripts, use another eval.normalizer, or train on clips with them"
        yield Finding("warning", "vocabulary", f"test: {line}", advice)


def find_tokens(family: TrainableFamily, processor: Any, clips: Sequence[Utterance]) -> Iterator[Finding]:
    """
    Report how many tokens the tokenizer of the base makes of the transcripts.

    A tokenizer that has seen little text of a language makes more tokens of each byte, which a model transcribes more
    slowly, and which reach its limit in shorter clips.

    Args:
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        clips (`Sequence[Utterance]`): The clips of the training corpora.
    """
    texts = [clip.text for clip in clips]
    longest = max(len(target) for target in family.targets(processor, texts))
    tokens = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
    per_byte = sum(map(len, tokens)) / sum(len(text.encode()) for text in texts)
    found = f"{per_byte:.2f} tokens per byte of the transcripts; {longest} in the longest of {len(texts):,}"
    yield Finding("ok", "tokens", found)


def longest_text(
    parts: list[Utterances],
    tokenizer: Any,
    most_tokens: float,
    row_problem: Callable[[str], str] = lambda text: "",
) -> str:
    """
    Return the transcript with the most tokens among those that may exceed a limit, else the one with the most bytes.

    A text has at most as many tokens as bytes, because tokenizers fall back to bytes. Only texts with more bytes than
    the limit are tokenized.

    Args:
        parts (`list[Utterances]`): The rows of the corpora; at least one row.
        tokenizer (`PreTrainedTokenizer`): The tokenizer of the base.
        most_tokens (`float`): The limit.
        row_problem (`Callable[[str], str]`, *optional*): The function that returns why a transcript is not trained
            on; such a transcript is left out.
    """
    texts = pa.chunked_array([chunk for part in parts for chunk in _texts(part)], pa.string())
    sizes = pc.binary_length(texts).to_numpy()
    by_size = np.argsort(-sizes, kind="stable").tolist()
    # The largest texts come first, and no text has more tokens than bytes, so the search can end early.
    best, most = "", -1
    for index in by_size:
        if sizes[index] <= max(most, most_tokens):
            break
        text = str(texts[index])
        if row_problem(text):
            continue
        if (count := len(tokenizer(text, add_special_tokens=False)["input_ids"])) > most:
            best, most = text, count
    return best or next((text for index in by_size if not row_problem(text := str(texts[index]))), "")


def _texts(rows: Utterances) -> list[pa.Array]:
    column = rows.table["text"].take(pa.array(rows.order))
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]
