"""
What the figures of an evaluation say, in sentences made by plain rules.

Each rule is a function that says one thing, or nothing where the record does not hold it. No rule knows an adjective:
what it says, it says with the figure.
"""

import re
from collections.abc import Mapping

from escoita.evaluation.presentation import by_verdict, change_in_words, rate_in_words, reasons
from escoita.records.evaluation import BASE, CorpusResult, EvaluationRecord, Rates, Slice, Verdict
from escoita.utils.formatting import percent, points, thousands


# Of fewer words a slice says little.
FEWEST_WORDS = 100
# Slices of clips that have nothing in common.
REST = re.compile(r"not stated|others \(\d+\)")


def interpretation(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> list[str]:
    """
    All that the rules have to say, in their order.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): With the adapter as the judged system.
        titles (`Mapping[str, str]`): What the card calls the corpora.

    Returns:
        `list[str]`: Sentences as plain text, without markup.
    """
    rules = (
        against_base(evaluation, titles),
        corpora_against_base(evaluation, titles),
        best_and_worst(evaluation, titles),
        weight_of_the_pool(evaluation, titles),
        kinds_of_edits(evaluation),
        by_duration(evaluation),
        *(by_group(evaluation, kind, titles) for kind in ("speaker", "gender", "accent")),
        without_normalising(evaluation),
    )
    return [sentence for sentence in rules if sentence]


def whole(evaluation: EvaluationRecord) -> CorpusResult:
    """The pool, or the one corpus that there is."""
    return evaluation.rows[-1]


def against_base(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> str:
    """Whether adapter and base can be told apart, on all clips together."""
    result = whole(evaluation)
    base, against = result.of(BASE), result.against(BASE)
    if base is None or against is None:
        return ""
    where = "all corpora pooled" if len(evaluation.corpora) > 1 else titles[result.name]
    went = f"from {percent(base.normalized.wer)} (the base) to {percent(result.main_system.normalized.wer)}"
    bounds = change_in_words(against)
    limits = "".join(f"; {reason}" for reason in reasons(result, BASE))
    if against.verdict == "not comparable":
        return f"On {where} the WER goes {went}, {bounds}, but the two are not comparable{limits}."
    if against.verdict == "no measurable difference":
        said = "the interval includes 0, so no difference was measured"
    else:
        said = f"the interval leaves 0 out, and the adapter is {against.verdict}"
    return f"On {where} the WER goes {went}, {bounds}: {said}{limits}."


def corpora_against_base(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> str:
    """On how many corpora it is better, and on which it is not."""
    found = [(titles[each.name], against.verdict) for each in evaluation.corpora if (against := each.against(BASE))]
    if len(found) < 2:
        return ""
    groups = by_verdict(found)
    said = f"The adapter is better than the base on {len(groups.get('better', []))} of {len(found)} corpora"
    words: dict[Verdict, str] = {
        "worse": "worse on",
        "no measurable difference": "without a measurable difference on",
        "not comparable": "not comparable on",
    }
    said += "".join(f"; {words[verdict]} {', '.join(groups[verdict])}" for verdict in words if verdict in groups)
    return f"{said}."


def best_and_worst(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> str:
    """The corpora of the lowest and of the highest WER."""
    if len(evaluation.corpora) < 2:
        return ""
    ranked = sorted(evaluation.corpora, key=lambda result: result.main_system.normalized.wer)
    low, high = (
        f"{titles[result.name]}, {rate_in_words(result.main_system.normalized)}" for result in (ranked[0], ranked[-1])
    )
    return f"Of {len(ranked)} corpora the WER is lowest on {low}, and highest on {high}."


def weight_of_the_pool(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> str:
    """Which corpus outweighs all others in the pool, and what the rate is without that weight."""
    largest = max(evaluation.corpora, key=lambda result: result.word_share)
    mean = next((mean for mean in evaluation.macro if mean.system == evaluation.main_system.name), None)
    if len(evaluation.corpora) < 2 or largest.word_share <= 0.5 or mean is None:
        return ""
    return (
        f"{percent(largest.word_share)} of the pooled words are of {titles[largest.name]}, so that the pooled WER of"
        f" {percent(evaluation.pooled.main_system.normalized.wer)} follows that corpus; with every corpus weighing the"
        f" same it is {percent(mean.wer)}."
    )


def kinds_of_edits(evaluation: EvaluationRecord) -> str:
    """Of what kinds the wrong words are, the adapter's and the base's."""
    result = whole(evaluation)
    base = result.of(BASE)
    said = _kinds(result.main_system.normalized)
    if not said:
        return f"The adapter made no word edit in {thousands(result.main_system.normalized.reference_words)} words."
    of_base = _kinds(base.normalized) if base else ""
    return f"Word edits of the adapter: {said}." + (f" Those of the base: {of_base}." if of_base else "")


def by_duration(evaluation: EvaluationRecord) -> str:
    """What the length of a clip does to the WER."""
    slices = _slices(evaluation, "duration")
    if len(slices) < 2:
        return ""
    first, last = slices[0], slices[-1]
    change = points(_wer(evaluation, last) - _wer(evaluation, first))
    said = f"From the shortest to the longest clips the WER goes from {_slice(evaluation, first)} to"
    said += f" {_slice(evaluation, last)}, {change} points"
    highest = max(slices, key=lambda part: _wer(evaluation, part))
    if highest not in (first, last):
        said += f"; it is highest at {_slice(evaluation, highest)}"
    return f"{said}."


def by_group(evaluation: EvaluationRecord, kind: str, titles: Mapping[str, str]) -> str:
    """How far speakers, genders or accents lie apart; speakers are counted, never named."""
    said = []
    for result in evaluation.corpora:
        slices = [part for part in _slices(evaluation, kind, result) if not REST.fullmatch(part.value)]
        if len(slices) < 2:
            continue
        ranked = sorted(slices, key=lambda part: _wer(evaluation, part))
        low, high = (
            percent(_wer(evaluation, part)) if kind == "speaker" else _slice(evaluation, part)
            for part in (ranked[0], ranked[-1])
        )
        said.append(f"{titles[result.name]}, {len(slices)} of at least {FEWEST_WORDS} words: {low} to {high}")
    return f"WER by {kind}, lowest to highest: {'; '.join(said)}." if said else ""


def without_normalising(evaluation: EvaluationRecord) -> str:
    """What the normaliser does to the WER."""
    ours = whole(evaluation).main_system
    if evaluation.normalizer == "raw" or ours.raw.wer == ours.normalized.wer:
        return ""
    change = points(ours.raw.wer - ours.normalized.wer)
    return f"Of the texts as they are, not normalised, the WER is {percent(ours.raw.wer)}, {change} points."


def _kinds(rates: Rates) -> str:
    counts = {name: getattr(rates, name) for name in ("substitutions", "deletions", "insertions")}
    return ", ".join(
        f"{thousands(n)} {name} ({percent(n / rates.edits)})" for name, n in counts.items() if rates.edits
    )


def _slices(evaluation: EvaluationRecord, kind: str, result: CorpusResult | None = None) -> list[Slice]:
    slices = (result or whole(evaluation)).slices
    return [part for part in slices if part.by == kind and part.reference_words >= FEWEST_WORDS]


def _wer(evaluation: EvaluationRecord, part: Slice) -> float:
    return part.wer[evaluation.main_system.name]


def _slice(evaluation: EvaluationRecord, part: Slice) -> str:
    return f"{percent(_wer(evaluation, part))} ({part.value}, {thousands(part.n)} clips)"
