"""Prepare records for publication: remove private transcripts and the names of persons."""

import re
from collections.abc import Mapping
from pathlib import Path

from escoita.errors import RecordError
from escoita.evaluation.predictions import counts_path, described, parquet, public, public_speakers, read_predictions
from escoita.recipe.schema import Recipe
from escoita.records.data import Clip, CorpusData, DataRecord, OutlierExample, Pair
from escoita.records.evaluation import CorpusResult, EvaluationRecord, System
from escoita.records.training import TrainingRecord


# Replacements of a transcript, and of a number from a transcript.
NO_TEXT, NO_NUMBER = "(not published)", "a number is not written as it is spoken"
_ROW = re.compile(r"(?P<row>.*?:\d+): (?:(?P<file>.*?): )?(?P<reason>.*)", re.DOTALL)
_QUOTED = re.compile("['\"“].*['\"”]", re.DOTALL)
# Public names of the speakers of a corpus, by their names in the run.
Speakers = Mapping[str, str]


class SpeakerMismatchError(RecordError):
    """Report that two files of an evaluation have different speakers."""

    hint = "run `escoita eval` again"


def private_corpora(recipe: Recipe) -> set[tuple[str, str]]:
    """Return split and name of the corpora whose transcripts may not be published."""
    splits = recipe.corpora.train, recipe.corpora.validation, recipe.corpora.test
    return {
        (split, corpus.name)
        for split, corpora in zip(("train", "validation", "test"), splits, strict=True)
        for corpus in corpora
        if not corpus.publish_references
    }


def anonymized_predictions(
    folder: Path, corpus: str, recipe: Recipe, base: str, base_sha256: str
) -> tuple[dict[str, bytes], Speakers]:
    """
    Return the predictions of one corpus for publication; see [`~escoita.evaluation.predictions.public`].

    Args:
        folder (`Path`): Folder with all predictions of the run.
        corpus (`str`): Name of the corpus.
        recipe ([`Recipe`]): Recipe; defines whether the transcripts may be published. For a corpus that is not in the
            recipe anymore, they may not if the evaluation wrote counts.
        base (`str`): Repository of the base.
        base_sha256 (`str`): Digest of the weights of the base.

    Returns:
        `tuple[dict[str, bytes], dict[str, str]]`: Files by name, with the counts of private transcripts; and the
        public names of the speakers.

    Raises:
        RecordError: A file cannot be read; or private transcripts have no counts.
    """
    counts = counts_path(folder, corpus)
    found = {path: read_predictions(path) for path in sorted((folder / corpus).glob("predictions*.parquet"))}
    hidden = {each.name: not each.publish_references for each in recipe.evaluated_corpora}
    private = hidden.get(corpus, counts.is_file()) or any(each.references == "hashed" for _, each in found.values())
    files: dict[str, bytes] = {}
    speakers: list[str] = []
    for path, (table, provenance) in found.items():
        before, speakers = speakers, table["speaker"].to_pylist()
        if before and before != speakers:
            raise SpeakerMismatchError("speakers differ between the prediction files of this corpus", path=path)
        table, provenance = public(table, provenance, private)
        system = anonymized_system(provenance.system, base, base_sha256)
        files[path.name] = parquet(described(table, provenance.model_copy(update={"system": system})))
    if private and files:
        if not counts.is_file():
            raise RecordError(
                f"not found, but the transcripts of {corpus} are private and only their counts are published",
                path=counts,
                hint="run `escoita report --run` to write it",
            )
        files[counts.name] = counts.read_bytes()
    return files, {speaker: name for speaker, name in public_speakers(speakers).items() if speaker in speakers}


def anonymized_evaluation(
    evaluation: EvaluationRecord, speakers: Mapping[str, Speakers], base: str, base_sha256: str
) -> EvaluationRecord:
    """
    Return the evaluation that scoring the predictions of [`anonymized_predictions`] gives.

    Args:
        evaluation ([`EvaluationRecord`]): Evaluation of the run.
        speakers (`Mapping[str, dict[str, str]]`): Public names of the speakers of each corpus.
        base (`str`): Repository of the base.
        base_sha256 (`str`): Digest of the weights of the base.

    Raises:
        RecordError: The speakers differ from those of the predictions.
    """
    return evaluation.model_copy(
        update={
            "systems": [anonymized_system(system, base, base_sha256) for system in evaluation.systems],
            "corpora": [_anonymized_result(result, speakers.get(result.name, {})) for result in evaluation.corpora],
        }
    )


