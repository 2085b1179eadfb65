"""Text of a corpus on its way to a terminal or a log: nothing in it moves the cursor or turns the line around."""

import unicodedata


def visible(text: str) -> str:
    """The text, in which what cannot be seen is spelt out: control characters, line ends, marks of direction."""
    return (
        text if text.isprintable() else "".join(f"<U+{ord(each):04X}>" if is_hidden(each) else each for each in text)
    )


def is_hidden(character: str) -> bool:
    """Whether nothing is to be seen of a character, though it may do something."""
    joins = character in "\u200c\u200d"  # as Persian and many scripts of India write
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and not joins
