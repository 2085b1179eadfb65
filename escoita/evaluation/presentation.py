"""What a record says, in words."""

from escoita.evaluation.compare import EARLIER
from escoita.evaluation.verdicts import above_one, insertions_note, reasons
from escoita.records.evaluation import BASE, SUBJECT, CorpusResult, Difference, EvaluationRecord, System
from escoita.utils.formatting import interval, percent, points, points_interval, probability


FAULTS = {
    "empty": "empty",
    "loop": "loop",
    "wrong_script": "wrong script",
    "wrong_language": "wrong language",
    "chat_like": "chat-like answer",
    "truncated": "token limit reached",
}


def share(fraction: float) -> str:
    """A fraction as percent, where a tenth is fine enough."""
    return f"{100 * fraction:.1f} %"


def duration(seconds: float) -> str:
    """A length of time: seconds, minutes or hours, whichever reads best."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def digest(sha256: str) -> str:
    """The beginning of a digest, enough to tell two apart."""
    return sha256[:12]


def name_of(system: System | str) -> str:
    """A system in a sentence."""
    name = system if isinstance(system, str) else system.name
    return {SUBJECT: "the adapter", BASE: "the base", EARLIER: "the earlier revision"}.get(name, name)


def model_of(system: System) -> str:
    """What a system is made of."""
    return f"{system.adapter} on {system.base}" if system.adapter else system.base


def verdicts(record: EvaluationRecord) -> list[tuple[Difference | None, str]]:
    """
    The judged system against each other, all corpora together, in words with figures.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): With or without other systems.

    Returns:
        `list[tuple[Difference | None, str]]`: What each speaks of, and the sentences; one that speaks of no difference
        where no other system was evaluated.
    """
    whole, name = record.rows[-1], _capital(name_of(record.judged))
    if not whole.differences:
        rates = whole.judged.normalized
        return [
            (
                None,
                f"{name}: WER {percent(rates.wer)} (95 %: {interval(rates.wer_ci95)}). No other system was evaluated"
                " beside it, so this says nothing of better or worse.",
            )
        ]
    return [
        (difference, _against(difference, whole, record) + _apart(difference, record))
        for difference in whole.differences
    ]


def _against(difference: Difference, whole: CorpusResult, record: EvaluationRecord) -> str:
    judged, other = name_of(record.judged), name_of(difference.other)
    found = {
        "better": f"{_capital(judged)} is measurably better than {other}",
        "worse": f"{_capital(judged)} is measurably worse than {other}",
        "no measurable difference": f"There is no measurable difference between {judged} and {other}",
        "not comparable": f"{_capital(judged)} and {other} are not comparable",
    }[difference.verdict]
    rates = whole.of(difference.other)
    against = f" against {percent(rates.normalized.wer)}" if rates else ""
    figure = probability(difference.p_value)
    figure = figure if figure.startswith("<") else f"=\N{NO-BREAK SPACE}{figure}"
    limits = "".join(f" {_capital(reason)}." for reason in reasons(whole, difference.other, name_of))
    return (
        f"{found}: WER {percent(whole.judged.normalized.wer)}{against}, a difference of"
        f" {points(difference.wer)} points (95 %: {points_interval(difference.ci95)};"
        f" p\N{NO-BREAK SPACE}{figure}).{limits}"
    )


def notes(record: EvaluationRecord) -> list[str]:
    """Explain rates over 100 %, of each corpus and of all corpora together."""
    whole = record.pooled.name
    return [
        f"{insertions_note(each, 'all corpora' if result.name == whole else result.name, name_of)}."
        for result, each in above_one(record.rows)
    ]


def _apart(difference: Difference, record: EvaluationRecord) -> str:
    """Which corpora say otherwise than all together."""
    if len(record.corpora) < 2:
        return ""
    others: dict[str, list[str]] = {}
    for corpus in record.corpora:
        found = corpus.against(difference.other)
        if found and found.verdict != difference.verdict:
            others.setdefault(found.verdict, []).append(corpus.name)
    if not others:
        return " Each corpus by itself says the same."
    told = "; ".join(f"{verdict} on {', '.join(names)}" for verdict, names in others.items())
    return f" On some corpora alone it is otherwise: {told}."


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
