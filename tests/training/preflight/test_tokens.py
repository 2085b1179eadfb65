import re
from pathlib import Path

import pytest

from escoita.data.rows import Utterance, Utterances
from escoita.models import family_of
from escoita.training.preflight.tokens import find_tokens, longest_text
from tests.models.samples import write_whisper


class ByteTokenizer:
    """Make one token of each word, and count the calls."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        self.texts.append(text)
        return {"input_ids": [0] * len(text.split())}


def test_only_texts_that_may_exceed_the_limit_are_tokenized() -> None:
    texts = ["un dous", "a" * 30, "b b b b b b", "c" * 20]
    rows = Utterances.of(Utterance(str(n), "a.wav", text, "c", "gl", "m", n) for n, text in enumerate(texts))
    tokenizer = ByteTokenizer()
    assert longest_text([rows], tokenizer, 30) == "a" * 30 and not tokenizer.texts
    assert longest_text([rows], tokenizer, 15) == "a" * 30 and tokenizer.texts == ["a" * 30, "c" * 20]
    assert longest_text([rows.take([0, 3]), rows.take([2])], tokenizer, 5) == texts[2]


@pytest.mark.parametrize("text", ["Ẹ káàárọ̀ o, ṣé dáadáa ni?", "ياخشىمۇسىز"])
def test_tokens_per_byte_of_languages_that_a_tokenizer_does_not_know(tmp_path: Path, text: str) -> None:
    """Yoruba and Uyghur, with a token for each byte; the space before the transcript and its end are tokens, too."""
    base = write_whisper(tmp_path, learns=True)
    family = family_of(base)
    clips = [Utterance("1", "a.wav", each, "c", "yo", "m", 1) for each in (text, text[:4])]
    (found,) = find_tokens(family, family.load_processor(base), clips)
    assert re.findall(r"[\d.]*\d", found.found) == ["1.00", str(len(text.encode()) + 2), "2"]


def test_a_transcript_that_is_not_trained_on_is_not_the_longest() -> None:
    rows = Utterances.of(Utterance(str(n), "a.wav", "a" * n, "c", "gl", "m", n) for n in (5, 10, 20, 30))
    tokenizer = ByteTokenizer()
    assert longest_text([rows], tokenizer, 100, lambda text: "long" if len(text) > 10 else "") == "a" * 10
    assert longest_text([rows], tokenizer, 15, lambda text: "long" if len(text) > 10 else "") == "a" * 10
    assert longest_text([rows], tokenizer, 15, lambda text: "long" if len(text) > 20 else "") == "a" * 20
