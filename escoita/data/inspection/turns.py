"""Split transcripts that name the speaker at the beginning of each turn, such as `Ana: Good morning.`"""

import re
from collections import Counter
from typing import NamedTuple


# A name of one to three words at the beginning of a line, in brackets or not, and a colon; a time may precede it.
_TIME = r"[\[(]?\d{1,2}(?::\d{2}){1,2}(?:[.,]\d{1,3})?[\])]?[ \t]+"
_NAME = r"[^\W\d_][^\s:：\[\]()]*(?:[ \t]+[^\s:：\[\]()]{1,20}){0,2}"
# White space follows an ASCII colon; text in Chinese or Japanese has none after a full-width one.
_LABEL = re.compile(rf"[ \t]*(?:{_TIME})?[\[(]?({_NAME})[\])]?[ \t]*(?::(?=\s|$)|：)")
_LONGEST_NAME = 40
# A name that begins so many lines is that of a speaker; another beginning of a line with a colon is spoken text.
_LINES = 2


class Turn(NamedTuple):
    """
    Store the words of one speaker until another one speaks.

    Args:
        speaker (`str`): The name of the speaker.
        text (`str`): The words, without the name.
    """

    speaker: str
    text: str


def speaker_turns(text: str) -> list[Turn]:
    """
    Return the turns of a transcript, or an empty list if it does not name its speakers.

    A name of a speaker begins at least two lines, with a colon after it. The transcript names its speakers if there
    are at least two such names, one of them in the first line. Other lines continue the turn; a name that begins only
    one line is kept as text, because it may be spoken (`And then she said: ...`).

    Args:
        text (`str`): The transcript with its lines.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    labels = [_label(line) for line in lines]
    speakers = {name for name, count in Counter(name for name, _ in labels).items() if name and count >= _LINES}
    if len(speakers) < 2 or labels[0][0] not in speakers:
        return []
    turns: list[Turn] = []
    for line, (name, words) in zip(lines, labels, strict=True):
        own = words if name in speakers else line
        if turns and (name not in speakers or name == turns[-1].speaker):
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].text} {own}")
        else:
            turns.append(Turn(name, own))
    return turns


def single_names(text: str) -> list[str]:
    """
    Return what begins only one line of a transcript with a colon after it: a phrase, or a speaker of one turn.

    Args:
        text (`str`): The transcript with its lines.
    """
    counts = Counter(_label(line)[0] for line in text.splitlines())
    return [name for name, count in counts.items() if name and count < _LINES]


def _label(line: str) -> tuple[str, str]:
    """Return the name at the beginning of a line, or an empty string, and the rest of the line."""
    match = _LABEL.match(line[: 2 * _LONGEST_NAME])
    if match is None or len(match[1]) > _LONGEST_NAME or match[1][0].islower():
        return "", line
    return " ".join(match[1].split()), line[match.end() :]
