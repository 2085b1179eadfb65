"""
Export predictions as manifests of the Open ASR Leaderboard.

    escoita export runs/quickstart-uzbek --out results

The leaderboard (github.com/huggingface/open_asr_leaderboard, `normalizer/eval_utils.py`) scores all files
`MODEL_<user>-<name>_DATASET_<dataset>_<split>.jsonl` of a folder, with its own normalizer; each line has the path of a
clip, its duration, the time of its transcription, the reference and the prediction.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from escoita.errors import RecordError
from escoita.evaluation.errors import HashedReferencesError
from escoita.evaluation.predictions import predictions_path, public_ids, read_predictions
from escoita.hub.files import is_repo_id
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import ADAPTER_SYSTEM, CorpusResult, EvaluationRecord, System
from escoita.run_directory import RunDirectory
from escoita.utils.files import write_atomically
from escoita.utils.processes import say


def export_predictions(folder: Path, out: Path) -> list[Path]:
    """
    Write a manifest for each system and each test corpus of an evaluation.

    Args:
        folder (`Path`): Run directory, or folder of an evaluation.
        out (`Path`): Folder for the manifests.

    Returns:
        `list[Path]`: The manifests. Corpora whose references are hashed are named and left out.

    Raises:
        RecordError: There are no results, predictions cannot be read, or two systems have the same name.
        HashedReferencesError: The references of all corpora are hashed.
    """
    run = RunDirectory(folder)
    source = run.eval if run.eval.is_dir() else folder
    recipe = run.load_recipe() if run.recipe.is_file() else None
    record = EvaluationRecord.read(source / run.results.name)
    models = [_model(system, recipe) for system in record.systems]
    if len(set(models)) < len(models):
        raise RecordError(f"systems with the same name of the model: {', '.join(models)}", path=source)
    written = []
    for result in record.corpora:
        for system, model in zip(record.systems, models, strict=True):
            try:
                lines = "".join(_lines(predictions_path(source, result.name, system.name)))
            except HashedReferencesError:
                say(f"{result.name} is not exported, because its references are hashed")
                break
            path = out / f"MODEL_{_part(model)}_DATASET_{_part(_dataset(result, recipe))}.jsonl"
            write_atomically(path, lines)
            written.append(path)
    if not written:
        raise HashedReferencesError("no corpus has references", path=source)
    return written


def _part(name: str) -> str:
    """Return a name of a record as part of a file name, which has at most 255 bytes."""
    return re.sub(r"[^\w.@-]", "-", name, flags=re.ASCII)[:110]


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a manifest; speakers and ids are those of published predictions."""
    table, provenance = read_predictions(path)
    if provenance.references == "hashed":
        raise HashedReferencesError("the references are hashed", path=path)
    rows = table.select(["audio_seconds", "compute_seconds", "reference", "hypothesis"]).to_pylist()
    ids = public_ids(table["id"].to_pylist(), table["speaker"].to_pylist())
    for id, row in zip(ids, rows, strict=True):
        fields = {
            "audio_filepath": id,
            "duration": row["audio_seconds"],
            "time": row["compute_seconds"],
            "text": row["reference"],
            "pred_text": row["hypothesis"],
        }
        yield json.dumps(fields, ensure_ascii=False) + "\n"


def _model(system: System, recipe: Recipe | None) -> str:
    """Return the name of a model, in which the leaderboard takes the first hyphen for the slash of `user/name`."""
    name = system.adapter or system.base
    if system.name == ADAPTER_SYSTEM and recipe:
        name = recipe.hub.repo or recipe.name
    if not is_repo_id(name):
        name = f"local/{Path(name).name}"
    return name.replace("/", "-")


def _dataset(result: CorpusResult, recipe: Recipe | None) -> str:
    """Return dataset, configuration or language, and split of a corpus."""
    corpus = next((each for each in recipe.corpora.test if each.name == result.name), None) if recipe else None
    dataset = corpus.path if corpus and corpus.remote and is_repo_id(corpus.path) else result.name
    config, split = (corpus.config, corpus.split) if corpus else (None, None)
    return f"{dataset}_{config or result.language}_{split or 'test'}".replace("/", "-")
