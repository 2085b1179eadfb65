"""Records as strangers read them: without transcripts that may not be published, and without names of persons."""

import re
from collections.abc import Mapping
from pathlib import Path

from escoita.errors import RecordError
from escoita.evaluation.predictions import counts_path, described, parquet, public, public_speakers, read_predictions
from escoita.recipe.schema import Recipe
from escoita.records.data import Clip, CorpusData, DataRecord, Odd, Pair
from escoita.records.evaluation import CorpusResult, EvaluationRecord, System
from escoita.records.training import TrainingRecord


# In the place of a transcript, of a number out of one.
NO_TEXT, NO_NUMBER = "(not published)", "a number is not written as it is spoken"
_ROW = re.compile(r"(?P<row>.*?:\d+): (?:(?P<file>.*?): )?(?P<reason>.*)", re.DOTALL)
_QUOTED = re.compile("['\"“].*['\"”]", re.DOTALL)
# Who speaks each clip of a corpus, by what they are called in public.
Speakers = Mapping[str, str]


def withheld(recipe: Recipe) -> set[tuple[str, str]]:
    """Split and name of the corpora whose transcripts may not be published."""
    splits = recipe.corpora.train, recipe.corpora.validation, recipe.corpora.test
    return {
        (split, corpus.name)
        for split, corpora in zip(("train", "validation", "test"), splits, strict=True)
        for corpus in corpora
        if not corpus.publish_references
    }


def redacted_predictions(
    folder: Path, corpus: str, recipe: Recipe, base: str, base_sha256: str
) -> tuple[dict[str, bytes], Speakers]:
    """
    The predictions of one corpus as they are published; see [`~escoita.evaluation.predictions.public`].

    Args:
        folder (`Path`): Of all predictions of the run.
        corpus (`str`): Its name.
        recipe ([`Recipe`]): Says whether its transcripts may be published. Of a corpus that it no longer tests, the
            counts that the evaluation left say that they may not.
        base (`str`): Repository of the base.
        base_sha256 (`str`): What the base is known by.

    Returns:
        `tuple[dict[str, bytes], dict[str, str]]`: The files by their names, the counts of transcripts that may not be
        published among them; and what the speakers are called.

    Raises:
        RecordError: A file is not one of ours; or the transcripts may not be published, and were not counted.
    """
    counts = counts_path(folder, corpus)
    found = {path: read_predictions(path) for path in sorted((folder / corpus).glob("predictions*.parquet"))}
    asked = {each.name: not each.publish_references for each in recipe.corpora.test}
    private = asked.get(corpus, counts.is_file()) or any(made.references == "hashed" for _, made in found.values())
    files: dict[str, bytes] = {}
    speakers: list[str] = []
    for path, (table, provenance) in found.items():
        before, speakers = speakers, table["speaker"].to_pylist()
        if before and before != speakers:
            raise RecordError(f"{path}: names other speakers than the files beside it; run escoita eval again")
        table, provenance = public(table, provenance, private)
        system = redacted_system(provenance.system, base, base_sha256)
        files[path.name] = parquet(described(table, provenance.model_copy(update={"system": system})))
    if private and files:
        if not counts.is_file():
            raise RecordError(
                f"{counts}: missing; the transcripts of {corpus} may not be published, so their counts are, which"
                " escoita report --run makes"
            )
        files[counts.name] = counts.read_bytes()
    return files, {who: name for who, name in public_speakers(speakers).items() if who in speakers}


def redacted_evaluation(
    evaluation: EvaluationRecord, speakers: Mapping[str, Speakers], base: str, base_sha256: str
) -> EvaluationRecord:
    """
    What is scored of the predictions that [`redacted_predictions`] gives, to the last digit.

    Args:
        evaluation ([`EvaluationRecord`]): Of the run.
        speakers (`Mapping[str, dict[str, str]]`): Of each corpus, what its speakers are called.
        base (`str`): Repository of the base.
        base_sha256 (`str`): What the base is known by.

    Raises:
        RecordError: It names speakers that the predictions do not.
    """
    return evaluation.model_copy(
        update={
            "systems": [redacted_system(system, base, base_sha256) for system in evaluation.systems],
            "corpora": [_redacted_result(result, speakers.get(result.name, {})) for result in evaluation.corpora],
        }
    )


def redacted_system(system: System, base: str, base_sha256: str) -> System:
    """A system whose base is where a reader finds it, if it is the base of the run, whatever folder it was in here."""
    return system.model_copy(update={"base": base}) if system.base_sha256 == base_sha256 else system


