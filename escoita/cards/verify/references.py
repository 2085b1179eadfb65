"""Transcripts that were not published, from somebody who has them: put back in place of their digests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from escoita.cards.verify.check import Check
from escoita.data.readers import read_corpus
from escoita.errors import EscoitaError, RecordError
from escoita.records.evaluation import PROBES
from escoita.evaluation.predictions import counts_path, hashed, opened, read_predictions, write_predictions
from escoita.recipe.recipe import Corpus


def asked_references(references: Sequence[str]) -> dict[str, Path]:
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
