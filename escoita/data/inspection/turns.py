"""Split transcripts that name the speaker at the beginning of each turn, such as `Ana: Good morning.`"""

import re
from collections import Counter
from typing import NamedTuple


# A name of one to three words at the beginning of a line, in brackets or not, and a colon.
_NAME = r"[^\W\d_][^\s:：\[\]()]*(?:[ \t]+[^\s:：\[\]()]{1,20}){0,2}"
_LABEL = re.compile(rf"[ \t]*[\[(]?({_NAME})[\])]?[ \t]*[:：](?=\s|$)")
_LONGEST_NAME = 40
# A name is that of a speaker if it begins so many lines.
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

    It names them if its first line and others begin with a name and a colon, and at least two names begin two lines
    each. Lines without a name continue the turn.

    Args:
        text (`str`): The transcript with its lines.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    labels = [_label(line) for line in lines]
    counts = Counter(name for name, _ in labels if name)
    if not lines or counts[labels[0][0]] < _LINES or sum(count >= _LINES for count in counts.values()) < 2:
        return []
    turns: list[Turn] = []
    for name, words in labels:
        if turns and name in ("", turns[-1].speaker):
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].text} {words}")
        else:
            turns.append(Turn(name, words))
    return turns


def _label(line: str) -> tuple[str, str]:
    """Return the name at the beginning of a line, or an empty string, and the rest of the line."""
    match = _LABEL.match(line[: 2 * _LONGEST_NAME])
    if match is None or len(match[1]) > _LONGEST_NAME or match[1][0].islower():
        return "", line
    return " ".join(match[1].split()), line[match.end() :]
