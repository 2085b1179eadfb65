"""
Write the interpretation of an evaluation for a card: one sentence from each rule.

Each rule is a function that returns a sentence with its figures, or an empty string if the record does not hold them.
"""

import re
from collections.abc import Mapping

from escoita.evaluation.interval_texts import change_in_words, of_speakers, rate_in_words
from escoita.evaluation.verdict_texts import by_verdict, reasons
from escoita.evaluation.verdicts import UNLIMITED
from escoita.metrics.primary import metric_name
from escoita.records.evaluation import BASE, METRICS, CorpusResult, EvaluationRecord, Rates, Slice, Tokens, Verdict
from escoita.utils.formatting import percent, points, thousands


# Slices with fewer reference words, or characters if the CER is the primary metric, are left out.
FEWEST: dict[Tokens, int] = {"words": 100, "characters": 500}
# Slices of clips without a common value.
REST = re.compile(r"not stated|others \(\d+\)")


def interpretation(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> list[str]:
    """
    Return the sentences of all rules, in their order.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): Evaluation of the adapter.
        titles (`Mapping[str, str]`): Titles of the corpora by name.

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
        without_normalization(evaluation),
    )
    return [sentence for sentence in rules if sentence]


def whole(evaluation: EvaluationRecord) -> CorpusResult:
    """Return the pooled result, or the result on the only corpus."""
    return evaluation.rows[-1]


def against_base(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> str:
    """Compare the adapter with the base model on all clips."""
    result = whole(evaluation)
    base, against = result.of(BASE), result.against(BASE)
    if base is None or against is None:
        return ""
    where = "all corpora pooled" if len(evaluation.corpora) > 1 else titles[result.name]
    metric = evaluation.primary
    before, after = (percent(each.normalized.rate(metric)) for each in (base, result.main_system))
    rates = f"from {before} (base) to {after} (adapter)"
    change = (
        f"On {where}, the {metric_name(metric)} changes {rates}, a difference of {change_in_words(against, result)}"
    )
    limits = "".join(f"; {reason}" for reason in reasons(result, BASE))
    if against.verdict == "not comparable":
        return f"{change}, but the two systems are not comparable{limits}."
    if against.verdict == "no measurable difference":
        return (
            f"{change}. The confidence interval includes 0: the difference is not statistically significant{limits}."
        )
    if against.verdict in UNLIMITED:
        return (
            f"{change}. For {of_speakers(result.speakers)}, the difference is statistically significant, and the"
            f" adapter is {UNLIMITED[against.verdict]}; it is not shown that this applies to other speakers{limits}."
        )
    significance = "The confidence interval excludes 0: the difference is statistically significant"
    return f"{change}. {significance}, and the adapter is {against.verdict}{limits}."


def corpora_against_base(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> str:
    """Count the corpora on which the adapter is better than the base model, and name the others."""
    found = [(titles[each.name], against.verdict) for each in evaluation.corpora if (against := each.against(BASE))]
    if len(found) < 2:
        return ""
    groups = by_verdict(found)
    sentence = f"The adapter is better than the base on {len(groups.get('better', []))} of {len(found)} corpora"
    words: dict[Verdict, str] = {
        "better for these speakers": "better only for the speakers of",
        "worse": "worse on",
        "worse for these speakers": "worse only for the speakers of",
        "no measurable difference": "no statistically significant difference on",
        "not comparable": "not comparable on",
    }
    sentence += "".join(f"; {words[verdict]} {', '.join(groups[verdict])}" for verdict in words if verdict in groups)
    return f"{sentence}."


def best_and_worst(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> str:
    """Name the corpora with the lowest and the highest WER."""
    if len(evaluation.corpora) < 2:
        return ""
    metric = evaluation.primary
    ranked = sorted(evaluation.corpora, key=lambda result: result.main_system.normalized.rate(metric))
    low, high = (f"{titles[result.name]}, {rate_in_words(result, metric)}" for result in (ranked[0], ranked[-1]))
    return f"Across {len(ranked)} corpora, the {metric_name(metric)} is lowest on {low}, and highest on {high}."


def weight_of_the_pool(evaluation: EvaluationRecord, titles: Mapping[str, str]) -> str:
    """Name the corpus with more than half of the pooled tokens, and give the rate with equal weights."""
    largest = max(evaluation.corpora, key=lambda result: result.share)
    mean = next((mean for mean in evaluation.macro if mean.system == evaluation.main_system.name), None)
    metric = evaluation.primary
    if len(evaluation.corpora) < 2 or largest.share <= 0.5 or mean is None:
        return ""
    return (
        f"{percent(largest.share)} of the pooled {METRICS[metric]} are from {titles[largest.name]}, which therefore"
        f" dominates the pooled {metric_name(metric)} of"
        f" {percent(evaluation.pooled.main_system.normalized.rate(metric))}; with equal weights for all corpora, the"
        f" {metric_name(metric)} is {percent(mean.rate(metric))}."
    )


def kinds_of_edits(evaluation: EvaluationRecord) -> str:
    """Count the word edits of the adapter and of the base model by type, unless the language has no spaces."""
    if evaluation.primary != "wer":
        return ""
    result = whole(evaluation)
    base = result.of(BASE)
    edits = _kinds(result.main_system.normalized)
    if not edits:
        return f"The adapter made no word edits in {thousands(result.main_system.normalized.reference_words)} words."
    of_base = _kinds(base.normalized) if base else ""
    return f"Word edits of the adapter: {edits}." + (f" Word edits of the base: {of_base}." if of_base else "")


def by_duration(evaluation: EvaluationRecord) -> str:
    """Compare the WER of the shortest and the longest clips."""
    slices = _slices(evaluation, "duration")
    if len(slices) < 2:
        return ""
    first, last = slices[0], slices[-1]
    change = points(_rate(evaluation, last) - _rate(evaluation, first))
    metric = metric_name(evaluation.primary)
    sentence = f"From the shortest to the longest clips, the {metric} changes from {_slice(evaluation, first)} to"
    sentence += f" {_slice(evaluation, last)}, a difference of {change} points"
    highest = max(slices, key=lambda part: _rate(evaluation, part))
    if highest not in (first, last):
        sentence += f"; the highest {metric} is {_slice(evaluation, highest)}"
    return f"{sentence}."


def by_group(evaluation: EvaluationRecord, kind: str, titles: Mapping[str, str]) -> str:
    """Give the lowest and the highest WER by speaker, gender or accent. Speakers are counted, never named."""
    ranges = []
    for result in evaluation.corpora:
        slices = [part for part in _slices(evaluation, kind, result) if not REST.fullmatch(part.value)]
        if len(slices) < 2:
            continue
        ranked = sorted(slices, key=lambda part: _rate(evaluation, part))
        low, high = (
            percent(_rate(evaluation, part)) if kind == "speaker" else _slice(evaluation, part)
            for part in (ranked[0], ranked[-1])
        )
        unit = METRICS[evaluation.primary]
        groups = f"{len(slices)} {kind}s with at least {FEWEST[unit]} {unit} each"
        ranges.append(f"{titles[result.name]}, {groups}: {low} to {high}")
    return f"{metric_name(evaluation.primary)} by {kind}, lowest to highest: {'; '.join(ranges)}." if ranges else ""


def without_normalization(evaluation: EvaluationRecord) -> str:
    """Give the WER without normalization."""
    ours = whole(evaluation).main_system
    metric = evaluation.primary
    raw, normalized = ours.raw.rate(metric), ours.normalized.rate(metric)
    if not evaluation.normalizes or raw == normalized:
        return ""
    change = points(raw - normalized)
    return f"Without normalization, the {metric_name(metric)} is {percent(raw)}, a difference of {change} points."


def _kinds(rates: Rates) -> str:
    counts = {name: getattr(rates, name) for name in ("substitutions", "deletions", "insertions")}
    return ", ".join(
        f"{thousands(n)} {name} ({percent(n / rates.edits)})" for name, n in counts.items() if rates.edits
    )


def _slices(evaluation: EvaluationRecord, kind: str, result: CorpusResult | None = None) -> list[Slice]:
    slices = (result or whole(evaluation)).slices
    return [part for part in slices if part.by == kind and _is_long(part)]


def _is_long(part: Slice) -> bool:
    if part.reference_characters is not None:
        return part.reference_characters >= FEWEST["characters"]
    return part.reference_words >= FEWEST["words"]


def _rate(evaluation: EvaluationRecord, part: Slice) -> float:
    return part.rates[evaluation.main_system.name]


def _slice(evaluation: EvaluationRecord, part: Slice) -> str:
    return f"{percent(_rate(evaluation, part))} ({part.value}, {thousands(part.n)} clips)"
