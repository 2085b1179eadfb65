"""Predictions of an earlier revision, taken beside those of the one that is judged now."""

from pathlib import Path

from escoita.data.rows import Utterances
from escoita.errors import EscoitaError, RecordError
from escoita.records.evaluation import SUBJECT
from escoita.utils.files import public_name
from escoita.evaluation.predictions import (
    described,
    opened,
    predictions_path,
    public_ids,
    read_predictions,
    replaced,
    write_predictions,
)
from escoita.hub.files import local_file, split_revision


EARLIER = "earlier"


def take_earlier(against: str, tests: dict[str, Utterances], out: Path) -> None:
    """
    Copies what the adapter of another run, or of a published revision, heard in the same clips.

    Args:
        against (`str`): A run directory, or `user/name`, or `user/name@revision`.
        tests (`dict[str, Utterances]`): The clips of each corpus.
        out (`Path`): Where the predictions of this evaluation go.

    Raises:
        EscoitaError: There are none, they are of other clips, or those that are about to be written anew.
    """
    source, revision = split_revision(against)
    if (Path(source) / "eval").resolve() == out.resolve():
        raise EscoitaError(f"{against}: is what is evaluated here; compare with a copy of what it was before")
    for corpus, clips in tests.items():
        found = local_file(source, str(predictions_path(Path("eval"), corpus, SUBJECT)), revision)
        table, provenance = read_predictions(found)
        ids, speakers = clips.column("id"), clips.column("speaker")
        try:
            table, provenance = opened(table, provenance, clips.column("text"))
        except RecordError as error:
            raise _other_clips(against, corpus) from error
        if table["id"].to_pylist() not in (ids, public_ids(ids, speakers)):
            raise _other_clips(against, corpus)
        table = replaced(table, {"id": ids, "speaker": speakers})  # which were not published as they are
        # Its adapter stood beside its predictions: who reads of it here has to be told where.
        system = provenance.system.model_copy(update={"name": EARLIER, "adapter": public_name(against)})
        renamed = described(table, provenance.model_copy(update={"system": system}))
        write_predictions(renamed, predictions_path(out, corpus, EARLIER))


def _other_clips(against: str, corpus: str) -> EscoitaError:
    return EscoitaError(f"{against}: heard other clips of {corpus}; compare on the same test corpus")
