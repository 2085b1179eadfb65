"""
Fail if a new evaluation is worse than an old one.

    python eval/gate.py runs/new/eval/results.json runs/old/eval/results.json --max-wer 0.2

Compares the main systems of two evaluations and prints a table in Markdown, for example for `$GITHUB_STEP_SUMMARY`.
Exits with status 1 if the new rate in the primary metric (WER, or CER for languages without spaces) is significantly
higher on a corpus or on all corpora pooled, be it for other speakers or only for those of the test set; if it is above
the limit; if the rate on another language increased by more than `--max-forgetting`; or if more than half of the new
hypotheses on a corpus are empty or loop.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from escoita.errors import RecordError
from escoita.evaluation.compare import ComparedEvaluation, CorpusComparison, compare
from escoita.evaluation.interval_texts import change, scope_of
from escoita.evaluation.presentation import decoding_text, detector_text, other_base_note
from escoita.evaluation.rows import verdict_label
from escoita.evaluation.verdict_texts import by_verdict, insertions_note, limit_note, reasons_of, retention_notes
from escoita.evaluation.verdicts import WORSE
from escoita.metrics.primary import metric_name
from escoita.records.evaluation import BASE, CorpusResult, EvaluationRecord, Metric, Verdict
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import code, line, percent, points, probability, thousands


ONLY_NEW, ONLY_OLD = "only in the new evaluation", "only in the old evaluation"


@dataclass(frozen=True)
class Gate:
    """
    Store the comparison of two evaluations.

    Args:
        title (`str`): Title with both systems, in Markdown.
        compared (`list[CorpusComparison]`): Comparison on each common corpus, and on all of them pooled.
        only_new (`dict[str, tuple[int, float]]`): Clips and rate of corpora that are only in the new evaluation.
        only_old (`dict[str, tuple[int, float]]`): Clips and rate of corpora that are only in the old evaluation.
        max_wer (`float`, *optional*): Limit of the new rate in the primary metric on every corpus, a fraction.
        failed (`tuple[str]`, *optional*): Corpora on which more than half of the new hypotheses are empty or loop.
        notes (`tuple[str]`, *optional*): Sentences on rates over 100 % and on the bases, in Markdown.
        max_forgetting (`float`, *optional*): Limit of the increase of the rate from base to adapter on each corpus of
            another language, a fraction.
        retention (`tuple[CorpusResult]`, *optional*): Results of the new evaluation on these corpora.
        metric (`str`, *optional*, defaults to `"wer"`): Primary metric of the new evaluation, which decides.
    """

    title: str
    compared: list[CorpusComparison]
    only_new: dict[str, tuple[int, float]]
    only_old: dict[str, tuple[int, float]]
    max_wer: float | None = None
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    max_forgetting: float | None = None
    retention: tuple[CorpusResult, ...] = ()
    metric: Metric = "wer"

    @property
    def over(self) -> list[str]:
        """Return the corpora on which the new rate is above the limit."""
        rates = [(row.name, row.rates[0]) for row in self.compared]
        rates += [(name, rate) for name, (_, rate) in self.only_new.items()]
        return [name for name, rate in rates if self.max_wer is not None and rate > self.max_wer]

    @property
    def passed(self) -> bool:
        """Return whether the new evaluation passes."""
        return not (any(map(self.found, WORSE)) or self.over or self.failed or self.forgotten)

    @property
    def forgotten(self) -> list[str]:
        """Return the corpora of other languages on which the rate increased by more than the limit."""
        limit = self.max_forgetting
        changes = ((result.name, result.against(BASE)) for result in self.retention)
        return [name for name, found in changes if found and limit is not None and found.value > limit]

    def found(self, verdict: Verdict) -> list[str]:
        """Return the corpora of a verdict."""
        return by_verdict((row.name, row.verdict) for row in self.compared).get(verdict, [])

    def markdown(self) -> str:
        """Return title, table, notes, and the conclusion as Markdown."""
        rows = [_cells(row, self.metric) for row in self.compared]
        for verdict, only, place in ((ONLY_NEW, self.only_new, 1), (ONLY_OLD, self.only_old, 0)):
            for name, (clips, rate) in only.items():
                rates = ["–", "–"]
                rates[place] = percent(rate)
                rows.append([line(name), thousands(clips), "–", *rates, "–", "–", verdict, "–"])
        metric, difference = metric_name(self.metric), "Difference in points (95 % CI)"
        rates = [f"Old {metric}", f"New {metric}"]
        heads = ["Corpus", "Clips", "Speakers", *rates, difference, "p", "Verdict", "Method"]
        table = [heads, ["---", *["---:"] * 6, "---", "---"], *rows]
        limits = [
            line(limit_note(row.name, _named("new"), _named("old"), reason))
            for row in self.compared
            for reason in reasons_of(*row.outcomes, _named, self.metric)
        ]
        forgetting = [line(sentence) for sentence in retention_notes(self.retention)]
        notes = [f"- {note}" for note in [*limits, *forgetting, *self.notes]]
        notes += [""] * bool(notes)
        return "\n".join([self.title, "", *(f"| {' | '.join(row)} |" for row in table), "", *notes, self.conclusion()])

    def conclusion(self) -> str:
        """Return the last line: pass or fail, with the reasons."""
        reasons = {
            "worse on": self.found("worse"),
            "worse for the speakers of": self.found("worse for these speakers"),
            f"above the limit of {percent(self.max_wer)} on": self.over,
            "more than half of the hypotheses are empty or loop on": list(self.failed),
            f"the rate increased by more than {points(self.max_forgetting or 0)} points on": self.forgotten,
            "better on": self.found("better"),
            "better for the speakers of": self.found("better for these speakers"),
            "no measurable difference on": self.found("no measurable difference"),
            "not comparable on": self.found("not comparable"),
            f"{ONLY_NEW}:": list(self.only_new),
            f"{ONLY_OLD}:": list(self.only_old),
        }
        clauses = [f"{reason} {', '.join(map(line, names))}" for reason, names in reasons.items() if names]
        return f"**{'Pass' if self.passed else 'Fail'}:** {'; '.join(clauses)}."


def gate(new: Path, old: Path, max_wer: float | None = None, max_forgetting: float | None = None) -> Gate:
    """
    Compare two evaluations.

    If both have predictions of the same clips next to their records, they are compared by a paired bootstrap. If not,
    the confidence intervals of the records are compared, which detects only larger differences.

    Args:
        new (`Path`): `results.json` of the new evaluation, its folder, or its run directory.
        old (`Path`): `results.json` of the old evaluation, its folder, or its run directory.
        max_wer (`float`, *optional*): Limit of the new rate in the primary metric on every corpus, a fraction.
        max_forgetting (`float`, *optional*): Limit of the increase of the rate from base to adapter on each corpus of
            `eval.retention`, a fraction.

    Raises:
        RecordError: A record does not exist, or the evaluations have no common corpus.
    """
    paths = _results(new), _results(old)
    records = [EvaluationRecord.read(path) for path in paths]
    raw = records[0].normalizer != records[1].normalizer
    ours, theirs = (ComparedEvaluation(path.parent, record, raw) for path, record in zip(paths, records, strict=True))
    if max_forgetting is not None and not records[0].retention:
        hint = "name test sets of other languages in eval.retention, and evaluate again"
        raise RecordError("no corpus measures forgetting", path=paths[0], key="--max-forgetting", hint=hint)
    compared = compare(ours, theirs)
    if not compared:
        raise RecordError(f"no common corpus with {paths[1]}", path=paths[0], hint="evaluate on the same test corpora")
    main_system = [
        f"{code(record.main_system.name)} in {code(path)}" for record, path in zip(records, paths, strict=True)
    ]
    texts = [code(record.normalizer) for record in records]
    how = (
        f"texts without normalization, because the normalizers differ ({texts[0]}, {texts[1]})"
        if raw
        else f"normalizer {texts[0]}"
    )
    title = f"{metric_name(ours.primary)} of {main_system[0]} compared with {main_system[1]}; {how}."
    outcomes = [(result, ours.outcome([result], "new")) for result in ours.record.corpora]
    failed = [result.name for result, each in outcomes if each.failed]
    failed += [row.name for row in compared if row.failed and row.name not in failed]  # the pool
    notes = [
        line(f"{insertions_note(each, result.name, _named)}.")
        for result, each in outcomes
        if each.wer > 1 and ours.primary == "wer"
    ]
    sides = dict(zip(("new", "old"), records, strict=True))
    notes += [*_of_other_bases(sides), *_of_other_decoding(sides), *_of_other_metrics(sides)]
    only = _only(ours, theirs, ours.primary), _only(theirs, ours, ours.primary)
    forgetting = max_forgetting, tuple(records[0].retention)
    return Gate(title, compared, *only, max_wer, tuple(failed), tuple(notes), *forgetting, ours.primary)


def _results(path: Path) -> Path:
    if not path.is_dir():
        return path
    run = RunDirectory(path)
    return run.results if run.eval.is_dir() else path / run.results.name


def _of_other_bases(records: Mapping[str, EvaluationRecord]) -> Iterator[str]:
    """Yield notes on evaluations with another base than that of the training, and on different bases."""
    bases = {name: record.main_system for name, record in records.items()}
    for name, system in bases.items():
        if note := other_base_note(system):
            yield f"Another base in {_named(name)}: {note}"
    if len({system.base_sha256 for system in bases.values()}) > 1:
        yield line(
            f"The bases differ: {bases['new'].base} ({bases['new'].base_sha256[:12]}) in {_named('new')},"
            f" {bases['old'].base} ({bases['old'].base_sha256[:12]}) in {_named('old')}."
        )


def _of_other_decoding(records: Mapping[str, EvaluationRecord]) -> Iterator[str]:
    """Yield a note if the two systems decode differently, which by itself changes the rates."""
    found = {
        name: ", ".join(filter(None, (decoding_text(system), _limit(system.max_new_tokens), detector_text(system))))
        for name, system in ((name, record.main_system) for name, record in records.items())
    }
    if len(set(found.values())) > 1:
        sides = ", ".join(f"{text} in {_named(name)}" for name, text in found.items())
        yield line(f"The decoding differs: {sides}.")


def _of_other_metrics(records: Mapping[str, EvaluationRecord]) -> Iterator[str]:
    """Yield a note if the primary metrics differ; that of the new evaluation decides."""
    if len({record.primary for record in records.values()}) > 1:
        sides = ", ".join(f"{metric_name(record.primary)} in {_named(name)}" for name, record in records.items())
        yield line(f"The primary metrics differ: {sides}. The comparison is by {metric_name(records['new'].primary)}.")


def _limit(max_new_tokens: int | None) -> str:
    return "no token limit" if max_new_tokens is None else f"at most {thousands(max_new_tokens)} tokens"


def _named(side: str) -> str:
    """Return the name of the new or the old evaluation within a sentence."""
    return f"the {side} evaluation"


def _only(one: ComparedEvaluation, other: ComparedEvaluation, metric: Metric) -> dict[str, tuple[int, float]]:
    """Return clips and rate of the corpora that are not in the other evaluation."""
    known = {result.name for result in other.record.corpora}
    return {
        result.name: (result.n, one.rates(result).rate(metric))
        for result in one.record.corpora
        if result.name not in known
    }


def _cells(row: CorpusComparison, metric: Metric) -> list[str]:
    ours, theirs = row.clips
    return [
        line(row.name),
        thousands(ours) if ours == theirs else f"{thousands(theirs)} (old), {thousands(ours)} (new)",
        "–" if row.speakers is None else thousands(row.speakers),
        percent(row.rates[1]),
        percent(row.rates[0]),
        change(row.difference, row.ci95, row.speaker_ci95, scope_of(row.few_speakers, row.speakers)),
        "–" if row.p_value is None else probability(row.p_value),
        verdict_label(row.verdict, row.disagree and metric == "wer"),
        line(row.how),
    ]
