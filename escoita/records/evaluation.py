"""Define the evaluation record: the evaluated systems, and all rates that are computed from their predictions."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from escoita.records.training import Commit, Name, Record, RecordModel, Sha256
from escoita.records.transcript import SpeechDetector
from escoita.utils.limits import VOCABULARY_CHARACTERS


Interval = tuple[float, float]
# The result of a bootstrap test of the difference of two rates.
Measured = Literal["better", "worse", "no measurable difference"]
# The verdict of a record on two systems; see `escoita/evaluation/verdicts.py`.
Verdict = Literal[
    "better",
    "worse",
    "better for these speakers",
    "worse for these speakers",
    "no measurable difference",
    "not comparable",
]
ADAPTER_SYSTEM = "adapter"
BASE = "base"
# The predictions of another revision of the adapter.
EARLIER = "earlier"
Tokens = Literal["words", "characters"]
# The error rates of a record, by their fields in `Rates` and `MacroMean`, and the tokens that they count. Scoring,
# report, summary, page, model-index and leaderboard entries loop over this table.
METRICS: dict[str, Tokens] = {"wer": "words", "cer": "characters"}
Metric = Literal["wer", "cer"]
# The generated probes, which are not a corpus of the recipe; no corpus may have this name.
PROBES = "probes"


def _without_missing(written: dict[str, Any], *fields: str) -> dict[str, Any]:
    """Leave fields without a value out of a record, which is then the same as before they existed."""
    return {key: value for key, value in written.items() if key not in fields or value is not None}


class Rates(RecordModel):
    """
    Store the error rates of one system on one or several pooled corpora, under one normalizer, as fractions.

    Args:
        wer (`float`): The corpus word error rate, edits over reference words.
        cer (`float`): The corpus character error rate, including spaces.
        wer_ci95 (`tuple[float, float]`): The 95 % percentile bootstrap interval of the WER.
        cer_ci95 (`tuple[float, float]`): The 95 % percentile bootstrap interval of the CER.
        substitutions (`int`): The number of substituted words.
        deletions (`int`): The number of deleted words.
        insertions (`int`): The number of inserted words.
        reference_words (`int`): The denominator of the WER.
        reference_characters (`int`): The denominator of the CER.
        wer_speaker_ci95 (`tuple[float, float]`, *optional*): The 95 % interval of the WER over speakers, if the
            bootstrap resamples clips of fewer than ten speakers; see `escoita/evaluation/speakers.py`.
        cer_speaker_ci95 (`tuple[float, float]`, *optional*): The same of the CER.
    """

    wer: float
    cer: float
    wer_ci95: Interval
    cer_ci95: Interval
    substitutions: int
    deletions: int
    insertions: int
    reference_words: int
    reference_characters: int
    wer_speaker_ci95: Interval | None = None
    cer_speaker_ci95: Interval | None = None

    @property
    def edits(self) -> int:
        """Return the number of word edits, which is the numerator of the WER."""
        return self.substitutions + self.deletions + self.insertions

    def rate(self, metric: Metric) -> float:
        """Return the rate of a metric."""
        return self.wer if metric == "wer" else self.cer

    def ci95(self, metric: Metric) -> Interval:
        """Return the interval of a metric."""
        return self.wer_ci95 if metric == "wer" else self.cer_ci95

    def speaker_ci95(self, metric: Metric) -> Interval | None:
        """Return the interval of a metric over speakers."""
        return self.wer_speaker_ci95 if metric == "wer" else self.cer_speaker_ci95

    def tokens(self, metric: str) -> int:
        """Return the reference tokens of a metric, which are its denominator."""
        tokens: int = getattr(self, f"reference_{METRICS[metric]}")
        return tokens


class Faults(RecordModel):
    """
    Count the utterances with errors that edits do not describe; see `escoita/metrics/error_types.py`.

    Args:
        empty (`int`): The number of empty hypotheses of clips with speech.
        loop (`int`): The number of hypotheses with a repeated phrase.
        wrong_script (`int`): The number of hypotheses in another script than the references.
        wrong_language (`int`): The number of hypotheses in another language, by its function words.
        chat_like (`int`): The number of answers instead of transcripts.
        truncated (`int`): The number of hypotheses that the token limit ended.
    """

    empty: int
    loop: int
    wrong_script: int
    wrong_language: int
    chat_like: int
    truncated: int


class SystemResult(RecordModel):
    """
    Store the results of one system on one corpus.

    Args:
        system (`str`): The system: `adapter`, `base`, the name of a baseline, or `earlier`.
        normalized ([`Rates`]): The rates under the normalizer of the recipe.
        raw ([`Rates`]): The rates of the unchanged texts.
        faults ([`Faults`]): The counts of other errors.
        rtfx (`float`): The seconds of audio per second of computing (features, generation, text), after a warm-up and
            without decoding files, as the Open ASR Leaderboard defines it; 0 if no time was measured.
        tokens_per_second (`float`): The generated tokens per second of computing; 0 if no time was measured.
        unusable (`int`, *optional*): The number of utterances whose hypothesis is empty or loops; absent in records of
            0.1.0.
    """

    system: Name
    normalized: Rates
    raw: Rates
    faults: Faults
    rtfx: float
    tokens_per_second: float
    unusable: int | None = None


class Difference(RecordModel):
    """
    Store the comparison of the main system with another on the same clips, by paired bootstrap (Bisani and Ney 2004).

    Args:
        other (`str`): The other system.
        wer (`float`): The WER of the main system minus that of the other; below 0 is better.
        ci95 (`tuple[float, float]`): The 95 % interval of the difference of the primary metric.
        p_value (`float`): The two-sided p-value.
        verdict (`str`): The verdict: `better`, `worse`, `no measurable difference`, or `not comparable` if more than
            half of the hypotheses of a system are empty or loop, and it is not worse. `better for these speakers` and
            `worse for these speakers`, if there are fewer than ten and the interval over speakers includes 0.
        speaker_ci95 (`tuple[float, float]`, *optional*): The 95 % interval over speakers, if the bootstrap resamples
            clips of fewer than ten speakers.
        cer (`float`, *optional*): The difference of the CER, if that is the primary metric.
    """

    other: Name
    wer: float
    ci95: Interval
    p_value: float
    verdict: Verdict
    speaker_ci95: Interval | None = None
    cer: float | None = None

    @property
    def metric(self) -> Metric:
        """Return the primary metric, to which interval, p-value and verdict belong."""
        return "wer" if self.cer is None else "cer"

    @property
    def value(self) -> float:
        """Return the difference of the primary metric."""
        return self.wer if self.cer is None else self.cer

    @model_serializer(mode="wrap")
    def _omit_missing_cer(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_missing(serialize(self), "cer")


class Slice(RecordModel):
    """
    Store the results on a slice of a corpus.

    Args:
        by (`str`): The attribute: `duration`, `speaker`, `gender` or `accent`.
        value (`str`): The value of the attribute; for durations a range such as `2-5 s`.
        n (`int`): The number of utterances.
        reference_words (`int`): The number of reference words under the normalizer of the recipe.
        wer (`dict[str, float]`): The WER of each system under that normalizer.
        reference_characters (`int`, *optional*): The number of reference characters, if the CER is the primary metric.
        cer (`dict[str, float]`, *optional*): The CER of each system, if it is the primary metric.
    """

    by: Literal["duration", "speaker", "gender", "accent"]
    value: str
    n: int
    reference_words: int
    wer: dict[str, float]
    reference_characters: int | None = None
    cer: dict[str, float] | None = None

    @property
    def rates(self) -> dict[str, float]:
        """Return the rate of each system in the primary metric."""
        return self.wer if self.cer is None else self.cer

    @model_serializer(mode="wrap")
    def _omit_missing_cer(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_missing(serialize(self), "reference_characters", "cer")


class CorpusResult(RecordModel):
    """
    Store the results on one test corpus, or on several pooled: all edits divided by all reference tokens.

    Args:
        name (`str`): The name of the corpus; `pooled` for all corpora.
        language (`str`): The BCP 47 tag; several are joined by commas in the pool.
        n (`int`): The number of scored utterances.
        rejected (`int`): The number of rows that could not be used and are not scored.
        audio_seconds (`float`): The length of the scored audio, in seconds.
        word_share (`float`): The fraction of all scored reference words.
        unit (`str`): The unit of the bootstrap: `speaker` if every row names one and there are enough, else
            `utterance`; `corpus` in the pool, in which each corpus is resampled by its own unit.
        units (`int`): The number of units.
        merged (`int`): The number of references in which the normalizer joins or removes words.
        split (`int`): The number of references in which the normalizer splits words.
        systems (`list[SystemResult]`): The results of each system, the main system first.
        differences (`list[Difference]`): The comparisons of the main system with each other system.
        slices (`list[Slice]`): The results on slices, if the corpus has their attributes.
        speakers (`int`, *optional*): The number of speakers, in the pool the sum of those of the corpora; absent if a
            clip has no speaker, and in records of 0.1.0.
        few_speakers (`bool`, *optional*, defaults to `False`): Whether the bootstrap resamples clips of fewer than ten
            speakers, in the pool of at least one corpus.
        character_share (`float`, *optional*): The fraction of all scored reference characters, if the CER is the
            primary metric.
        normalizer (`str`, *optional*): The normalizer, if the corpus is of another language than the adapter and
            therefore has its own.
    """

    name: Name
    language: str
    n: int
    rejected: int
    audio_seconds: float
    word_share: float
    unit: Literal["utterance", "speaker", "corpus"]
    units: int
    merged: int
    split: int
    systems: list[SystemResult] = Field(min_length=1)
    differences: list[Difference]
    slices: list[Slice]
    speakers: int | None = None
    few_speakers: bool = False
    character_share: float | None = None
    normalizer: str | None = None

    @model_serializer(mode="wrap")
    def _omit_missing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_missing(serialize(self), "character_share", "normalizer")

    @property
    def share(self) -> float:
        """Return the weight of the corpus in the pool: its fraction of the tokens of the primary metric."""
        return self.word_share if self.character_share is None else self.character_share

    @property
    def main_system(self) -> SystemResult:
        """Return the result of the main system: the adapter, or the system that was evaluated instead."""
        return self.systems[0]

    def of(self, system: str) -> SystemResult | None:
        """Return the result of a system, or `None` if it was not evaluated."""
        return next((result for result in self.systems if result.system == system), None)

    def against(self, other: str) -> Difference | None:
        """Return the comparison of the main system with another, or `None` if that was not evaluated."""
        return next((difference for difference in self.differences if difference.other == other), None)


class MacroMean(RecordModel):
    """
    Store the unweighted mean of the rates over corpora, of one system under the recipe's normalizer.

    Args:
        system (`str`): The system.
        wer (`float`): The mean WER.
        cer (`float`): The mean CER.
        wer_ci95 (`tuple[float, float]`): The 95 % bootstrap interval of the mean WER.
        cer_ci95 (`tuple[float, float]`): The 95 % bootstrap interval of the mean CER.
    """

    system: Name
    wer: float
    cer: float
    wer_ci95: Interval
    cer_ci95: Interval

    def rate(self, metric: Metric) -> float:
        """Return the rate of a metric."""
        return self.wer if metric == "wer" else self.cer

    def ci95(self, metric: Metric) -> Interval:
        """Return the interval of a metric."""
        return self.wer_ci95 if metric == "wer" else self.cer_ci95


class ProbeResult(RecordModel):
    """
    Count the words that a system hallucinates in probes without speech: silence, noise, hum.

    Args:
        system (`str`): The system.
        n (`int`): The number of probes.
        with_text (`int`): The number of probes with a hypothesis that contains words.
        words (`int`): The number of words in all hypotheses.
    """

    system: Name
    n: int
    with_text: int
    words: int


class EndpointModel(RecordModel):
    """
    Describe a model that was evaluated over OpenAI's API of its server.

    Args:
        url (`str`): The address of the server.
        model (`str`): The requested name of the model.
        returned_model (`str`, *optional*): The name that the server returned.
    """

    url: str
    model: str
    returned_model: str | None = None


class Decoding(RecordModel):
    """
    Describe how a system generates the text of a clip; the token limit is in [`System`].

    Args:
        num_beams (`int`, *optional*): The number of beams; 1 for greedy decoding, which all systems in records of
            0.1.0 use. `None` if a server decodes.
        language (`str`, *optional*): The source of the language: `clip` if the model is given that of each clip, by a
            token or by weights of the language; `prompt` if the prompt may name it; `none` if the model is not given
            a language. `None` if it is not recorded.
        segment_seconds (`float`, *optional*): The longest audio that is transcribed at once, in seconds; longer
            recordings are cut at pauses into segments. `None` if it is not recorded.
        penalties (`dict[str, float]`): The settings of the model's own generation configuration that change scores
            and differ from the defaults of transformers, such as `repetition_penalty`.
    """

    num_beams: int | None = Field(1, ge=1)
    language: Literal["clip", "prompt", "none"] | None = None
    segment_seconds: float | None = Field(None, gt=0)
    penalties: dict[str, float] = Field({}, max_length=10)


class System(RecordModel):
    """
    Describe an evaluated system and its environment.

    Args:
        name (`str`): The name: `adapter`, `base`, the name of a baseline, or `earlier`.
        base (`str`): The folder or repository of the model.
        base_sha256 (`str`): The digest of its weight files.
        base_commit (`str`, *optional*): The commit of its repository that was loaded; `None` for a folder, and in
            records of escoita 0.1.0.
        expected_base_sha256 (`str`, *optional*): The digest of the base that the adapter was trained on, if
            `--allow-other-base` accepted another one.
        adapter (`str`, *optional*): The folder or repository of the adapter; for an earlier one, the source of its
            predictions; `None` without an adapter.
        adapter_sha256 (`str`, *optional*): The digest of its weight file.
        max_new_tokens (`int`, *optional*): The token limit of a transcript, or of a segment of one: the recipe's for
            the adapter and its base, the model's own for a baseline; `None` for models without a limit, such as CTC.
        batch_seconds (`float`): The most audio in a batch, in seconds.
        processes (`int`): The number of processes.
        device (`str`): The device.
        dtype (`str`): The precision of the weights.
        peak_memory_bytes (`int`): The peak resident memory of the process, or of the GPU if there is one, since the
            model was loaded; the largest of several processes.
        endpoint ([`EndpointModel`], *optional*): The server, if the model was evaluated over its API. The weights, the
            precision, the memory and the speed are then unknown.
        decoding ([`Decoding`]): The settings of decoding.
        speech_detector (`str`, *optional*): The method that found the speech in recordings over the limit of the
            model, `silero` or `energy`; `None` if there were none, for a server, and in records of escoita 0.1.0.
        characters (`str`, *optional*): All characters that a model with a CTC head can write, under no normalizer;
            `None` for other models, and in records of escoita 0.1.0.
        evaluated (`str`, *optional*): The day on which the last corpus was transcribed, in UTC, as ISO 8601 writes it;
            absent in records of 0.1.0.
    """

    name: Name
    base: str
    base_sha256: str
    adapter: str | None
    adapter_sha256: str | None
    max_new_tokens: int | None
    batch_seconds: float
    processes: int
    device: str
    dtype: str
    peak_memory_bytes: int
    base_commit: Commit | None = None
    expected_base_sha256: Sha256 | None = None
    endpoint: EndpointModel | None = None
    decoding: Decoding = Decoding()
    speech_detector: SpeechDetector | None = None
    characters: str | None = Field(None, max_length=VOCABULARY_CHARACTERS)
    evaluated: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$")

    @model_serializer(mode="wrap")
    def _omit_missing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields without a value, so that older records stay the same."""
        written: dict[str, Any] = serialize(self)
        for name in ("endpoint", "speech_detector", "characters", "evaluated"):
            if getattr(self, name) is None:
                written.pop(name, None)
        return written


