"""Define the record of a preparation: rules, counts, the aligner and the corrections of drafts."""

from typing import ClassVar

from pydantic import Field

from escoita.records.training import Record, RecordModel


class DraftRound(RecordModel):
    """
    Store the corrections of one round of drafts.

    Args:
        round (`int`): The number of the round, from 1.
        model (`str`): The model that made the drafts.
        segments (`int`): The number of drafted segments.
        changed (`int`): The number of those that a person changed.
        unchanged (`int`): The number of those that have the text of the draft.
        removed (`int`): The number of those that are no longer there, or are empty.
        word_edits (`int`): The number of words that were inserted, deleted or replaced, from draft to correction.
        words (`int`): The number of words of the corrections; of unchanged drafts only if they were reviewed.
        character_edits (`int`): The number of characters that were edited.
        characters (`int`): The number of characters of the corrections.
    """

    round: int
    model: str
    segments: int
    changed: int
    unchanged: int
    removed: int
    word_edits: int
    words: int
    character_edits: int
    characters: int


class AlignerRecord(RecordModel):
    """
    Describe the model that aligned transcripts with recordings.

    Args:
        model (`str`): The name of the model.
        license (`str`): The license that the model states; empty if it states none.
        romanized (`bool`): Whether transcripts were romanized by uroman to align them.
        min_score (`float`): The lowest score of a clip that is used.
        recordings (`int`): The number of recordings that were aligned.
        clips (`int`): The number of clips that are used.
        left_out_seconds (`float`): The total length of the other clips, in seconds.
        other_seconds (`float`): The total length of speech without text, in seconds.
    """

    model: str
    license: str
    romanized: bool
    min_score: float
    recordings: int
    clips: int
    left_out_seconds: float
    other_seconds: float


class PreparationRecord(Record):
    """
    Store what `escoita prepare` did.

    Args:
        source (`str`): The name of the folder or file.
        layout (`str`): The layout that was found.
        overlap (`str`): The rule for overlapping speech.
        notes (`str`): The rule for notes in brackets.
        drafts_reviewed (`bool`): Whether a person checked all drafts.
        rows (`int`): The number of rows.
        audio_seconds (`float`): The total length of rows that are segments, in seconds.
        speakers (`int`): The number of named speakers.
        without_notes (`int`): The number of rows from which notes were removed.
        tiers (`dict[str, int]`): The number of segments with text of each tier with transcripts.
        other_tiers (`dict[str, int]`): The number of segments with text of each other tier.
        left_out (`dict[str, int]`): The number of segments that were left out, by reason.
        rejected (`dict[str, int]`): The number of rows without a recording or with a damaged text, by reason.
        rounds (`list[DraftRound]`): The rounds of drafts.
        aligner ([`AlignerRecord`], *optional*): The aligner; `None` if nothing was aligned.
    """

    made_by: ClassVar[str] = "escoita prepare"

    source: str
    layout: str
    overlap: str
    notes: str
    drafts_reviewed: bool
    rows: int
    audio_seconds: float
    speakers: int
    without_notes: int
    tiers: dict[str, int] = Field(default_factory=dict)
    other_tiers: dict[str, int] = Field(default_factory=dict)
    left_out: dict[str, int]
    rejected: dict[str, int] = Field(default_factory=dict)
    rounds: list[DraftRound] = Field(default_factory=list)
    aligner: AlignerRecord | None = None
