"""The expected output on a card: a test clip, and what the adapter really heard in it."""

from dataclasses import dataclass
from statistics import median

import pyarrow as pa

from escoita.records.evaluation import SUBJECT, EvaluationRecord
from escoita.evaluation.predictions import predictions_path, read_predictions
from escoita.recipe.recipe import Recipe
from escoita.run_directory import RunDirectory
from escoita.metrics.normalizers import normalizer


@dataclass(frozen=True)
class Example:
    """
    A clip and its transcripts.

    Args:
        corpus (`str`): Name of the test corpus.
        id (`str`): The clip's there.
        audio_seconds (`float`): Its length.
        reference (`str`): What was said.
        hypothesis (`str`): What the adapter heard.
        right (`bool`): Whether these are the same under the normaliser of the evaluation.
    """

    corpus: str
    id: str
    audio_seconds: float
    reference: str
    hypothesis: str
    right: bool


def example(run: RunDirectory, recipe: Recipe, evaluation: EvaluationRecord) -> Example | None:
    """
    A clip that the adapter got right, of about the median length of its corpus; where it got none right, one of about
    that length. The first corpus with a right one counts, else the first; where references may not be published, none.

    Which clip it is depends on nothing that publication changes, the names of clips and speakers.

    Args:
        run ([`~escoita.run_directory.RunDirectory`]): Holds the predictions.
        recipe ([`~escoita.recipe.recipe.Recipe`]): Says of which corpora transcripts may be published.
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): Names corpora and normaliser.

    Raises:
        RecordError: A file of predictions is broken.
    """
    secret = {corpus.name for corpus in recipe.corpora.test if not corpus.publish_references}
    found = []
    for result in evaluation.corpora:
        path = predictions_path(run.eval, result.name, SUBJECT)
        if result.name in secret or not path.is_file():
            continue
        table, provenance = read_predictions(path)
        if provenance.references == "open" and len(table):
            found.append(_of(table, result.name, evaluation.normalizer))
            if found[-1].right:
                return found[-1]
    return found[0] if found else None


def _of(table: pa.Table, corpus: str, form: str) -> Example:
    same = normalizer(form)
    rows = table.select(["id", "audio_seconds", "reference", "hypothesis"]).to_pylist()
    right = [row for row in rows if (said := same(row["reference"])).strip() and said == same(row["hypothesis"])]
    usual = median(row["audio_seconds"] for row in rows)
    chosen = min(right or rows, key=lambda row: abs(row["audio_seconds"] - usual))
    return Example(corpus=corpus, right=bool(right), **chosen)
