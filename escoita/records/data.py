"""The data record: what the corpora of a recipe hold, what stands out in them, and what training and test share."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from escoita.records.training import Record, RecordModel
from escoita.utils.limits import CORPORA, HISTOGRAM_BINS


Split = Literal["train", "validation", "test"]
OutlierKind = Literal["long", "short", "dense", "sparse", "script", "digits", "silent", "channel", "claim"]
SharedBy = Literal["transcript", "speaker", "audio"]


class Spread(RecordModel):
    """
    How a measure is spread over the clips of a corpus.

    Args:
        min (`float`): The smallest.
        p5 (`float`): 5 % lie below.
        median (`float`): Half lie below.
        mean (`float`): Their sum by their number.
        p95 (`float`): 95 % lie below.
        max (`float`): The largest.
    """

    min: float
    p5: float
    median: float
    mean: float
    p95: float
    max: float


class Reason(RecordModel):
    """
    Why rows cannot be used.

    Args:
        reason (`str`): As the first of them has it.
        rows (`int`): How many there are.
        examples (`list[str]`): The first few, with source, row and file.
    """

    reason: str
    rows: int
    examples: list[str]


class Character(RecordModel):
    """
    One character of the transcripts.

    Args:
        character (`str`): Itself.
        count (`int`): How often it is written.
        code_point (`str`): `U+02BB`.
        name (`str`): As Unicode calls it, empty where it has no name.
        rare (`bool`): Written three times at most, or fewer than once in 100,000 characters: often a slip.
    """

    character: str
    count: int
    code_point: str
    name: str
    rare: bool


class Clip(RecordModel):
    """
    A clip as an example names it.

    Args:
        split (`str`): Of the recipe.
        corpus (`str`): Its corpus.
        id (`str`): Its id there.
        text (`str`): Its transcript, or the beginning of one that is long.
        public_id (`str`): What stands in the place of an id that names who speaks; empty where it does not.
    """

    split: Split
    corpus: str
    id: str
    text: str
    public_id: str = ""


class Odd(RecordModel):
    """
    An example of an outlier.

    Args:
        clip ([`Clip`]): Which.
        detail (`str`): What stands out, with the figure.
    """

    clip: Clip
    detail: str


class Outliers(RecordModel):
    """
    Clips that stand out in one way.

    Args:
        kind (`str`): `long`: over what the model hears at once; training leaves them out, evaluation cuts them.
            `short`: too short for a word. `dense`: more text than anybody says in that time. `sparse`: hardly any
            text for that time. `script`: written in another script than the rest of the corpus. `digits`: numbers
            that are not written as they are spoken. `silent`: nothing can be heard. `channel`: mixing the
            channels to mono cancels or attenuates it, and its strongest channel is used. `claim`: the corpus claims
            another length than was measured.
        clips (`int`): How many there are.
        share (`float`): Their fraction of the usable clips.
        examples (`list[Odd]`): The first few; the farthest out first where there is a measure.
    """

    kind: OutlierKind
    clips: int
    share: float
    examples: list[Odd]


class Normalization(RecordModel):
    """
    What the normaliser of the recipe does to the words of the transcripts.

    Args:
        merged (`int`): Transcripts in which it joins or drops words.
        split (`int`): Transcripts in which it makes several words of one.
        emptied (`int`): Transcripts of which no word is left.
        examples (`list[tuple[str, str]]`): The first such place of a few of them, before and after.
    """

    merged: int
    split: int
    emptied: int
    examples: list[tuple[str, str]]


class CorpusData(RecordModel):
    """
    What one corpus gives to one split of the recipe. Everything is of the clips that can be decoded.

    Args:
        name (`str`): The corpus.
        split (`str`): `train`, `validation` or `test`.
        language (`str`): ISO code; several joined by commas.
        clips (`int`): Rows whose recording can be decoded and that have a transcript.
        audio_seconds (`float`): Their length together.
        rejected (`int`): Rows that cannot be used.
        reasons (`list[Reason]`): Why, the most frequent first.
        seconds ([`Spread`]): Lengths of the clips.
        histogram (`list[int]`): Clips by length, between the edges that the record names.
        characters_per_second ([`Spread`]): Characters of a transcript, spaces counted, by the length of its clip.
        words (`int`): Separated by spaces.
        characters (`int`): Spaces counted.
        speakers (`int`): Different ones among the clips that name one.
        without_speaker (`int`): Clips that name none.
        genders (`dict[str, int]`): Clips of each, as the corpus has it; those without are left out.
        normalization ([`Normalization`]): What the recipe's normaliser does.
        outliers (`list[Outliers]`): Those kinds that there are.
        inventory (`list[Character]`): Every character, the most frequent first.
        sha256 (`str`): Digest over id, transcript and measured length of each row in its order: another digest means
            that the corpus is no longer the one of this record.
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
    """A corpus of the recipe that is not at hand on the machine that made the record."""

    split: Split
    name: str