def anonymized_system(system: System, base: str, base_sha256: str) -> System:
    """Return a system that names the repository of the base, if its base is the base of the run."""
    return system.model_copy(update={"base": base}) if system.base_sha256 == base_sha256 else system


def anonymized_training(training: TrainingRecord, recipe: Recipe, base: str) -> TrainingRecord:
    """
    Return the training record for publication.

    A rejected row keeps its source, its position and the reason, but not the name of its recording, which often
    contains the name of a person. The reason is removed if it may quote a private transcript.
    """
    hide_text = any(split != "test" for split, _ in private_corpora(recipe))
    return training.model_copy(
        update={"base": base, "rejected": [anonymized_row(row, hide_text) for row in training.rejected]}
    )


def anonymized_data(record: DataRecord, recipe: Recipe) -> DataRecord:
    """
    Return the data record for publication.

    Private transcripts are removed, as well as the transcripts of clips that are listed as equal to one. Speakers are
    removed, also from the ids of clips. An anonymized record is returned unchanged.

    Args:
        record ([`DataRecord`]): Data record of the same recipe.
        recipe ([`Recipe`]): Recipe; defines which transcripts may be published.
    """
    private = private_corpora(recipe)

    def pairs(examples: list[Pair]) -> list[Pair]:
        return [_anonymized_pair(pair, private) for pair in examples]

    return record.model_copy(
        update={
            "corpora": [_anonymized_corpus(data, private) for data in record.corpora],
            "duplicates": [each.model_copy(update={"examples": pairs(each.examples)}) for each in record.duplicates],
            "leaks": [each.model_copy(update={"examples": pairs(each.examples)}) for each in record.leaks],
        }
    )


def anonymized_row(row: str, hide_text: bool) -> str:
    """Return a rejected row without the name of its recording and, if `hide_text`, without the reason."""
    found = _ROW.fullmatch(row)
    if hide_text or not found:
        return f"{found['row']}: not used" if found else "a row: not used"
    return f"{found['row']}: {found['reason']}"


def _anonymized_result(result: CorpusResult, speakers: Speakers) -> CorpusResult:
    parts = [part for part in result.slices if part.by == "speaker"]
    known = set(speakers) - {""}
    # After the named speakers come all other speakers together, if there are many, and the clips without a speaker.
    rest = ["not stated"] if known and "" in speakers else []
    named = len(parts) - len(rest)
    if named != len(known):
        named -= 1
        rest = [f"others ({len(known) - named})", *rest]
    values = [part.value for part in parts]
    if parts and (not known.issuperset(values[:named]) or values[named:] != rest):
        raise SpeakerMismatchError(
            f"speakers of {result.name} differ from those of the predictions", path="results.json"
        )
    names = [*map(speakers.__getitem__, values[:named]), *values[named:]]
    renamed = iter([part.model_copy(update={"value": name}) for part, name in zip(parts, names, strict=True)])
    return result.model_copy(
        update={"slices": [next(renamed) if part.by == "speaker" else part for part in result.slices]}
    )


def _anonymized_corpus(data: CorpusData, private: set[tuple[str, str]]) -> CorpusData:
    hide_text = (data.split, data.name) in private
    reasons = [
        reason.model_copy(
            update={
                "reason": _QUOTED.sub("…", reason.reason) if hide_text else reason.reason,
                "examples": [anonymized_row(row, hide_text) for row in reason.examples],
            }
        )
        for reason in data.reasons
    ]
    outliers = [
        kind.model_copy(
            update={
                "examples": [
                    OutlierExample(
                        clip=_anonymized_clip(odd.clip, hide_text),
                        detail=NO_NUMBER if hide_text and kind.kind == "digits" else odd.detail,
                    )
                    for odd in kind.examples
                ]
            }
        )
        for kind in data.outliers
    ]
    examples = [] if hide_text else data.normalization.examples
    normalization = data.normalization.model_copy(update={"examples": examples})
    return data.model_copy(update={"reasons": reasons, "outliers": outliers, "normalization": normalization})


def _anonymized_pair(pair: Pair, private: set[tuple[str, str]]) -> Pair:
    hide_text = any((clip.split, clip.corpus) in private for clip in (pair.clip, pair.like))
    return Pair(clip=_anonymized_clip(pair.clip, hide_text), like=_anonymized_clip(pair.like, hide_text))


def _anonymized_clip(clip: Clip, hide_text: bool) -> Clip:
    return clip.model_copy(
        update={
            "id": clip.public_id or clip.id,
            "text": NO_TEXT if hide_text else clip.text,
            "public_id": "",
        }
    )