def redacted_training(training: TrainingRecord, recipe: Recipe, base: str) -> TrainingRecord:
    """
    What happened, of each row that could not be used its source, its place there and why, but not the name of its
    recording, in which persons are often named; and not even why where a transcript might be quoted that may not be
    published.
    """
    silent = any(split != "test" for split, _ in withheld(recipe))
    return training.model_copy(
        update={"base": base, "rejected": [redacted_row(row, silent) for row in training.rejected]}
    )


def redacted_data(record: DataRecord, recipe: Recipe) -> DataRecord:
    """
    What the corpora hold, with examples that may be shown.

    Transcripts of corpora that the recipe does not let be published are left out, and so are those of other clips that
    are shown as the same. Who speaks is left out, also where the id of a clip says it.

    Args:
        record ([`DataRecord`]): Of the same recipe.
        recipe ([`Recipe`]): Says which transcripts may be published.

    Returns:
        [`DataRecord`]: Of a record that was redacted before, the same.
    """
    private = withheld(recipe)

    def pairs(examples: list[Pair]) -> list[Pair]:
        return [_redacted_pair(pair, private) for pair in examples]

    return record.model_copy(
        update={
            "corpora": [_redacted_corpus(data, private) for data in record.corpora],
            "duplicates": [each.model_copy(update={"examples": pairs(each.examples)}) for each in record.duplicates],
            "leaks": [each.model_copy(update={"examples": pairs(each.examples)}) for each in record.leaks],
        }
    )


def redacted_row(row: str, silent: bool) -> str:
    """A row that could not be used, without the name of its recording; if `silent`, without the reason too."""
    found = _ROW.fullmatch(row)
    if silent or not found:
        return f"{found['row']}: not used" if found else "a row: not used"
    return f"{found['row']}: {found['reason']}"


def _redacted_result(result: CorpusResult, speakers: Speakers) -> CorpusResult:
    parts = [part for part in result.slices if part.by == "speaker"]
    known = set(speakers) - {""}
    # Behind those with a name stand the rest of them together, where they are many, and the clips that name none.
    rest = ["not stated"] if known and "" in speakers else []
    named = len(parts) - len(rest)
    if named != len(known):
        named -= 1
        rest = [f"others ({len(known) - named})", *rest]
    told = [part.value for part in parts]
    if parts and (not known.issuperset(told[:named]) or told[named:] != rest):
        raise RecordError(
            f"results.json: names other speakers of {result.name} than the predictions; run escoita eval again"
        )
    names = [*map(speakers.__getitem__, told[:named]), *told[named:]]
    renamed = iter([part.model_copy(update={"value": name}) for part, name in zip(parts, names, strict=True)])
    return result.model_copy(
        update={"slices": [next(renamed) if part.by == "speaker" else part for part in result.slices]}
    )


def _redacted_corpus(data: CorpusData, private: set[tuple[str, str]]) -> CorpusData:
    silent = (data.split, data.name) in private
    reasons = [
        reason.model_copy(
            update={
                "reason": _QUOTED.sub("…", reason.reason) if silent else reason.reason,
                "examples": [redacted_row(row, silent) for row in reason.examples],
            }
        )
        for reason in data.reasons
    ]
    outliers = [
        kind.model_copy(
            update={
                "examples": [
                    Odd(
                        clip=_redacted_clip(odd.clip, silent),
                        detail=NO_NUMBER if silent and kind.kind == "digits" else odd.detail,
                    )
                    for odd in kind.examples
                ]
            }
        )
        for kind in data.outliers
    ]
    examples = [] if silent else data.normalization.examples
    normalization = data.normalization.model_copy(update={"examples": examples})
    return data.model_copy(update={"reasons": reasons, "outliers": outliers, "normalization": normalization})


def _redacted_pair(pair: Pair, private: set[tuple[str, str]]) -> Pair:
    silent = any((clip.split, clip.corpus) in private for clip in (pair.clip, pair.like))
    return Pair(clip=_redacted_clip(pair.clip, silent), like=_redacted_clip(pair.like, silent))


def _redacted_clip(clip: Clip, silent: bool) -> Clip:
    return clip.model_copy(
        update={
            "id": clip.public_id or clip.id,
            "text": NO_TEXT if silent else clip.text,
            "public_id": "",
        }
    )