class Pair(RecordModel):
    """
    An example of two clips that share something.

    Args:
        clip ([`Clip`]): One.
        like ([`Clip`]): The other: the first that there is.
    """

    clip: Clip
    like: Clip


class Duplicates(RecordModel):
    """
    What a split holds more than once, over all its corpora.

    Args:
        split (`str`): Of the recipe.
        by (`str`): `transcript`: the same words, whatever the case, the punctuation and the spaces. `audio`: the same
            recording, whatever its encoding.
        clips (`int`): Clips beyond the first of each.
        share (`float`): Their fraction of the clips of the split.
        distinct (`int`): Transcripts or recordings that come more than once.
        examples (`list[Pair]`): A clip that repeats another, a few times.
    """

    split: Split
    by: Literal["transcript", "audio"]
    clips: int
    share: float
    distinct: int
    examples: list[Pair]


class Leak(RecordModel):
    """
    What a corpus that is held out shares with what the model learns from.

    Args:
        corpus (`str`): The corpus that is held out.
        split (`str`): `test` or `validation`.
        seen (`list[str]`): The splits that it is compared with: `train` and, for a test corpus, `validation`.
        by (`str`): `transcript`: the same words, whatever the case, the punctuation and the spaces; with prompts that
            are read aloud no defect, but it says how much could be known by heart. `speaker`: the same voice, by its
            name in corpora of the same name, or by one too long to be there by chance. `audio`: the same recording,
            whatever its encoding.
        compared (`int`): Clips that can be compared: all, but by speaker only those that name one, where what the
            model learns from names speakers in the same way.
        clips (`int`): Clips found on both sides.
        share (`float`): Their fraction of all clips of the corpus.
        distinct (`int`): Transcripts, speakers or recordings that is.
        examples (`list[Pair]`): A few, each with the clip that it shares something with.
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
    `data.json`: what the corpora hold, measured.

    Args:
        name (`str`): The recipe.
        max_audio_seconds (`float`): Longest clip that the model hears whole, over which clips are outliers.
        normalizer (`str`): The recipe's.
        duration_edges (`list[float]`): Lower ends, in seconds, of the bins of all histograms; the last has no upper.
        corpora (`list[CorpusData]`): Each corpus of each split.
        missing (`list[Missing]`): Corpora that are not at hand, of which nothing here says anything.
        duplicates (`list[Duplicates]`): Two for each split.
        leaks (`list[Leak]`): Three for each corpus that is held out.
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
            raise ValueError("duration_edges do not ascend")
        for corpus in self.corpora:
            if len(corpus.histogram) != len(self.duration_edges):
                raise ValueError(
                    f"the histogram of {corpus.name[:100]} has another number of bins than duration_edges"
                )
        return self

    def of(self, split: Split) -> list[CorpusData]:
        """The corpora of one split."""
        return [corpus for corpus in self.corpora if corpus.split == split]

    @property
    def histograms(self) -> dict[str, list[int]]:
        """Clips by length of each split that there is, in the bins of `duration_edges`."""
        splits = dict.fromkeys(corpus.split for corpus in self.corpora)
        binned = {split: [corpus.histogram for corpus in self.of(split)] for split in splits}
        return {split: [sum(clips) for clips in zip(*rows, strict=True)] for split, rows in binned.items()}
