"""Test a `tokenizer.json` in a sandbox process; see [`~escoita.models.processor_files`]."""

from typing import Any

from escoita.errors import EscoitaError
from escoita.utils.formatting import visible


# Letters of several scripts, digits, punctuation, emoji, line ends, a long word, and a long run of one letter.
SAMPLE = (
    "The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX 0123456789 !\"#$%&'()*+,-./:;<=>?@[]^_`{|}~\n"
    "Que dixo? Oʻzbekcha toʻrt — ñandú, çà, straße, Привет, мир; Γειά; שלום; سلام; नमस्ते; 你好; こんにちは; 한국어; 🙂"
    "\t\r\n  " + 60 * "a" + 20 * "transcription"
)
MOST_TOKENS_PER_BYTE = 8


def respond(path: str) -> int:
    """
    Load a tokenizer, encode a text in several scripts, and decode every token.

    Args:
        path (`str`): The file.

    Returns:
        `int`: The number of tokens of the vocabulary.

    Raises:
        EscoitaError: The tokenizer cannot be loaded, or produces too many tokens.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer: Any = Tokenizer.from_file(path)
        ids = tokenizer.encode(SAMPLE).ids
        size = tokenizer.get_vocab_size(with_added_tokens=True)
        for start in range(0, size, 1_000):
            tokenizer.decode(list(range(start, min(size, start + 1_000))), skip_special_tokens=False)
    except Exception as error:  # the library raises plain exceptions
        raise EscoitaError(f"cannot be used ({visible(str(error))[:200]})") from error
    if len(ids) > MOST_TOKENS_PER_BYTE * len(SAMPLE.encode()):
        raise EscoitaError(f"produces {len(ids):,} tokens for {len(SAMPLE.encode()):,} bytes")
    return size
