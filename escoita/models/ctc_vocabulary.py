"""Build the vocabulary of a CTC model from transcripts, and read the one that an adapter was trained with."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from escoita.errors import EscoitaError
from escoita.utils.formatting import is_unicode
from escoita.utils.limits import VOCABULARY_CHARACTERS
from escoita.utils.untrusted import read_object, refuse_large, refuse_pointer


# The first tokens of every vocabulary. The token of the padding is the blank of CTC.
BLANK, UNKNOWN, DELIMITER = "<pad>", "<unk>", "|"
SPECIAL = (BLANK, UNKNOWN, DELIMITER)
VOCABULARY = "vocab.json"
# Chinese is written with about 4,000 characters. A larger number is a mistake, such as a column with other texts.
MOST_CHARACTERS = 8_000
# A file of as many tokens, each with its number.
MOST_BYTES = 1_000_000
# The same of a base, which may have a vocabulary of each language: MMS has 1,162.
BASE_BYTES, BASE_TOKENS, BASE_SUBWORDS, LONGEST_TOKEN = 50_000_000, VOCABULARY_CHARACTERS, 1_000, 100


class VocabularySizeError(EscoitaError):
    """
    Report transcripts with too many different characters, which is the `value`.

    Args:
        limit (`int`): The largest number of characters.
    """

    limit: int
    problem = "different characters in the training transcripts, more than {limit}"
    hint = "use another normalizer or another family"


def training_text(normalize: Callable[[str], str]) -> Callable[[str], str]:
    """
    Return the function that prepares a transcript for training: normalized, with single spaces between words.

    Args:
        normalize (`Callable[[str], str]`): The normalizer of the recipe.
    """
    return lambda text: " ".join(normalize(text).split())


def vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """
    Return the index of each token: the special tokens, then the characters of transcripts by their code points.

    Args:
        texts (`Iterable[str]`): The transcripts, as [`training_text`] returns them.

    Raises:
        VocabularySizeError: There are too many characters.
    """
    found = Counter(character for text in texts for character in text)
    characters = sorted(found.keys() - {" ", DELIMITER})
    if len(characters) > MOST_CHARACTERS:
        raise VocabularySizeError(key="corpora.train", value=len(characters), limit=MOST_CHARACTERS)
    return {token: index for index, token in enumerate((*SPECIAL, *characters))}


def unknown_characters(texts: Iterable[str], known: Iterable[str]) -> dict[str, int]:
    """
    Return how often each character occurs that a vocabulary lacks, the most frequent first.

    Args:
        texts (`Iterable[str]`): Transcripts, as [`training_text`] returns them.
        known (`Iterable[str]`): The tokens of the vocabulary.
    """
    found = Counter(character for text in texts for character in text)
    lacking = found.keys() - {*known, " "}
    return {each: found[each] for each in sorted(lacking, key=lambda each: (-found[each], each))}


def unknown_line(characters: Mapping[str, int], reason: str = "which no training transcript has") -> str:
    """
    Return a sentence about [`unknown_characters`]; empty if there are none.

    Args:
        characters (`Mapping[str, int]`): The characters and their counts.
        reason (`str`, *optional*): The reason why the model cannot write them, as a relative clause.
    """
    if not characters:
        return ""
    shown = ", ".join(f"{each!r} ×{count:,}" for each, count in list(characters.items())[:10])
    more = f" and {len(characters) - 10} more" if len(characters) > 10 else ""
    return f"the model cannot write {len(characters)} characters, {reason}: {shown}{more}"


def tokenizer_of(tokens: Mapping[str, int]) -> Any:
    """
    Return a tokenizer that writes and reads single characters.

    Args:
        tokens (`Mapping[str, int]`): The index of each token, with the special tokens.
    """
    from transformers import Wav2Vec2CTCTokenizer

    with TemporaryDirectory() as folder:
        path = Path(folder) / VOCABULARY
        path.write_text(json.dumps(tokens, ensure_ascii=False), "utf-8")
        return Wav2Vec2CTCTokenizer(
            str(path),
            bos_token=None,
            eos_token=None,
            unk_token=UNKNOWN,
            pad_token=BLANK,
            word_delimiter_token=DELIMITER,
        )


def check_base_vocabulary(path: Path, owner: str) -> None:
    """
    Check the vocabulary of a base, or of each language of a base, before its tokenizer is made.

    The time of making it grows with the square of the number of tokens that are not single characters.

    Args:
        path (`Path`): The file `vocab.json`.
        owner (`str`): The folder or repository of the base, for errors.

    Raises:
        EscoitaError: The file is not a vocabulary, or has too many or too long tokens; `key` is the language.
    """
    content, source = read_object(path, owner, BASE_BYTES), f"{owner}/{path.name}"
    several = {name: tokens for name, tokens in content.items() if isinstance(tokens, dict)}
    if several and len(several) < len(content):
        raise EscoitaError("expected the number of each token, or a vocabulary of each language", path=source)
    for language, tokens in (several or {"": content}).items():
        numbers = list(tokens.values())
        problem = ""
        if not all(type(number) is int and number >= 0 for number in numbers) or len(set(numbers)) < len(numbers):
            problem = "expected a different number of each token, from 0"
        elif len(tokens) > BASE_TOKENS or sum(len(token) > 1 for token in tokens) > BASE_SUBWORDS:
            problem = f"at most {BASE_TOKENS:,} tokens, and {BASE_SUBWORDS:,} of several characters, are read"
        elif len(set().union(*tokens)) > VOCABULARY_CHARACTERS:
            problem = f"at most {VOCABULARY_CHARACTERS:,} different characters are read"
        elif any(len(token) > LONGEST_TOKEN or not is_unicode(token) for token in tokens):
            problem = f"a token is not valid Unicode, or has more than {LONGEST_TOKEN} characters"
        if problem:
            raise EscoitaError(problem, path=source, key=language or None)


def read_vocabulary(path: Path, owner: str) -> dict[str, int]:
    """
    Read and check the vocabulary of an adapter.

    Args:
        path (`Path`): The file `vocab.json`.
        owner (`str`): The adapter that contains the file, for errors.

    Raises:
        EscoitaError: The file is too large, or not a vocabulary of this module.
    """
    refuse_large(path, owner, MOST_BYTES)
    refuse_pointer(path, owner)
    source = f"{owner}/{path.name}"
    try:
        tokens = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EscoitaError("not a vocabulary in JSON", path=source) from error
    numbers = list(tokens.values()) if isinstance(tokens, dict) else []
    whole = bool(numbers) and all(type(number) is int for number in numbers)
    if not whole or sorted(numbers) != list(range(len(numbers))):
        raise EscoitaError("expected an object with the number of each token, from 0", path=source)
    tokens = dict(sorted(tokens.items(), key=lambda item: item[1]))
    if tuple(tokens)[: len(SPECIAL)] != SPECIAL or any(len(token) != 1 for token in list(tokens)[len(SPECIAL) :]):
        raise EscoitaError(f"expected {', '.join(SPECIAL)}, and then single characters", path=source)
    if len(tokens) > MOST_CHARACTERS + len(SPECIAL):
        raise VocabularySizeError(path=source, value=len(tokens), limit=MOST_CHARACTERS)
    return tokens
