"""The evaluation record: what was evaluated, and every rate that is made from its predictions."""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from escoita.records.training import Commit, Name, Record, RecordModel, Sha256


Interval = tuple[float, float]
# What a bootstrap says of the difference of two rates.
Measured = Literal["better", "worse", "no measurable difference"]
# What a record says of two systems; see `escoita/evaluation/verdicts.py`.
Verdict = Literal["better", "worse", "no measurable difference", "not comparable"]
SUBJECT = "adapter"
BASE = "base"
# The predictions of another revision of the adapter.
EARLIER = "earlier"
Tokens = Literal["words", "characters"]
# The error rates of a record, by their fields in `Rates` and `MacroMean`, and the tokens that they count. Scoring,
# report, summary, page, model-index and leaderboard entries loop over this table.
METRICS: dict[str, Tokens] = {"wer": "words", "cer": "characters"}
# Made by the program, not a corpus of the recipe; no corpus may have the name.
PROBES = "probes"


class Rates(RecordModel):
    """
    Error rates of one system on one corpus, or on several pooled by words, under one normaliser. Rates are fractions.

    Args:
        wer (`float`): Corpus word error rate, edits over reference words.
        cer (`float`): Corpus character error rate, spaces counted.
        wer_ci95 (`tuple[float, float]`): 95 % percentile bootstrap interval of the WER.
        cer_ci95 (`tuple[float, float]`): The same of the CER.
        substitutions (`int`): Words.
        deletions (`int`): Words.
        insertions (`int`): Words.
        reference_words (`int`): The denominator of the WER.
        reference_characters (`int`): The denominator of the CER.
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

    @property
    def edits(self) -> int:
        """Words that are wrong, missing or too many: the numerator of the WER."""
        return self.substitutions + self.deletions + self.insertions

    def tokens(self, metric: str) -> int:
        """Return the reference tokens of a metric, which are its denominator."""
        tokens: int = getattr(self, f"reference_{METRICS[metric]}")
        return tokens


class Faults(RecordModel):
    """
    What audio language models do wrong beside plain edits, in utterances; see `escoita/metrics/error_types.py`.

    Args:
        empty (`int`): Nothing was said of a clip in which something is said.
        loop (`int`): A phrase repeated over and over.
        wrong_script (`int`): Written in another script than the references.
        wrong_language (`int`): Words of another language, by its function words.
        chat_like (`int`): An answer instead of a transcript.
        truncated (`int`): Ended by the limit of tokens.
    """

    empty: int
    loop: int
    wrong_script: int
    wrong_language: int
    chat_like: int
    truncated: int


class SystemResult(RecordModel):
    """
    What one system heard in one corpus.

    Args:
        system (`str`): `adapter`, `base`, the name of a baseline, or `earlier`.
        normalized ([`Rates`]): Under the normaliser of the recipe.
        raw ([`Rates`]): As the texts are.
        faults ([`Faults`]): Counts.
        rtfx (`float`): Audio seconds transcribed in a second of computing (features, generation, text), after a
            warm-up, decoding of files left out, as the Open ASR Leaderboard defines it; 0 where no time was measured.
        tokens_per_second (`float`): Generated tokens in a second of computing; 0 likewise.
        unusable (`int`, *optional*): Utterances whose hypothesis is empty or loops, each counted once; absent in
            records of 0.1.0.
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
    The judged system against another on the same clips, by a paired bootstrap (Bisani and Ney 2004).

    Args:
        other (`str`): The other system.
        wer (`float`): WER of the judged system minus that of the other; below 0 is better.
        ci95 (`tuple[float, float]`): Its 95 % interval.
        p_value (`float`): Two-sided.
        verdict (`str`): `better`, `worse`, `no measurable difference`, or `not comparable` if more than half of the
            hypotheses of a system are empty or loop, and it is not worse.
    """

    other: Name
    wer: float
    ci95: Interval
    p_value: float
    verdict: Verdict


class Slice(RecordModel):
    """
    A part of a corpus.

    Args:
        by (`str`): `duration`, `speaker`, `gender` or `accent`.
        value (`str`): Which; of durations a range such as `2-5 s`.
        n (`int`): Utterances.
        reference_words (`int`): Under the normaliser of the recipe.
        wer (`dict[str, float]`): Of each system, under that normaliser.
    """

    by: Literal["duration", "speaker", "gender", "accent"]
    value: str
    n: int
    reference_words: int
    wer: dict[str, float]


class CorpusResult(RecordModel):
    """
    One test corpus, or several pooled by words.

    Args:
        name (`str`): The corpus; `pooled` for all together.
        language (`str`): ISO code; several joined by commas in the pool.
        n (`int`): Utterances scored.
        rejected (`int`): Rows that could not be used, and are not scored.
        audio_seconds (`float`): Length of the scored audio.
        word_share (`float`): Its fraction of all reference words that were scored.
        unit (`str`): What the bootstrap drew: `speaker` where every row names one and there are enough, else
            `utterance`; `corpus` in the pool, of which each corpus is drawn by its own unit.
        units (`int`): How many there are.
        merged (`int`): References of which the normaliser makes fewer words.
        split (`int`): References of which it makes more.
        systems (`list[SystemResult]`): The judged one first.
        differences (`list[Difference]`): The judged one against each other.
        slices (`list[Slice]`): Parts, where the corpus tells them apart.
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

    @property
    def main_system(self) -> SystemResult:
        """The adapter, or whatever was evaluated in its place."""
        return self.systems[0]

    def of(self, system: str) -> SystemResult | None:
        """What a system heard, or nothing where it was not run."""
        return next((result for result in self.systems if result.system == system), None)

    def against(self, other: str) -> Difference | None:
        """The judged system against another, or nothing where that was not run."""
        return next((difference for difference in self.differences if difference.other == other), None)


