"""
Refuses what became worse.

    python eval/gate.py runs/new/eval/results.json runs/old/eval/results.json --max-wer 0.2

Compares what was judged in one evaluation with what was judged in another, prints a table in Markdown, fit for
`$GITHUB_STEP_SUMMARY`, and exits with status 1 if the new one is worse with 95 % confidence on a corpus or on all
together, if its WER is over the limit, or if more than half of its hypotheses on a corpus are empty or loop.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from escoita.errors import RecordError
from escoita.evaluation.compare import Compared, Evaluated, compare
from escoita.evaluation.presentation import (
    by_verdict,
    change,
    insertions_note,
    limit_note,
    other_base_note,
    reasons_of,
    verdict_label,
)
from escoita.records.evaluation import EvaluationRecord, Verdict
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import code, line, percent, probability, thousands


HEADS = ("Corpus", "Clips", "Old WER", "New WER", "Difference in points (95 %)", "p", "Verdict", "Compared by")
ONLY_NEW, ONLY_OLD = "only in the new one", "only in the old one"


@dataclass(frozen=True)
class Gate:
    """
    Two evaluations side by side.

    Args:
        title (`str`): What is compared, in Markdown.
        compared (`list[Compared]`): Each corpus that both have, and all of them together where there are several.
        only_new (`dict[str, tuple[int, float]]`): Clips and WER of corpora that only the new one has.
        only_old (`dict[str, tuple[int, float]]`): The same of the old one.
        max_wer (`float`, *optional*): Limit of the new WER on every corpus, a fraction.
        failed (`tuple[str]`, *optional*): Corpora on which more than half of the new hypotheses are empty or loop.
        notes (`tuple[str]`, *optional*): Sentences on rates over 100 % and on the bases, as Markdown.
    """

    title: str
    compared: list[Compared]
    only_new: dict[str, tuple[int, float]]
    only_old: dict[str, tuple[int, float]]
    max_wer: float | None = None
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def over(self) -> list[str]:
        """Where the new WER is over the limit."""
        rates = [(row.name, row.wer[0]) for row in self.compared]
        rates += [(name, wer) for name, (_, wer) in self.only_new.items()]
        return [name for name, wer in rates if self.max_wer is not None and wer > self.max_wer]

    @property
    def passed(self) -> bool:
        """Whether the new one may pass."""
        return not self.found("worse") and not self.over and not self.failed

    def found(self, verdict: Verdict) -> list[str]:
        """Return the corpora of a verdict."""
        return by_verdict((row.name, row.verdict) for row in self.compared).get(verdict, [])

    def markdown(self) -> str:
        """Title, table, notes, and a last line that says whether the new one passed and why."""
        rows = [_cells(row) for row in self.compared]
        for verdict, only, place in ((ONLY_NEW, self.only_new, 1), (ONLY_OLD, self.only_old, 0)):
            for name, (clips, wer) in only.items():
                rates = ["–", "–"]
                rates[place] = percent(wer)
                rows.append([line(name), thousands(clips), *rates, "–", "–", verdict, "–"])
        table = [HEADS, ["---", *["---:"] * 5, "---", "---"], *rows]
        limits = [
            line(limit_note(row.name, _named("new"), _named("old"), reason))
            for row in self.compared
            for reason in reasons_of(*row.outcomes, _named)
        ]
        notes = [f"- {note}" for note in [*limits, *self.notes]]
        notes += [""] * bool(notes)
        return "\n".join([self.title, "", *(f"| {' | '.join(row)} |" for row in table), "", *notes, self.conclusion()])

    def conclusion(self) -> str:
        """The last line."""
        reasons = {
            "worse on": self.found("worse"),
            f"over the limit of {percent(self.max_wer)} on": self.over,
            "more than half of the hypotheses are empty or loop on": list(self.failed),
            "better on": self.found("better"),
            "no measurable difference on": self.found("no measurable difference"),
            "not comparable on": self.found("not comparable"),
            f"{ONLY_NEW}:": list(self.only_new),
            f"{ONLY_OLD}:": list(self.only_old),
        }
        said = [f"{reason} {', '.join(map(line, names))}" for reason, names in reasons.items() if names]
        return f"**{'Pass' if self.passed else 'Fail'}:** {'; '.join(said)}."


def gate(new: Path, old: Path, max_wer: float | None = None) -> Gate:
    """
    Compares two evaluations.

    Where the predictions of both stand beside the records and are of the same clips, clips are compared by a paired
    bootstrap; else the intervals of the records are, which takes a larger difference to tell.

    Args:
        new (`Path`): `results.json`, the folder that holds it, or a run directory.
        old (`Path`): The same of the evaluation that it is compared with.
        max_wer (`float`, *optional*): Limit of the new WER on every corpus, a fraction.

    Raises:
        RecordError: A record is missing, or they have no corpus in common.
    """
    paths = _results(new), _results(old)
    records = [EvaluationRecord.read(path) for path in paths]
    raw = records[0].normalizer != records[1].normalizer
    ours, theirs = (Evaluated(path.parent, record, raw) for path, record in zip(paths, records, strict=True))
    compared = compare(ours, theirs)
    if not compared:
        raise RecordError(f"{paths[0]} and {paths[1]}: have no corpus in common, so there is nothing to compare")
    main_system = [
        f"{code(record.main_system.name)} in {code(path)}" for record, path in zip(records, paths, strict=True)
    ]
    texts = [code(record.normalizer) for record in records]
    how = f"raw texts, as the normalisers differ ({texts[0]}, {texts[1]})" if raw else f"normaliser {texts[0]}"
    title = f"WER of {main_system[0]} against {main_system[1]}; {how}."
    outcomes = [(result, ours.outcome([result], "new")) for result in ours.record.corpora]
    failed = [result.name for result, each in outcomes if each.failed]
    failed += [row.name for row in compared if row.failed and row.name not in failed]  # the pool
    notes = [line(f"{insertions_note(each, result.name, _named)}.") for result, each in outcomes if each.wer > 1]
    notes += _of_other_bases(dict(zip(("new", "old"), records, strict=True)))
    return Gate(title, compared, _only(ours, theirs), _only(theirs, ours), max_wer, tuple(failed), tuple(notes))


def _results(path: Path) -> Path:
    if not path.is_dir():
        return path
    run = RunDirectory(path)
    return run.results if run.eval.is_dir() else path / run.results.name


def _of_other_bases(records: Mapping[str, EvaluationRecord]) -> Iterator[str]:
    """Say which evaluation was made on another base than its adapter was trained on, and whether the bases differ."""
    bases = {name: record.main_system for name, record in records.items()}
    for name, system in bases.items():
        if note := other_base_note(system):
            yield f"Another base, of {_named(name)}: {note}"
    if len({system.base_sha256 for system in bases.values()}) > 1:
        yield line(
            f"They are of different bases: the new one of {bases['new'].base} ({bases['new'].base_sha256[:12]}), the"
            f" old one of {bases['old'].base} ({bases['old'].base_sha256[:12]})."
        )


def _named(side: str) -> str:
    """Return the name of the new or the old evaluation within a sentence."""
    return f"the {side} one"


def _only(one: Evaluated, other: Evaluated) -> dict[str, tuple[int, float]]:
    """Corpora that only the one has."""
    known = {result.name for result in other.record.corpora}
    return {
        result.name: (result.n, one.rates(result).wer) for result in one.record.corpora if result.name not in known
    }


def _cells(row: Compared) -> list[str]:
    ours, theirs = row.clips
    return [
        line(row.name),
        thousands(ours) if ours == theirs else f"{thousands(theirs)}, now {thousands(ours)}",
        percent(row.wer[1]),
        percent(row.wer[0]),
        change(row.difference, row.ci95),
        "–" if row.p_value is None else probability(row.p_value),
        verdict_label(row.verdict, row.disagree),
        line(row.how),
    ]
