"""What people call a column: by the recipe, or by a usual name; where two could be meant, the person is asked."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from escoita.recipe.recipe import Column


# As `_plain` writes them.
USUAL: dict[Column, tuple[str, ...]] = {
    "id": ("id", "utt_id", "utterance_id"),
    "audio": tuple(
        "audio_filepath audio audio_path audio_file audio_filename path file file_path filepath file_name filename wav"
        " wav_path wav_file wav_filename".split()
    ),
    "text": ("text", "sentence", "transcription", "transcript", "txt"),
    "language": ("lang", "language", "locale"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "client_id"),
    "gender": ("gender", "sex"),
    "accent": ("accent", "accents"),
    "offset": ("offset",),
    "duration": ("duration",),
    "split": ("split",),
}


class Names(NamedTuple):
    """What a corpus calls each of our columns; `None` where it has no such column."""

    id: str | None = None
    audio: str | None = None
    text: str | None = None
    language: str | None = None
    speaker: str | None = None
    gender: str | None = None
    accent: str | None = None
    offset: str | None = None
    duration: str | None = None
    split: str | None = None

    @property
    def words(self) -> tuple[str | None, ...]:
        return self.id, self.language, self.speaker, self.gender, self.accent, self.split


def find_columns(
    present: Sequence[str], chosen: Mapping[Column, str], needed: Sequence[Column] = ("audio", "text")
) -> Names:
    """
    Matches the columns that are there with ours.

    Args:
        present (`Sequence[str]`): Names of the columns of the corpus.
        chosen (`Mapping[Column, str]`): Theirs by ours, as `columns` of a recipe says; an empty name leaves a column
            out. What it does not name is recognised by its usual names, in any case.
        needed (`Sequence[Column]`, *optional*, defaults to `("audio", "text")`): Of ours, those that must be there.

    Returns:
        [`Names`]: Theirs by ours.

    Raises:
        LookupError: A column is missing, or two could be meant; says so, what there is, and what to set.
    """
    spoken_for = set(chosen.values())
    found: dict[str, str] = {}
    for ours, usual in USUAL.items():
        if ours in chosen:
            matches = [name for name in present if name == chosen[ours]]
            if not matches and chosen[ours]:
                raise LookupError(
                    f"has no column {chosen[ours]!r}, which columns.{ours} names; it has {_list(present)}"
                )
        else:
            matches = [name for name in present if name not in spoken_for and _plain(name) in usual]
        if len(matches) > 1:
            raise LookupError(f"has the columns {_list(matches)}, each of which may be the {ours}; set columns.{ours}")
        if matches:
            found[ours] = matches[0]
        elif ours in needed:
            raise LookupError(f"has no column that is known as {ours}; set columns.{ours} to one of {_list(present)}")
    return Names(**found)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.strip().lower())


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
