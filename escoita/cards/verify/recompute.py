"""Recompute the rates from the published predictions."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from escoita.cards.verify.check import Check, compared
from escoita.data.readers import read_corpus
from escoita.errors import EscoitaError, RecordError
from escoita.evaluation.predictions import counts_path, hashed, opened, read_predictions, write_predictions
from escoita.evaluation.verdicts import UNLIMITED
from escoita.metrics.normalizers import NORMALIZERS
from escoita.recipe.schema import Corpus
from escoita.records.evaluation import METRICS, PROBES, CorpusResult, EvaluationRecord


# (folder, normalizer, resamples, corpora) of [`~escoita.evaluation.aggregate.score`].
Score = Callable[..., EvaluationRecord]
# Lines with the values of two files.
Differences = Iterator[str]
# The last digits of floating-point sums depend on the machine.
TOLERANCE = 1e-9
# More resamples need hours and all memory, and are not more accurate.
MOST_RESAMPLES = 100_000
RESULTS = "eval/results.json"
# The longest value in a line; values of a repository may have any length.
MOST_CHARACTERS = 100
# Keys that identify the members of a list in a record.
_NAMES = ("name", "system", "other", "value")


def recomputed(
    folder: Path, published: EvaluationRecord, score: Score, may_be_of_0_1: bool = False
) -> EvaluationRecord:
    """
    Score the published predictions with the settings of the record.

    Args:
        folder (`Path`): Published folder `eval`.
        published ([`EvaluationRecord`]): Record with normalizer, number of resamples and corpora.
        score (`Callable`): Function [`~escoita.evaluation.aggregate.score`].
        may_be_of_0_1 (`bool`, *optional*, defaults to `False`): Whether the record may be from escoita 0.1.0, which
            neither counted unusable hypotheses nor computed intervals over speakers. If it has none of these counts,
            both are removed from the recomputed record; the verdicts still depend on the counts.

    Raises:
        RecordError: Predictions are missing, cannot be read or do not match; or there are too many resamples.
    """
    require_scorable(published)
    # escoita 0.1.0 compared raw texts without composing characters.
    of_0_1 = may_be_of_0_1 and published.is_of_0_1
    settings: dict[str, Any] = {"compose": not of_0_1}
    if published.primary != "wer":
        settings["primary"] = published.primary
    if published.retention:
        settings["retention_normalizers"] = published.retention_normalizers
    counted = score(folder, published.normalizer, published.resamples, published.predicted, **settings)
    counted = counted.model_copy(update={"rescored": published.rescored})
    if of_0_1:
        shortened = [_as_of_0_1(result) for result in counted.corpora]
        return counted.model_copy(update={"corpora": shortened, "pooled": _as_of_0_1(counted.pooled)})
    return counted


def _as_of_0_1(result: CorpusResult) -> CorpusResult:
    """Return a result as escoita 0.1.0 wrote it."""
    no_speakers = {f"{metric}_speaker_ci95": None for metric in METRICS}
    systems = [
        each.model_copy(
            update={
                "unusable": None,
                "normalized": each.normalized.model_copy(update=no_speakers),
                "raw": each.raw.model_copy(update=no_speakers),
            }
        )
        for each in result.systems
    ]
    differences = [
        each.model_copy(update={"speaker_ci95": None, "verdict": UNLIMITED.get(each.verdict, each.verdict)})
        for each in result.differences
    ]
    changes = {"systems": systems, "differences": differences, "speakers": None, "few_speakers": False}
    return result.model_copy(update=changes)


def require_scorable(published: EvaluationRecord) -> None:
    """
    Check that a record can be recomputed.

    Raises:
        RecordError: A normalizer is unknown, or there are too many resamples.
    """
    names = {"normalizer": published.normalizer}
    names |= {f"retention.{name}": each for name, each in published.retention_normalizers.items()}
    if published.rescored:
        names["rescored"] = published.rescored.normalizer
    for key, name in names.items():
        if name not in NORMALIZERS:
            raise RecordError("unknown normalizer", path=RESULTS, key=key, value=name)
    if published.resamples > MOST_RESAMPLES:
        raise RecordError(f"at most {MOST_RESAMPLES}", path=RESULTS, key="resamples", value=published.resamples)


def check_rates(
    folder: Path, published: EvaluationRecord, counted: EvaluationRecord, counts_only: Sequence[str] = ()
) -> Check:
    """
    Compare every figure of the record, and report predictions that are not in it.

    Args:
        folder (`Path`): Published folder `eval`.
        published ([`EvaluationRecord`]): Published record.
        counted ([`EvaluationRecord`]): Record from [`recomputed`].
        counts_only (`Sequence[str]`, *optional*): Corpora that were recomputed from published counts.
    """
    found = list(differences(published.model_dump(mode="json"), counted.model_dump(mode="json")))
    uncounted = {path.parent.name for path in folder.glob("*/predictions*.parquet")} - set(published.predicted)
    found += [f"eval/{name}: published, but not in the record" for name in sorted(uncounted)]
    rates = sum(len(result.systems) for result in published.rows)
    holds = f"{rates} pairs of WER and CER, intervals and all other values equal those of the predictions"
    if counts_only:
        holds += f"; {', '.join(counts_only)}: recomputed from counts only"
    return compared(RESULTS, found, holds)


def differences(published: Any, counted: Any, where: str = "") -> Iterator[str]:
    """
    Yield the differences of two JSON documents with their positions; members with a name are identified by it.

    Args:
        published (`Any`): Published value.
        counted (`Any`): Recomputed value.
        where (`str`, *optional*): Position of both.
    """
    if isinstance(published, dict) and isinstance(counted, dict):
        for key in dict.fromkeys([*published, *counted]):
            name = _shown(key)
            yield from differences(published.get(key), counted.get(key), f"{where}.{name}" if where else name)
    elif isinstance(published, list) and isinstance(counted, list):
        if len(published) != len(counted):
            yield f"{where}: {len(published)} published, {len(counted)} recomputed"
            return
        for place, (ours, theirs) in enumerate(zip(published, counted, strict=True)):
            yield from differences(ours, theirs, f"{where}.{_name(ours, place)}")
    elif not same(published, counted):
        yield f"{where}: {_shown(published)} published, {_shown(counted)} recomputed"


def differing(pairs: Mapping[str, tuple[Any, Any]], first: str, second: str) -> Differences:
    """Yield a line for each key whose two values, of the first and of the second file, differ."""
    for key, (one, other) in pairs.items():
        if not same(one, other):
            yield f"{key}: {_shown(one)} in {first}, {_shown(other)} in {second}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def same(published: Any, counted: Any) -> bool:
    """Return whether two values are equal, numbers except for the last digits."""
    numbers = [
        value for value in (published, counted) if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    if len(numbers) == 2:
        return math.isclose(*numbers, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(published == counted)


def _name(member: Any, place: int) -> str:
    named = [str(member[key]) for key in _NAMES if key in member] if isinstance(member, Mapping) else []
    return _shown(named[0]) if named else str(place)


def requested_references(references: Sequence[str]) -> dict[str, Path]:
    """
    Parse the values of `--references`, `corpus=MANIFEST`.

    Raises:
        EscoitaError: The format is wrong, or a file is not found.
    """
    manifests = {}
    for reference in references:
        corpus, equals, manifest = reference.partition("=")
        if not equals or not corpus or not Path(manifest).is_file():
            problem = "file not found" if equals and corpus else "expected corpus=MANIFEST"
            raise EscoitaError(problem, key="--references", value=reference)
        manifests[corpus] = Path(manifest)
    return manifests


def hashed_corpora(folder: Path) -> set[str]:
    """
    Return the corpora with published digests instead of transcripts.

    Raises:
        RecordError: A file cannot be read.
    """
    paths = sorted(folder.glob("*/predictions*.parquet"))
    return {path.parent.name for path in paths if read_predictions(path)[1].references == "hashed"}


def transcripts(folder: Path, corpus: str, manifest: Path) -> dict[str, str]:
    """
    Read the transcripts of a corpus.

    Args:
        folder (`Path`): Published folder `eval`.
        corpus (`str`): Name of the corpus.
        manifest (`Path`): Manifest of the corpus, with the rows in any order.

    Returns:
        `dict[str, str]`: Transcripts by their digests.

    Raises:
        EscoitaError: The corpus was not published, or the manifest cannot be read.
    """
    tested = {path.parent.name for path in folder.glob("*/predictions*.parquet")} - {PROBES}
    if corpus not in tested:
        known = ", ".join(sorted(tested)) or "none"
        problem = f"not a published corpus; published: {known}"
        raise EscoitaError(problem, key="--references", value=f"{corpus}={manifest}")
    rows, rejected = read_corpus(Corpus(name="references", path=str(manifest)), "und")
    if not len(rows):
        problem = f"no usable row{f' ({rejected[0]})' if rejected else ''}"
        raise EscoitaError(problem, key="--references", value=f"{corpus}={manifest}")
    return {hashed(text): text for text in rows.column("text")}


def restore_transcripts(folder: Path, corpus: str, manifest: Path, texts: Mapping[str, str]) -> Check:
    """
    Compare the digests of a corpus with its transcripts, and replace them, so that rates are computed from texts.

    Args:
        folder (`Path`): Copy of the published folder `eval`, which is changed.
        corpus (`str`): Name of the corpus.
        manifest (`Path`): Manifest with the transcripts.
        texts (`Mapping[str, str]`): Transcripts from [`transcripts`].
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
                what, "differs", [f"no transcript in {manifest.name} for the digest in {some} of {path.name}"]
            )
        try:
            write_predictions(opened(table, provenance, [texts[digest] for digest in digests])[0], path)
        except RecordError as error:
            return Check(what, "differs", [str(error)])
    counts_path(folder, corpus).unlink(missing_ok=True)
    return Check(what, "holds", [f"{len(known)} digests match {manifest.name}; rates are computed from the texts"])
