"""The trial of a `tokenizer.json` in a process of its own; see [`~escoita.models.processor_files`]."""

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
    Loads a tokenizer, writes a text of many kinds as tokens, and every token as text.

    Args:
        path (`str`): The file.

    Returns:
        `int`: How many tokens it has.

    Raises:
        EscoitaError: It cannot be loaded, or makes too many tokens of the text.
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
        raise EscoitaError(f"makes {len(ids):,} tokens of {len(SAMPLE.encode()):,} bytes")
    return size
