"""What a pull request says of itself: the rates before and now, and the files that change."""

from collections.abc import Iterable, Iterator

from escoita.records.evaluation import CorpusResult, EvaluationRecord
from escoita.utils.figures import interval, percent
from escoita.hub.changes import STYLES, Change
from escoita.utils.markdown import code, line


POOLED = "All, pooled by words"


def description(before: bytes | None, now: bytes, found: Iterable[Change]) -> str:
    """
    Writes what a pull request changes.

    Args:
        before (`bytes`, *optional*): `eval/results.json` of the revision that it is to be merged into.
        now (`bytes`): The same as it will be.
        found (`Iterable[Change]`): What becomes of each file.

    Returns:
        `str`: Markdown; rates in percent, with their 95 % bootstrap intervals.
    """
    new, old = EvaluationRecord.from_json(now), None
    notes = []
    if before is not None:
        try:
            old = EvaluationRecord.from_json(before)
        except ValueError:
            notes.append("The results that are there cannot be read, as they are of another schema.")
    if old and old.normalizer != new.normalizer:
        notes.append(
            f"The rates before are of texts under the normaliser {code(old.normalizer)}, the new ones under "
            f"{code(new.normalizer)}: they cannot be compared."
        )
    parts = ["\n".join(_table(old, new)), *notes]
    parts += [f"{kind.capitalize()}: {', '.join(code(path) for path in paths)}." for kind, paths in _files(found)]
    return "\n\n".join(parts) + "\n"


def _table(old: EvaluationRecord | None, new: EvaluationRecord) -> Iterator[str]:
    before, now = _rows(old), _rows(new)
    yield "| corpus | N | WER before | WER now |"
    yield "|---|---:|---:|---:|"
    names = [*now, *(name for name in before if name not in now)]
    if len(names) == 2:  # of one corpus the pool says the same again
        names.remove(POOLED)
    for name in names:
        result = now.get(name) or before[name]
        yield f"| {line(name)} | {result.n} | {_wer(before.get(name))} | {_wer(now.get(name))} |"


def _rows(record: EvaluationRecord | None) -> dict[str, CorpusResult]:
    if record is None:
        return {}
    return {result.name: result for result in record.corpora} | {POOLED: record.pooled}


def _wer(result: CorpusResult | None) -> str:
    if result is None:
        return "–"
    rates = result.judged.normalized
    return f"{percent(rates.wer)} ({interval(rates.wer_ci95)})"


def _files(found: Iterable[Change]) -> Iterator[tuple[str, list[str]]]:
    changes = list(found)
    for kind in STYLES:
        if kind != "unchanged" and (paths := [change.path for change in changes if change.kind == kind]):
            yield kind, paths
