"""
Decide the verdict on two systems; `presentation.py` contains its texts.

The bootstrap of `escoita/evaluation/bootstrap.py` measures the difference of two word error rates. A rate alone does
not show whether a system works: a system with empty output has a WER of 100 %, and one that inserts many words has
more. So the verdict also depends on the number of hypotheses that are empty or loop, and it is qualified if WER and
CER disagree.

The bootstrap of clips of few speakers says nothing about other speakers. So a system is better or worse for these
speakers only, unless the interval over speakers (`escoita/evaluation/speakers.py`) excludes 0, too.
"""

from dataclasses import dataclass

from escoita.records.evaluation import CorpusResult, EvaluationRecord, Interval, Measured, SystemResult, Verdict


# Verdicts that apply to the speakers of the test set only.
LIMITED: dict[Measured, Verdict] = {"better": "better for these speakers", "worse": "worse for these speakers"}
# The verdicts that the tables of a record of 0.1.0 contain instead.
UNLIMITED: dict[Verdict, Verdict] = {limited: measured for measured, limited in LIMITED.items()}
WORSE: tuple[Verdict, ...] = ("worse", "worse for these speakers")
BETTER: tuple[Verdict, ...] = ("better", "better for these speakers")


@dataclass(frozen=True)
class Outcome:
    """
    Store the figures of one system, on one corpus or on several, that a verdict depends on.

    Args:
        system (`str`): Name of the system.
        clips (`int`): Number of utterances.
        unusable (`int`): Number of utterances whose hypothesis is empty or loops.
        wer (`float`): Word error rate, a fraction.
        cer (`float`): Character error rate, a fraction.
        insertions (`int`): Number of inserted words.
    """

    system: str
    clips: int
    unusable: int
    wer: float
    cer: float
    insertions: int

    @property
    def failed(self) -> bool:
        """Return whether more than half of the hypotheses are empty or loop."""
        return 2 * self.unusable > self.clips


def outcome(result: SystemResult, clips: int, raw: bool = False) -> Outcome:
    """
    Return the figures of a system from which verdicts are computed.

    Args:
        result ([`~escoita.records.evaluation.SystemResult`]): The system's result on a corpus.
        clips (`int`): Number of utterances of the corpus.
        raw (`bool`, *optional*, defaults to `False`): Whether to take the rates without normalization.
    """
    rates = result.raw if raw else result.normalized
    return Outcome(result.system, clips, unusable(result, clips), rates.wer, rates.cer, rates.insertions)


def unusable(result: SystemResult, clips: int) -> int:
    """Return how many hypotheses are empty or loop; in records of 0.1.0 a hypothesis may count twice."""
    return min(clips, result.faults.empty + result.faults.loop) if result.unusable is None else result.unusable


def for_speakers(measured: Measured, few_speakers: bool, speaker_ci95: Interval | None) -> Verdict:
    """
    Limit a verdict to the speakers of the test set if nothing shows that it applies to others.

    Args:
        measured (`str`): Verdict of the bootstrap on the two word error rates.
        few_speakers (`bool`): Whether the bootstrap resampled clips of fewer than ten speakers.
        speaker_ci95 (`tuple[float, float]`, *optional*): Interval of the difference over speakers.

    Returns:
        `str`: The same verdict, or `better for these speakers` or `worse for these speakers`.
    """
    if not few_speakers or measured not in LIMITED:
        return measured
    excludes_0 = speaker_ci95 is not None and (speaker_ci95[1] < 0 if measured == "better" else speaker_ci95[0] > 0)
    return measured if excludes_0 else LIMITED[measured]


def verdict(measured: Verdict, main_system: Outcome, other: Outcome) -> Verdict:
    """
    Decide the verdict on two systems.

    A system of which more than half of the hypotheses are empty or loop is never better than another system and never
    equal to it; it can only be worse.

    Args:
        measured (`str`): Verdict of [`for_speakers`] on the two word error rates.
        main_system ([`Outcome`]): Figures of the main system.
        other ([`Outcome`]): Figures of the other system.
    """
    if (main_system.failed and measured not in WORSE) or (other.failed and measured not in BETTER):
        return "not comparable"
    return measured


def disagree(main_system: Outcome, other: Outcome) -> bool:
    """Return whether WER and CER disagree in sign: one rate of the main system is lower, the other one higher."""
    return (main_system.wer - other.wer) * (main_system.cer - other.cer) < 0


def outcomes(result: CorpusResult, other: str) -> tuple[Outcome, Outcome] | None:
    """
    Return the figures of the main system and of another one that a verdict depends on.

    Args:
        result ([`~escoita.records.evaluation.CorpusResult`]): Result on a corpus, or on several pooled.
        other (`str`): Name of the other system.

    Returns:
        `tuple[Outcome, Outcome]`: None if the other system was not run, or the record is of 0.1.0, which does not
        contain these figures.
    """
    compared = result.of(other)
    if compared is None or result.main_system.unusable is None:
        return None
    return outcome(result.main_system, result.n), outcome(compared, result.n)


def over_one(record: EvaluationRecord) -> list[tuple[CorpusResult, Outcome]]:
    """Return each corpus and system whose WER is over 1, which only insertions can cause, if the WER is primary."""
    if record.primary != "wer":
        return []
    found = [(result, outcome(each, result.n)) for result in record.rows for each in result.systems]
    return [(result, each) for result, each in found if each.wer > 1 and result.main_system.unusable is not None]
