"""Define the errors of evaluations."""

from pathlib import Path

from escoita.errors import RecordError


class MissingPredictionsError(RecordError):
    """Report predictions that do not exist."""

    problem = "no predictions found"
    hint = "run `escoita eval` first"


class MissingSystemError(RecordError):
    """
    Report a system that was not run on a corpus.

    Args:
        system (`str`): Name of the system.
    """

    problem = "no predictions of {system} found"
    hint = "run the evaluation again"
    system: str


class MisplacedPredictionsError(RecordError):
    """
    Report a file of predictions whose path does not match its content.

    Args:
        system (`str`): The system that the file contains.
        corpus (`str`): The corpus that the file contains.
    """

    problem = "contains predictions of {system} on {corpus}, which belong at another path"
    system: str
    corpus: str


class OtherClipsError(RecordError):
    """
    Report predictions of other clips than the ones that they are compared or merged with.

    Args:
        other (`str` or `Path`): The file or corpus with the other clips.
    """

    problem = "not the same clips as in {other}"
    hint = "evaluate both on the same test corpus"
    other: str | Path


class OtherModelError(RecordError):
    """
    Report predictions of one system that were made with different models.

    Args:
        other (`str` or `Path`): The file or system with the other model.
    """

    problem = "differs from {other}: not the same model"
    hint = "run the evaluation again"
    other: str | Path


class OtherPredictionsError(RecordError):
    """Report a record or counts that were computed from other predictions than those next to them."""

    problem = "computed from other predictions"
    hint = "run the evaluation again"


class HashedReferencesError(RecordError):
    """Report that references are needed, but were published only as digests."""

    problem = "the references are published only as digests"


class MissingShardError(RecordError):
    """
    Report shards that do not exist.

    Args:
        missing (`list[int]`): Numbers of the missing shards; empty if there is none at all.
    """

    hint = "transcribe it with `escoita eval --shard`"
    missing: list[int]


class OtherShardError(RecordError):
    """
    Report two shards that are not of the same evaluation.

    Args:
        other (`Path`): The file of the other shard.
    """

    hint = "remove the shards of the earlier evaluation, or transcribe them again"
    other: Path


class DuplicateClipError(RecordError):
    """
    Report a clip that two shards contain.

    Args:
        other (`Path`): The file of the other shard.
    """

    problem = "the clip is also in {other}"
    hint = "transcribe one of the shards again"
    other: Path
