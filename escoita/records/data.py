"""Define the data record: corpus statistics, outliers, duplicates and train/test overlap."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from escoita.records.training import Record, RecordModel
from escoita.utils.limits import CORPORA, HISTOGRAM_BINS


Split = Literal["train", "validation", "test"]
# The kinds of outliers that the text of a transcript alone shows.
TextOutlierKind = Literal["unicode", "invisible", "entity", "placeholder", "note"]
OutlierKind = Literal[
    "long", "short", "dense", "sparse", "script", "digits", "silent", "channel", "claim", TextOutlierKind
]
SharedBy = Literal["transcript", "speaker", "audio"]


class Spread(RecordModel):
    """
    Store the distribution of a measure over the clips of a corpus.

    Args:
        min (`float`): The smallest value.
        p5 (`float`): The 5th percentile.
        median (`float`): The median.
        mean (`float`): The arithmetic mean.
        p95 (`float`): The 95th percentile.
        max (`float`): The largest value.
    """

    min: float
    p5: float
    median: float
    mean: float
    p95: float
    max: float


class Reason(RecordModel):
    """
    Store a reason why rows cannot be used.

    Args:
        reason (`str`): The reason of the first row.
        rows (`int`): The number of rows.
        examples (`list[str]`): The first rows, with source, row and file.
    """

    reason: str
    rows: int
    examples: list[str]


class Character(RecordModel):
    """
    Store one character of the transcripts.

    Args:
        character (`str`): The character.
        count (`int`): The number of occurrences.
        code_point (`str`): The code point, such as `U+02BB`.
        name (`str`): The Unicode name, empty if there is none.
        rare (`bool`): Whether it occurs at most three times, or less than once in 100,000 characters: often an error.
    """

    character: str
    count: int
    code_point: str
    name: str
    rare: bool


class Clip(RecordModel):
    """
    Store a clip of an example.

    Args:
        split (`str`): The split of the recipe.
        corpus (`str`): The corpus.
        id (`str`): The id in the corpus.
        text (`str`): The transcript, or the beginning of a long one.
        public_id (`str`): The id that is published instead of one that names the speaker; empty if it does not.
    """

    split: Split
    corpus: str
    id: str
    text: str
    public_id: str = ""


class OutlierExample(RecordModel):
    """
    Store an example of an outlier.

    Args:
        clip ([`Clip`]): The clip.
        detail (`str`): The reason, with the measured value.
    """

    clip: Clip
    detail: str


class Outliers(RecordModel):
    """
    Store the outliers of one kind.

    Args:
        kind (`str`): The kind. `long`: longer than the model takes; training excludes such clips, evaluation cuts
            them. `short`: too short for a short word of the corpus at its fastest usual rate. `dense`: more text
            than can be spoken in that time. `sparse`: hardly any text for that time. `script`: written in another
            script than the rest of the corpus. `digits`: numbers in digits, not in words. `silent`: no audible
            content. `channel`: mixing the channels to mono cancels or attenuates the clip, and its strongest
            channel is used. `claim`: the corpus claims another length than was measured. `unicode`: decomposed
            characters, if other transcripts are composed, or both in one transcript. `invisible`: zero-width or
            no-break characters. `entity`: an HTML entity. `placeholder`: a missing value that was written as text,
            such as `nan`. `note`: text in brackets.
        clips (`int`): The number of clips.
        share (`float`): Their fraction of the usable clips.
        examples (`list[OutlierExample]`): Examples; the most extreme first, if the kind has a measure.
    """

    kind: OutlierKind
    clips: int
    share: float
    examples: list[OutlierExample]


class Normalization(RecordModel):
    """
    Count the transcripts whose words the normalizer of the recipe changes.

    Args:
        merged (`int`): The number of transcripts in which words are joined or removed.
        split (`int`): The number of transcripts in which a word becomes several.
        emptied (`int`): The number of transcripts without a remaining word.
        examples (`list[tuple[str, str]]`): Examples of the first changed words of a transcript, before and after.
        at_marks (`int`): The number of transcripts in which `basic` splits or shortens a word at a combining mark.
        words_at_marks (`int`): The number of these words.
    """

    merged: int
    split: int
    emptied: int
    examples: list[tuple[str, str]]
    at_marks: int = 0
    words_at_marks: int = 0


class CorpusData(RecordModel):
    """
    Store the statistics of one corpus in one split of the recipe, over the clips that can be decoded.

    Args:
        name (`str`): The name of the corpus.
        split (`str`): The split, `train`, `validation` or `test`.
        language (`str`): The BCP 47 tag; several are joined by commas.
        clips (`int`): The number of rows with a transcript and a recording that can be decoded.
        audio_seconds (`float`): The total length of these clips.
        rejected (`int`): The number of rows that cannot be used.
        reasons (`list[Reason]`): The reasons, the most frequent first.
        seconds ([`Spread`]): The lengths of the clips.
        histogram (`list[int]`): The number of clips by length, in the bins of the record.
        characters_per_second ([`Spread`]): The characters of a transcript, including spaces, per second of its clip.
        words (`int`): The number of words, separated by spaces.
        characters (`int`): The number of characters, including spaces.
        speakers (`int`): The number of distinct speakers of clips that name one.
        without_speaker (`int`): The number of clips that name no speaker.
        genders (`dict[str, int]`): The number of clips by gender, without clips that name none.
        normalization ([`Normalization`]): The effect of the recipe's normalizer.
        outliers (`list[Outliers]`): The kinds of outliers that occur.
        inventory (`list[Character]`): Every character, the most frequent first.
        sha256 (`str`): The digest of id, transcript and measured length of each row in order; it changes if the corpus
            changes.
    """

    name: str
    split: Split
    language: str
    clips: int
    audio_seconds: float
    rejected: int
    reasons: list[Reason]
    seconds: Spread
    histogram: list[int]
    characters_per_second: Spread
    words: int
    characters: int
    speakers: int
    without_speaker: int
    genders: dict[str, int]
    normalization: Normalization
    outliers: list[Outliers]
    inventory: list[Character]
    sha256: str


class Missing(RecordModel):
    """Represent a corpus of the recipe that is missing on the machine that wrote the record."""

    split: Split
    name: str


class Pair(RecordModel):
    """
    Store an example of two matching clips.

    Args:
        clip ([`Clip`]): The clip.
        like ([`Clip`]): The first clip that matches it.
    """

    clip: Clip
    like: Clip


class Duplicates(RecordModel):
    """
    Store the duplicates in a split, over all its corpora.

    Args:
        split (`str`): The split of the recipe.
        by (`str`): The criterion. `transcript`: the same words, regardless of case, punctuation and spaces. `audio`:
            the same recording, regardless of its encoding.
        clips (`int`): The number of clips other than the first of each.
        share (`float`): Their fraction of the clips of the split.
        distinct (`int`): The number of transcripts or recordings that occur more than once.
        examples (`list[Pair]`): Examples of clips that repeat another.
    """

    split: Split
    by: Literal["transcript", "audio"]
    clips: int
    share: float
    distinct: int
    examples: list[Pair]


class Leak(RecordModel):
    """
    Store the overlap of a held-out corpus with the data that the model is trained or selected on.

    Args:
        corpus (`str`): The held-out corpus.
        split (`str`): The split, `test` or `validation`.
        seen (`list[str]`): The splits that it is compared with: `train` and, for a test corpus, `validation`.
        by (`str`): The criterion. `transcript`: the same words, regardless of case, punctuation and spaces; this is
            not a defect for prompts that are read aloud, but limits how much the model may have memorized. `speaker`:
            the same speaker, by the same name in corpora of one name, or by a name too long to match by chance.
            `audio`: the same recording, regardless of its encoding.
        compared (`int`): The number of clips that can be compared: all, but by speaker only those that name one, if
            the other corpora name speakers in the same way.
        clips (`int`): The number of clips that occur on both sides.
        share (`float`): Their fraction of all clips of the corpus.
        distinct (`int`): The number of distinct transcripts, speakers or recordings of these clips.
        examples (`list[Pair]`): Examples of matching clips.
    """

    corpus: str
    split: Literal["validation", "test"]
    seen: list[Split]
    by: SharedBy
    compared: int
    clips: int
    share: float
    distinct: int
    examples: list[Pair]


class DataRecord(Record):
    """
    Store the measurements of the corpora of a recipe, in `data.json`.

    Args:
        name (`str`): The name of the recipe.
        max_audio_seconds (`float`): The longest clip that the model takes, in seconds; longer clips are outliers.
        normalizer (`str`): The normalizer of the recipe.
        duration_edges (`list[float]`): The lower edges, in seconds, of the bins of all histograms; the last bin has no
            upper edge.
        corpora (`list[CorpusData]`): The statistics of each corpus of each split.
        missing (`list[Missing]`): The corpora that could not be measured.
        duplicates (`list[Duplicates]`): The duplicates, by two criteria for each split.
        leaks (`list[Leak]`): The overlap, by three criteria for each held-out corpus.
    """

    made_by = "escoita data"

    name: str
    max_audio_seconds: float
    normalizer: str
    duration_edges: list[float] = Field(min_length=1, max_length=HISTOGRAM_BINS)
    corpora: list[CorpusData] = Field(max_length=CORPORA)
    missing: list[Missing]
    duplicates: list[Duplicates]
    leaks: list[Leak]

    @model_validator(mode="after")
    def _histograms_fit(self) -> Self:
        if any(low >= high for low, high in pairwise(self.duration_edges)):
            raise ValueError("duration_edges must be in ascending order")
        for corpus in self.corpora:
            if len(corpus.histogram) != len(self.duration_edges):
                raise ValueError(f"the histogram of {corpus.name[:100]} has fewer or more bins than duration_edges")
        return self

    def of(self, split: Split) -> list[CorpusData]:
        """Return the corpora of one split."""
        return [corpus for corpus in self.corpora if corpus.split == split]

    @property
    def histograms(self) -> dict[str, list[int]]:
        """Return the histogram of clip lengths of each split, in the bins of `duration_edges`."""
        splits = dict.fromkeys(corpus.split for corpus in self.corpora)
        binned = {split: [corpus.histogram for corpus in self.of(split)] for split in splits}
        return {split: [sum(clips) for clips in zip(*rows, strict=True)] for split, rows in binned.items()}
