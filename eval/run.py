"""
Measures an adapter beside its base on test corpora.

    python eval/run.py --run runs/quickstart-uzbek
    python eval/run.py --base quickstart/gemma4 --adapter user/adapter --corpus test.jsonl --out results

Writes `<corpus>/predictions.parquet` and, from these alone, `results.json`.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from escoita.audio import read_audio
from escoita.corpora import Utterance, gather
from escoita.errors import CorpusError
from escoita.families import family_of
from escoita.files import public_name
from escoita.progress import track
from escoita.recipe import Corpus, Evaluation, Recipe
from escoita.records import AdapterRecord, EvaluationRecord
from escoita.resolve import adapter_record, weights_digest
from escoita.rundir import RunDirectory
from escoita.transcribe import Transcriber, Transcript, batches_by_length
from eval.predictions import Provenance, predictions_table, write_predictions
from eval.results import score


def evaluate_run(path: Path, overrides: list[str] | None = None) -> EvaluationRecord:
    """
    Evaluates the adapter of a run on the test corpora of its recipe.

    Args:
        path (`Path`): The run directory.
        overrides (`list[str]`, *optional*): `section.key=value`, as for training.

    Raises:
        EscoitaError: The run is not finished, a corpus cannot be read, or the models cannot be loaded.
    """
    run = RunDirectory(path)
    recipe, adapter = run.load_recipe(overrides), run.trained_adapter()
    return evaluate(recipe.base, adapter, recipe.corpora.test, run.eval, recipe.eval, recipe, "adapter")


def evaluate_manifests(base: str, adapter: str, manifests: list[Path], out: Path) -> EvaluationRecord:
    """
    Evaluates any adapter on any manifests.

    Args:
        base (`str`): Folder or repository of the base model.
        adapter (`str`): The same of the adapter.
        manifests (`list[Path]`): JSONL manifests; each file's name is the corpus' name.
        out (`Path`): Where predictions and results go.

    Raises:
        EscoitaError: As [`evaluate_run`].
    """
    try:
        corpora = [Corpus(name=path.stem, manifest=str(path)) for path in manifests]
    except ValidationError as error:
        raise CorpusError("a manifest's file name names its corpus: use letters, digits, '.', '_' and '-'") from error
    if len({corpus.name for corpus in corpora}) < len(corpora):
        raise CorpusError("two manifests have the same file name, which names their corpus; rename one")
    return evaluate(base, adapter, corpora, out, Evaluation())


def evaluate(
    base: str,
    adapter: str,
    corpora: list[Corpus],
    out: Path,
    settings: Evaluation,
    recipe: Recipe | None = None,
    adapter_name: str | None = None,
) -> EvaluationRecord:
    """
    Runs the base and then the adapter over the corpora, writes the predictions, and scores what was written.

    Args:
        base (`str`): Folder or repository of the base model.
        adapter (`str`): The same of the adapter.
        corpora (`list[Corpus]`): What to test on.
        out (`Path`): Where predictions and results go.
        settings ([`Evaluation`]): Batch size, normaliser, intervals, and whether to run the base.
        recipe ([`Recipe`], *optional*): Gives revision, precision and the share of bad rows that is allowed.
        adapter_name (`str`, *optional*): What the record calls the adapter; its path unless given. A run says
            `adapter`, the folder beside `eval`, so that the record stays true wherever the run is moved.
    """
    spoken: AdapterRecord = adapter_record(adapter)
    revision, dtype = (recipe.base_revision, recipe.dtype) if recipe else (None, "auto")
    # Before the weights are loaded: a mistyped manifest is found at once.
    longest = family_of(base, revision).max_audio_seconds
    max_share = recipe.corpora.max_rejected_share if recipe else 1.0
    gathered = {corpus.name: gather([corpus], spoken.language, longest, max_share) for corpus in corpora}
    transcriber = Transcriber.load(base, None, spoken, revision, dtype, settings.batch_size)
    base_heard = {
        name: hear(transcriber, clips, f"{name}, base") for name, (clips, _) in gathered.items() if settings.base
    }
    transcriber.merge_adapter(adapter)
    base_sha256, adapter_sha256 = weights_digest(base, revision), weights_digest(adapter)
    paths = []
    for name, (clips, rejected) in gathered.items():
        heard = hear(transcriber, clips, f"{name}, adapter")
        made = Provenance(
            corpus=name,
            base=public_name(base),
            base_sha256=base_sha256,
            adapter=adapter_name or public_name(adapter),
            adapter_sha256=adapter_sha256,
            rejected=len(rejected),
        )
        table = predictions_table(clips, heard, base_heard.get(name), made)
        paths.append(out / name / "predictions.parquet")
        write_predictions(table, paths[-1])
    record = score(paths, settings.normalizer, settings.resamples)
    record.write(out / "results.json")
    return record


def hear(transcriber: Transcriber, clips: Sequence[Utterance], title: str) -> list[Transcript]:
    """Transcribes clips in batches of like length, decoding no more than a batch ahead; results in order."""
    batches = list(batches_by_length([int(clip.audio_seconds * 1000) for clip in clips], transcriber.batch_size))
    heard: dict[int, Transcript] = {}
    for indices in track(batches, total=len(batches), title=f"Transcribing {title}: batches"):
        transcripts = transcriber.transcribe([read_audio(clips[index].audio) for index in indices])
        heard.update(zip(indices, transcripts, strict=True))
    return [heard[index] for index in range(len(clips))]


if __name__ == "__main__":
    from escoita.cli import evaluate as command
    from escoita.cli import script

    script(command)
