"""
Decide what one system compared with another is called, and say what limits this verdict.

The bootstrap of `escoita/evaluation/bootstrap.py` measures a difference of two word error rates. A rate alone does not
say whether a system works: a system that writes nothing has a WER of 100 %, and one that inserts many words has more.
So the verdict also depends on how many hypotheses are empty or loop, and it is qualified where the CER goes the other
way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from escoita.records.evaluation import CorpusResult, Measured, SystemResult, Verdict
from escoita.utils.formatting import percent, thousands


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


def verdict(measured: Measured, judged: Outcome, other: Outcome) -> Verdict:
    """
    Decide the verdict. It is the only function that does.

    A system of which more than half of the hypotheses are empty or loop is never better than another system and never
    equal to it; it can only be worse.

    Args:
        measured (`str`): What the bootstrap says of the two word error rates.
        judged ([`Outcome`]): The judged system.
        other ([`Outcome`]): The system that it is compared with.
    """
    if (judged.failed and measured != "worse") or (other.failed and measured != "better"):
        return "not comparable"
    return measured


def disagree(judged: Outcome, other: Outcome) -> bool:
    """Return whether WER and CER disagree in sign: one rate of the judged system is lower, the other one higher."""
    return (judged.wer - other.wer) * (judged.cer - other.cer) < 0


def reasons_of(judged: Outcome, other: Outcome, name: Callable[[str], str]) -> list[str]:
    """
    Say what a verdict on two systems depends on beside the word error rates.

    Args:
        judged ([`Outcome`]): The judged system.
        other ([`Outcome`]): The system that it is compared with.
        name (`Callable[[str], str]`): What a system is called in a sentence.

    Returns:
        `list[str]`: Clauses without a full stop; none if nothing limits the verdict.
    """
    clauses = [
        f"{thousands(each.unusable)} of {thousands(each.clips)} hypotheses of {name(each.system)} are empty or loop"
        for each in (judged, other)
        if each.failed
    ]
    if disagree(judged, other):
        change = "higher" if judged.cer > other.cer else "lower"
        wer = "lower" if change == "higher" else "higher"
        rates = f"{percent(judged.cer)} against {percent(other.cer)}"
        clauses.append(f"WER and CER disagree: the WER is {wer}, the CER is {change} ({rates})")
    return clauses


def reasons(result: CorpusResult, other: str, name: Callable[[str], str] = str) -> list[str]:
    """
    Say what the verdict of a record on two systems depends on beside the word error rates; see [`reasons_of`].

    Args:
        result ([`~escoita.records.evaluation.CorpusResult`]): A corpus, or several pooled.
        other (`str`): The system that the judged one is compared with.
        name (`Callable[[str], str]`, *optional*): What a system is called in a sentence.

    Returns:
        `list[str]`: Clauses; none of a record of 0.1.0, which does not hold what they are made of.
    """
    compared = result.of(other)
    if compared is None or result.judged.unusable is None:
        return []
    return reasons_of(outcome(result.judged, result.n), outcome(compared, result.n), name)


def short(result: CorpusResult, other: str) -> str:
    """
    Return the verdict of a record as a cell of a table has it: with the words that WER and CER disagree, if they do.

    Args:
        result ([`~escoita.records.evaluation.CorpusResult`]): A corpus, or several pooled.
        other (`str`): The system that the judged one is compared with.
    """
    difference, compared = result.against(other), result.of(other)
    if difference is None or compared is None:
        return ""
    known = result.judged.unusable is not None
    opposite = known and disagree(outcome(result.judged, result.n), outcome(compared, result.n))
    return f"{difference.verdict}; WER and CER disagree" if opposite else difference.verdict


def above_one(results: Sequence[CorpusResult]) -> list[tuple[CorpusResult, Outcome]]:
    """Return each corpus and system whose WER is over 1, which only insertions can bring about."""
    found = [(result, outcome(each, result.n)) for result in results for each in result.systems]
    return [(result, each) for result, each in found if each.wer > 1 and result.judged.unusable is not None]


def insertions_note(each: Outcome, where: str, name: Callable[[str], str] = str) -> str:
    """
    Explain a word error rate of more than 100 %.

    Args:
        each ([`Outcome`]): A system whose WER is over 1.
        where (`str`): What the corpus is called.
        name (`Callable[[str], str]`, *optional*): What a system is called in a sentence.
    """
    return (
        f"The WER of {name(each.system)} on {where} is {percent(each.wer)}, which is over 100 %, because it inserts"
        f" {thousands(each.insertions)} {'word' if each.insertions == 1 else 'words'}"
    )
