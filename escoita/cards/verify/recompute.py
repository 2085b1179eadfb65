"""Compute the rates again from the published predictions."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from escoita.cards.verify.check import Check, compared
from escoita.data.readers import read_corpus
from escoita.errors import EscoitaError, RecordError
from escoita.evaluation.predictions import counts_path, hashed, opened, read_predictions, write_predictions
from escoita.metrics.normalizers import NORMALIZERS
from escoita.recipe.schema import Corpus
from escoita.records.evaluation import PROBES, CorpusResult, EvaluationRecord


# (folder, normalizer, resamples, corpora) of [`~escoita.evaluation.aggregate.score`].
Score = Callable[[Path, str, int, list[str]], EvaluationRecord]
# Lines, each of which says what two files hold.
Differences = Iterator[str]
# Sums of floating point may come out otherwise on another machine, in the last digits.
TOLERANCE = 1e-9
# Intervals of more take hours and all memory, and are no better.
MOST_RESAMPLES = 100_000
# What tells apart the members of a list of a record.
_NAMES = ("name", "system", "other", "value")


def recomputed(
    folder: Path, published: EvaluationRecord, score: Score, may_be_of_0_1: bool = False
) -> EvaluationRecord:
    """
    Scores the published predictions as the record says that they were.

    Args:
        folder (`Path`): `eval` of what was published.
        published ([`EvaluationRecord`]): Says which normaliser, how many resamples, which corpora.
        score (`Callable`): `eval.results.score`.
        may_be_of_0_1 (`bool`, *optional*, defaults to `False`): The record may be of escoita 0.1.0, which did not
            count unusable hypotheses. If it holds none of these counts, the recomputed record holds none either; the
            verdicts depend on them nevertheless.

    Raises:
        RecordError: Predictions are missing, not of ours, or do not fit together; or there are too many resamples.
    """
    require_scorable(published)
    corpora = [result.name for result in published.corpora] + ([PROBES] if published.probes else [])
    counted = score(folder, published.normalizer, published.resamples, corpora)
    results = [*published.corpora, published.pooled]
    if may_be_of_0_1 and all(each.unusable is None for result in results for each in result.systems):
        shortened = [_without_unusable(result) for result in counted.corpora]
        return counted.model_copy(update={"corpora": shortened, "pooled": _without_unusable(counted.pooled)})
    return counted


def _without_unusable(result: CorpusResult) -> CorpusResult:
    systems = [each.model_copy(update={"unusable": None}) for each in result.systems]
    return result.model_copy(update={"systems": systems})


def require_scorable(published: EvaluationRecord) -> None:
    """
    Raises:
        RecordError: No normaliser here is called as the record says, or its intervals would take too long.
    """
    if published.normalizer not in NORMALIZERS:
        raise RecordError(f"eval/results.json: no normaliser is called {published.normalizer!r} here")
    if published.resamples > MOST_RESAMPLES:
        raise RecordError(f"eval/results.json: resamples is {published.resamples}; at most {MOST_RESAMPLES} are drawn")


def check_rates(folder: Path, published: EvaluationRecord, counted: EvaluationRecord) -> Check:
    """
    Compares every figure of the record, and looks for predictions that it does not count.

    Args:
        folder (`Path`): `eval` of what was published.
        published ([`EvaluationRecord`]): As it was published.
        counted ([`EvaluationRecord`]): From [`recomputed`].
    """
    found = list(differences(published.model_dump(mode="json"), counted.model_dump(mode="json")))
    known = {result.name for result in published.corpora} | ({PROBES} if published.probes else set())
    uncounted = {path.parent.name for path in folder.glob("*/predictions*.parquet")} - known
    found += [f"eval/{name}: is published, but not in the record" for name in sorted(uncounted)]
    rates = sum(len(result.systems) for result in published.rows)
    held = f"{rates} pairs of WER and CER, intervals and all else are what the predictions come to"
    return compared("eval/results.json", found, held)


def differences(published: Any, counted: Any, where: str = "") -> Iterator[str]:
    """
    What two documents of JSON have otherwise, each with its place: names, not numbers, where members have them.

    Args:
        published (`Any`): What stands there.
        counted (`Any`): What should.
        where (`str`, *optional*): The place of both.
    """
    if isinstance(published, dict) and isinstance(counted, dict):
        for key in dict.fromkeys([*published, *counted]):
            yield from differences(published.get(key), counted.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(published, list) and isinstance(counted, list):
        if len(published) != len(counted):
            yield f"{where}: {len(published)} published, {len(counted)} recomputed"
            return
        for place, (ours, theirs) in enumerate(zip(published, counted, strict=True)):
            yield from differences(ours, theirs, f"{where}.{_name(ours, place)}")
    elif not same(published, counted):
        yield f"{where}: {_said(published)} published, {_said(counted)} recomputed"


def differing(pairs: Mapping[str, tuple[Any, Any]], first: str, second: str) -> Differences:
    """Yield a line for each key whose two values, of the first and of the second file, differ."""
    for key, (one, other) in pairs.items():
        if not same(one, other):
            yield f"{key}: {_shown(one)} in {first}, {_shown(other)} in {second}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)[:80]


def same(published: Any, counted: Any) -> bool:
    """Whether two values are the same, numbers but for the last digits."""
    numbers = [
        value for value in (published, counted) if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    if len(numbers) == 2:
        return math.isclose(*numbers, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(published == counted)


def _name(member: Any, place: int) -> str:
    named = [str(member[key]) for key in _NAMES if key in member] if isinstance(member, Mapping) else []
    return named[0] if named else str(place)


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value)


def requested_references(references: Sequence[str]) -> dict[str, Path]:
    """
    Reads `corpus=MANIFEST`.

    Raises:
        EscoitaError: It is written otherwise, or there is no such file.
    """
    asked = {}
    for reference in references:
        corpus, equals, manifest = reference.partition("=")
        if not equals or not corpus or not Path(manifest).is_file():
            why = "there is no such file" if equals and corpus else "write corpus=MANIFEST"
            raise EscoitaError(f"--references {reference}: {why}")
        asked[corpus] = Path(manifest)
    return asked


def hashed_corpora(folder: Path) -> set[str]:
    """
    The corpora of which digests were published instead of transcripts.

    Raises:
        RecordError: A file is not one of ours.
    """
    paths = sorted(folder.glob("*/predictions*.parquet"))
    return {path.parent.name for path in paths if read_predictions(path)[1].references == "hashed"}


def transcripts(folder: Path, corpus: str, manifest: Path) -> dict[str, str]:
    """
    Reads the transcripts of a corpus.

    Args:
        folder (`Path`): The published `eval`.
        corpus (`str`): Its name there.
        manifest (`Path`): Rows of the corpus, in any order.

    Returns:
        `dict[str, str]`: The transcripts by their digests.

    Raises:
        EscoitaError: The corpus was not published, or the manifest cannot be read.
    """
    tested = {path.parent.name for path in folder.glob("*/predictions*.parquet")} - {PROBES}
    if corpus not in tested:
        known = ", ".join(sorted(tested)) or "none"
        raise EscoitaError(f"--references {corpus}={manifest}: no such corpus was published; there are {known}")
    rows, rejected = read_corpus(Corpus(name="asked", path=str(manifest)), "und")
    if not len(rows):
        raise EscoitaError(f"--references {corpus}={manifest}: no row can be used; {rejected[0] if rejected else ''}")
    return {hashed(text): text for text in rows.column("text")}


def put_back(folder: Path, corpus: str, manifest: Path, texts: Mapping[str, str]) -> Check:
    """
    Compares the digests of a corpus with its transcripts, and writes these in their place, so that all is counted from
    texts.

    Args:
        folder (`Path`): A copy of the published `eval`, which is changed.
        corpus (`str`): Its name there.
        manifest (`Path`): Where the transcripts were read.
        texts (`Mapping[str, str]`): Of [`transcripts`].
    """
    what = f"transcripts of {corpus}"
    for path in sorted((folder / corpus).glob("predictions*.parquet")):
        table, provenance = read_predictions(path)
        known = table["reference"].to_pylist()
        digests = known if provenance.references == "hashed" else [hashed(text) for text in known]
        missing = [row for row, digest in enumerate(digests, start=1) if digest not in texts]
        if missing:
            some = f"row {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            return Check(
                what, "differs", [f"{manifest.name} holds no transcript of the digest in {some} of {path.name}"]
            )
        try:
            write_predictions(opened(table, provenance, [texts[digest] for digest in digests])[0], path)
        except RecordError as error:
            return Check(what, "differs", [str(error)])
    counts_path(folder, corpus).unlink(missing_ok=True)
    return Check(
        what, "holds", [f"{len(known)} digests are those of {manifest.name}; rates are counted from the texts"]
    )