class Scoring(RecordModel):
    """
    Store the settings with which the evaluation first scored its predictions.

    Args:
        normalizer (`str`): The normalizer of references and hypotheses.
        resamples (`int`): The number of bootstrap resamples.
        primary (`str`): The metric of differences and verdicts.
    """

    normalizer: str
    resamples: int = Field(gt=0)
    primary: Metric = "wer"


def today() -> str:
    """Return the current day in UTC, as ISO 8601 writes it."""
    return datetime.now(UTC).date().isoformat()


class EvaluationRecord(Record):
    """
    Store the results of an evaluation, in `eval/results.json`; they are computed from the predictions only.

    Args:
        systems (`list[System]`): The evaluated systems, the main system first.
        normalizer (`str`): The normalizer of references and hypotheses; there are raw rates, too.
        resamples (`int`): The number of bootstrap resamples of each interval.
        corpora (`list[CorpusResult]`): The results on each test corpus.
        pooled (`CorpusResult`): The results on all corpora pooled, the WER by words and the CER by characters.
        macro (`list[MacroMean]`): The mean over corpora of each system.
        probes (`list[ProbeResult]`): The results of each system on the probes; empty if the probes were not run.
        retention (`list[CorpusResult]`): The results of adapter and base on test corpora of other languages, which
            are not in the pool; the differences measure forgetting.
        rescored ([`Scoring`], *optional*): The first settings, if the predictions were scored again with others.
        primary (`str`): The metric of differences and verdicts, `wer` or `cer`.
    """

    made_by = "escoita eval"

    systems: list[System] = Field(min_length=1)
    normalizer: str
    resamples: int = Field(gt=0)
    corpora: list[CorpusResult]
    pooled: CorpusResult
    macro: list[MacroMean]
    probes: list[ProbeResult]
    rescored: Scoring | None = None
    retention: list[CorpusResult] = []
    primary: Metric = "wer"

    @property
    def main_system(self) -> System:
        """Return the main system, which the others are compared with."""
        return self.systems[0]

    @property
    def normalizes(self) -> bool:
        """Return whether texts were normalized, so that there are other rates than the raw ones."""
        return self.normalizer not in ("raw", "bytes")  # as in `escoita.metrics.normalizers`

    @property
    def is_of_0_1(self) -> bool:
        """Return whether escoita 0.1.0 wrote the record, which did not count unusable hypotheses."""
        return all(each.unusable is None for result in [*self.corpora, self.pooled] for each in result.systems)

    @property
    def retention_normalizers(self) -> dict[str, str]:
        """Return the normalizer of each test corpus of another language."""
        return {result.name: result.normalizer for result in self.retention if result.normalizer is not None}

    @property
    def predicted(self) -> list[str]:
        """Return the names of all corpora with predictions: test corpora, those of other languages, and the probes."""
        results = [*self.corpora, *self.retention]
        return [result.name for result in results] + ([PROBES] if self.probes else [])

    @property
    def rows(self) -> list[CorpusResult]:
        """Return the rows of a table: each corpus, and the pool if there are several."""
        return [*self.corpora, self.pooled] if len(self.corpora) > 1 else self.corpora
