"""
Decide the verdict on one system compared with another; `presentation.py` puts it into words.

The bootstrap of `escoita/evaluation/bootstrap.py` measures a difference of two word error rates. A rate alone does not
say whether a system works: a system that writes nothing has a WER of 100 %, and one that inserts many words has more.
So the verdict also depends on how many hypotheses are empty or loop, and it is qualified where the CER goes the other
way.
"""

from dataclasses import dataclass

from escoita.records.evaluation import CorpusResult, EvaluationRecord, Measured, SystemResult, Verdict


@dataclass(frozen=True)
class Outcome:
    """
    The figures of one system, on one corpus or on several, that a verdict depends on.

    Args:
        system (`str`): Name of the system.
        clips (`int`): Utterances scored.
        unusable (`int`): Utterances whose hypothesis is empty or loops.
        wer (`float`): Word error rate, a fraction.
        cer (`float`): Character error rate, a fraction.
        insertions (`int`): Words that were inserted.
    """

    system: str
    clips: int
    unusable: int
    wer: float
    cer: float
    insertions: int

    @property
    def failed(self) -> bool:
        """Whether more than half of the hypotheses are empty or loop."""
        return 2 * self.unusable > self.clips


def outcome(result: SystemResult, clips: int, raw: bool = False) -> Outcome:
    """
    Return the figures of a system that a verdict depends on.

    Args:
        result ([`~escoita.records.evaluation.SystemResult`]): The system's result on a corpus.
        clips (`int`): Utterances of the corpus.
        raw (`bool`, *optional*, defaults to `False`): Take the rates of the texts that are not normalized.
    """
    rates = result.raw if raw else result.normalized
    return Outcome(result.system, clips, unusable(result, clips), rates.wer, rates.cer, rates.insertions)


def unusable(result: SystemResult, clips: int) -> int:
    """Return how many hypotheses are empty or loop; records of 0.1.0 count the two apart, so one may count twice."""
    return min(clips, result.faults.empty + result.faults.loop) if result.unusable is None else result.unusable


def verdict(measured: Measured, main_system: Outcome, other: Outcome) -> Verdict:
    """
    Decide the verdict. It is the only function that does.

    A system of which more than half of the hypotheses are empty or loop is never better than another system and never
    equal to it; it can only be worse.

    Args:
        measured (`str`): What the bootstrap says of the two word error rates.
        main_system ([`Outcome`]): The judged system.
        other ([`Outcome`]): The system that it is compared with.
    """
    if (main_system.failed and measured != "worse") or (other.failed and measured != "better"):
        return "not comparable"
    return measured


def disagree(main_system: Outcome, other: Outcome) -> bool:
    """Return whether WER and CER disagree in sign: one rate of the judged system is lower, the other one higher."""
    return (main_system.wer - other.wer) * (main_system.cer - other.cer) < 0


def outcomes(result: CorpusResult, other: str) -> tuple[Outcome, Outcome] | None:
    """
    Return the figures of the judged system and of another one that a verdict depends on.

    Args:
        result ([`~escoita.records.evaluation.CorpusResult`]): A corpus, or several pooled.
        other (`str`): The other system.

    Returns:
        `tuple[Outcome, Outcome]`: None if the other system was not run, or the record is of 0.1.0, which does not hold
        these figures.
    """
    compared = result.of(other)
    if compared is None or result.main_system.unusable is None:
        return None
    return outcome(result.main_system, result.n), outcome(compared, result.n)


def over_one(record: EvaluationRecord) -> list[tuple[CorpusResult, Outcome]]:
    """Return each corpus and system whose WER is over 1, which only insertions can bring about."""
    found = [(result, outcome(each, result.n)) for result in record.rows for each in result.systems]
    return [(result, each) for result, each in found if each.wer > 1 and result.main_system.unusable is not None]