class MacroMean(RecordModel):
    """
    The plain mean of the corpora's rates, each corpus weighing the same, for one system under the recipe's normaliser.

    Args:
        system (`str`): The system.
        wer (`float`): Mean of the WERs.
        cer (`float`): Mean of the CERs.
        wer_ci95 (`tuple[float, float]`): 95 % bootstrap interval.
        cer_ci95 (`tuple[float, float]`): The same.
    """

    system: Name
    wer: float
    cer: float
    wer_ci95: Interval
    cer_ci95: Interval


class ProbeResult(RecordModel):
    """
    What a system heard where nothing is said: silence, noise, hum.

    Args:
        system (`str`): The system.
        n (`int`): Probes.
        with_text (`int`): Probes in which it heard words.
        words (`int`): All the words that it heard.
    """

    system: Name
    n: int
    with_text: int
    words: int


class EndpointModel(RecordModel):
    """
    A model behind a server that was evaluated over OpenAI's API.

    Args:
        url (`str`): The address of the server.
        model (`str`): The name of the model that was asked for.
        returned_model (`str`, *optional*): The name that the server returned.
    """

    url: str
    model: str
    returned_model: str | None = None


class System(RecordModel):
    """
    What was evaluated, and on what.

    Args:
        name (`str`): `adapter`, `base`, the name of a baseline, or `earlier`.
        base (`str`): Folder or repository of the model.
        base_sha256 (`str`): Digest of its weight files.
        base_commit (`str`, *optional*): Commit of its repository that was loaded; none for a folder, and in records of
            escoita 0.1.0.
        expected_base_sha256 (`str`, *optional*): Digest of the base that the adapter was trained on, if
            `--allow-other-base` accepted another one.
        adapter (`str`, *optional*): Folder or repository of the adapter; of an earlier one, where its predictions are
            from; absent where there is none.
        adapter_sha256 (`str`, *optional*): Digest of its weight file.
        max_new_tokens (`int`, *optional*): Most tokens of a transcript, or of a segment of one: the recipe's for the
            adapter and its base, the model's own for a baseline; absent if the model has no limit, as CTC models.
        batch_seconds (`float`): Most audio in a batch.
        processes (`int`): Processes that shared the work.
        device (`str`): Where it ran.
        dtype (`str`): Precision of the weights.
        peak_memory_bytes (`int`): Peak resident memory of the process, of the GPU where there is one, since the model
            was loaded; the largest of several processes.
        endpoint ([`EndpointModel`], *optional*): The server, if the model was evaluated over its API. Nothing is then
            known of weights, precision, memory and speed.
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

    @model_serializer(mode="wrap")
    def _without_an_endpoint_that_is_none(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the records of other models as before they had this field."""
        written: dict[str, Any] = serialize(self)
        if self.endpoint is None:
            written.pop("endpoint", None)
        return written


class EvaluationRecord(Record):
    """
    `eval/results.json`, made from the predictions alone.

    Args:
        systems (`list[System]`): What was evaluated, the judged one first.
        normalizer (`str`): What was done to references and hypotheses before counting; raw rates stand beside.
        resamples (`int`): Bootstrap resamples behind each interval.
        corpora (`list[CorpusResult]`): One for each test corpus.
        pooled (`CorpusResult`): All corpora together, by words.
        macro (`list[MacroMean]`): The mean over corpora, for each system.
        probes (`list[ProbeResult]`): For each system; empty where the probes were not run.
    """

    made_by = "escoita eval"

    systems: list[System] = Field(min_length=1)
    normalizer: str
    resamples: int = Field(gt=0)
    corpora: list[CorpusResult]
    pooled: CorpusResult
    macro: list[MacroMean]
    probes: list[ProbeResult]

    @property
    def main_system(self) -> System:
        """What the record is about."""
        return self.systems[0]

    @property
    def rows(self) -> list[CorpusResult]:
        """What a table shows: each corpus, and the pool where it says more than they do."""
        return [*self.corpora, self.pooled] if len(self.corpora) > 1 else self.corpora
