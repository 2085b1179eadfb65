"""
Evaluate an adapter on test corpora, next to its base and other systems.

[`evaluate_run`] and [`evaluate_manifests`] run all steps; `eval/run.py` calls them one by one: [`prepare`],
[`predict`] or [`merge_predictions`], [`score_predictions`], [`write_results`] and [`write_page`]. If several processes
share the work, each of them calls every step.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.data.report import write_survey
from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.compare import copy_earlier_predictions
from escoita.evaluation.counts import warn_of_characters, warn_of_marks, write_counts
from escoita.evaluation.predict import JOURNAL, resolve_bases, transcribe_all
from escoita.evaluation.predictions import predictions_path
from escoita.evaluation.report.render import write_report
from escoita.evaluation.request import (
    EvaluationData,
    EvaluationRequest,
    SystemSpec,
    corpus_test,
    probe_test,
    request_for_manifests,
    request_for_run,
)
from escoita.evaluation.shards import WHOLE, Shard, merge_all
from escoita.evaluation.systems import baseline_systems, check_system, refuse_unsupported_languages, with_own_prompt
from escoita.metrics.primary import primary_metric
from escoita.recipe.schema import Corpus, Evaluation
from escoita.records.evaluation import EARLIER, PROBES, EvaluationRecord
from escoita.records.training import AdapterRecord
from escoita.run_directory import RunDirectory
from escoita.utils.processes import PROCESS_TIMEOUT, is_main_process, locked, main_first, main_only


if TYPE_CHECKING:
    from accelerate import PartialState

# Lock file of the folder of an evaluation.
LOCK = ".lock"
# Function that writes the predictions of all systems: it transcribes all corpora, or merges shards.
PredictFunction = Callable[[list[SystemSpec], dict[str, EvaluationData], Path, float, "PartialState"], None]


def evaluate_run(
    path: Path,
    overrides: list[str] | None = None,
    predict: PredictFunction = transcribe_all,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> EvaluationRecord:
    """
    Evaluate the adapter of a run on the test corpora of its recipe.

    Args:
        path (`Path`): The run directory.
        overrides (`list[str]`, *optional*): Changes of the recipe, `section.key=value`.
        predict (`Callable`, *optional*): Function that writes the predictions.
            [`~escoita.evaluation.shards.merge_all`] merges shards.
        base_revision (`str`, *optional*): Revision of the base. Defaults to the commit of the training.
        allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights, which
            the record then states.

    Raises:
        EscoitaError: The run is not finished, or a corpus or model cannot be loaded.
    """
    record = evaluate(*request_for_run(path, overrides, base_revision, allow_other_base), predict=predict)
    write_overlap(path, overrides)
    return record


def evaluate_manifests(
    base: str,
    adapter: str | None,
    manifests: list[Path],
    out: Path,
    language: str | None = None,
    baselines: list[str] | None = None,
    normalizer: str | None = None,
    generation_settings: AdapterRecord | None = None,
    predict: PredictFunction = transcribe_all,
    base_revision: str | None = None,
    allow_other_base: bool = False,
    num_beams: int = 1,
) -> EvaluationRecord:
    """
    Evaluate any adapter, or any single model, on manifests.

    Args:
        base (`str`): Folder or repository of the base model; without an adapter, of any model.
        adapter (`str`, *optional*): Folder or repository of the adapter.
        manifests (`list[Path]`): Manifests. The name of the file is the name of the corpus, preceded by the name of
            its folder if several files have the same name.
        out (`Path`): Folder for predictions and results.
        language (`str`, *optional*): tag of the language of the clips; required without an adapter.
        baselines (`list[str]`, *optional*): Other models to evaluate on the same clips.
        normalizer (`str`, *optional*): One of `NORMALIZERS`. Defaults to that of the language.
        generation_settings ([`AdapterRecord`], *optional*): Prompt, language and token limit. Defaults to those of
            the adapter.
        predict (`Callable`, *optional*): Function that writes the predictions, as in [`evaluate_run`].
        base_revision (`str`, *optional*): Revision of the base, as in [`evaluate_run`].
        allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights.
        num_beams (`int`, *optional*, defaults to 1): Number of beams of all systems; 1 is greedy decoding.

    Raises:
        EscoitaError: As in [`evaluate_run`], or the language or the normalizer is unknown.
    """
    request = request_for_manifests(
        base,
        adapter,
        manifests,
        out,
        language,
        baselines,
        normalizer,
        generation_settings,
        base_revision,
        allow_other_base,
        num_beams,
    )
    return evaluate(*request, predict=predict)


def evaluate(
    systems: list[SystemSpec],
    corpora: list[Corpus],
    out: Path,
    settings: Evaluation,
    max_rejected_share: float = 1.0,
    title: str | None = None,
    *,
    predict: PredictFunction = transcribe_all,
) -> EvaluationRecord:
    """
    Transcribe the corpora with base, adapter and baselines, write the predictions, and score them.

    Args:
        systems (`list[SystemSpec]`): The base and its adapter.
        corpora (`list[Corpus]`): Test corpora.
        out (`Path`): Folder for predictions, results and report.
        settings ([`Evaluation`]): Baselines, batches, normalizer, intervals, probes.
        max_rejected_share (`float`, *optional*, defaults to 1): Largest fraction of a corpus that may be unusable.
        title (`str`, *optional*): Title of the report.
        predict (`Callable`, *optional*): Function that writes the predictions, as in [`evaluate_run`].

    Raises:
        EscoitaError: A corpus or a model cannot be loaded, or earlier predictions are of other clips.
    """
    request = EvaluationRequest(systems, corpora, out, settings, max_rejected_share, title)
    setup = prepare(request, merge=predict is not transcribe_all)
    with evaluation_lock(setup):
        predict(setup.systems, setup.tests, out, settings.batch_seconds, setup.state)
        record = score_predictions(setup)
        write_results(setup, record)
        write_page(setup, record)
    return record


def transcribe_shard(request: EvaluationRequest, shard: Shard) -> Path:
    """
    Transcribe one shard of the corpora, without scores; `escoita/evaluation/shards.py` merges the shards.

    Args:
        request ([`EvaluationRequest`]): The evaluation, the same for all shards.
        shard ([`~escoita.evaluation.shards.Shard`]): The shard.

    Returns:
        `Path`: The folder of its predictions.

    Raises:
        EscoitaError: As in [`evaluate`].
    """
    setup = prepare(request, shard)
    with evaluation_lock(setup):
        predict(setup)
    return setup.folder


@dataclass(frozen=True)
class Setup:
    """
    Hold an evaluation that is ready to start.

    Args:
        request ([`~escoita.evaluation.request.EvaluationRequest`]): The request.
        systems (`list[SystemSpec]`): All systems, including baselines.
        tests (`dict[str, EvaluationData]`): Clips of each corpus, and of the probes.
        state (`PartialState`): State of the processes that share the work, of accelerate.
        shard ([`~escoita.evaluation.shards.Shard`], *optional*): The shard to transcribe. Defaults to all batches.
    """

    request: EvaluationRequest
    systems: list[SystemSpec]
    tests: dict[str, EvaluationData]
    state: "PartialState"
    shard: Shard | None = None

    @property
    def folder(self) -> Path:
        """Return the folder that the evaluation writes to."""
        return self.shard.folder(self.request.out) if self.shard else self.request.out


def prepare(request: EvaluationRequest, shard: Shard | None = None, merge: bool = False) -> Setup:
    """
    Find all models and read the test corpora, before anything is transcribed.

    Args:
        request ([`~escoita.evaluation.request.EvaluationRequest`]): Result of
            [`~escoita.evaluation.request.request_for_run`] or [`~escoita.evaluation.request.request_for_manifests`].
        shard ([`~escoita.evaluation.shards.Shard`], *optional*): The shard to transcribe. Defaults to all batches.
        merge (`bool`, *optional*, defaults to `False`): Whether shards are merged, so that no model is loaded.

    Raises:
        EscoitaError: A corpus or a model cannot be read, or an adapter does not fit its base.
    """
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PROCESS_TIMEOUT)
    settings, generation_settings = request.settings, request.systems[0].generation_settings
    against = None if shard else settings.against  # needed only for the scores
    systems = [*request.systems, *baseline_systems(settings.baselines, generation_settings, settings.num_beams)]
    if not merge:
        systems = main_only(lambda: resolve_bases(systems), state)
        systems = [with_own_prompt(system) for system in systems]
    for system in systems:  # before anything is decoded, so that a mistyped name is found at once
        check_system(system, settings.baselines)

    def read_tests() -> dict[str, EvaluationData]:
        found = {
            corpus.name: corpus_test(corpus, generation_settings.language, request.max_rejected_share)
            for corpus in request.corpora
        }
        retained = {
            corpus.name: replace(
                corpus_test(corpus, corpus.language, request.max_rejected_share),
                retention=True,
                prompt=corpus.prompt,
            )
            for corpus in settings.retention
        }
        if against and state.is_main_process:
            copy_earlier_predictions(against, {name: test.clips for name, test in found.items()}, request.out)
        return found | retained | ({PROBES: probe_test(generation_settings.language)} if settings.probes else {})

    tests = main_first(read_tests, state)
    if not merge:
        refuse_unsupported_languages(systems, tests)
    return Setup(request, systems, tests, state, shard)


@contextmanager
def evaluation_lock(setup: Setup) -> Iterator[None]:
    """
    Hold the lock of the folder of an evaluation.

    Raises:
        EscoitaError: Another command evaluates into the folder.
    """
    folder = setup.folder
    refusal = EscoitaError(
        "another command evaluates into this folder", path=folder, hint="wait until it has finished"
    )
    with locked(folder / LOCK, refusal, setup.state):
        yield


def predict(setup: Setup) -> None:
    """
    Transcribe all corpora, or one shard of them, with all systems, and write the predictions.

    An interrupted evaluation resumes after its last batch.

    Raises:
        EscoitaError: A model cannot be loaded, or the disk is full.
    """
    batch_seconds = setup.request.settings.batch_seconds
    transcribe_all(setup.systems, setup.tests, setup.request.out, batch_seconds, setup.state, setup.shard or WHOLE)
    if setup.shard:
        _remove_journals(setup)


def merge_predictions(setup: Setup) -> None:
    """
    Merge the predictions of all shards.

    Raises:
        EscoitaError: A shard is missing, or is of another evaluation.
    """
    merge_all(setup.systems, setup.tests, setup.request.out, setup.request.settings.batch_seconds, setup.state)


def score_predictions(setup: Setup) -> EvaluationRecord:
    """
    Remove predictions of systems that were not requested, and compute all rates and intervals of the others.

    Raises:
        RecordError: Predictions do not match, or too many resamples are requested.
    """
    out, settings = setup.request.out, setup.request.settings

    def compute() -> EvaluationRecord:
        systems = [system.name for system in setup.systems] + ([EARLIER] if settings.against else [])
        if PROBES not in setup.tests:
            shutil.rmtree(out / PROBES, ignore_errors=True)
        for corpus in setup.tests:
            expected = {predictions_path(out, corpus, system) for system in systems}
            for path in set((out / corpus).glob("predictions*.parquet")) - expected:
                path.unlink()
        normalizers = {corpus.name: corpus.normalizer for corpus in settings.retention}
        for name, test in setup.tests.items():
            if normalizers.get(name, settings.normalizer) == "basic":
                warn_of_marks(name, test.clips.each("text"))
        language = setup.systems[0].generation_settings.language
        primary = primary_metric(settings.primary, language)
        record = score(
            out,
            settings.normalizer,
            settings.resamples,
            list(setup.tests),
            primary=primary,
            retention_normalizers=normalizers,
        )
        corpora = {name: test.clips.each("text") for name, test in setup.tests.items() if name != PROBES}
        warn_of_characters(record, corpora)
        return record

    return main_only(compute, setup.state)


def write_results(setup: Setup, record: EvaluationRecord) -> None:
    """
    Write `results.json`, and the counts of corpora whose references may not be published.

    Args:
        setup ([`Setup`]): The evaluation.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): Result of [`score_predictions`].
    """
    out = setup.request.out

    def write() -> None:
        record.write(out / "results.json")
        corpora = [*setup.request.corpora, *setup.request.settings.retention]
        write_counts(out, corpora, record.normalizer, record.retention_normalizers)

    main_only(write, setup.state)


def write_page(setup: Setup, record: EvaluationRecord) -> None:
    """
    Write `report.html` and its plots, and remove the journals that interrupted evaluations resume from.

    Args:
        setup ([`Setup`]): The evaluation.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): Result of [`score_predictions`].
    """
    request = setup.request
    clips = {name: test.clips for name, test in setup.tests.items()}
    playable = [corpus.name for corpus in request.corpora if corpus.publish_audio]
    main_only(lambda: write_report(request.out, record, clips, playable, request.title), setup.state)
    _remove_journals(setup)


def write_overlap(path: Path, overrides: list[str] | None = None) -> None:
    """
    Write `data.json` of a run, which reports the train/test overlap, if the training did not write it.

    Args:
        path (`Path`): The run directory.
        overrides (`list[str]`, *optional*): Changes of the recipe, `section.key=value`.
    """
    if is_main_process():
        run = RunDirectory(path)
        write_survey(run.load_recipe(overrides), run, missing_ok=True)


def _remove_journals(setup: Setup) -> None:
    if setup.state.is_main_process:
        for journal in setup.folder.glob(f"*/{JOURNAL}*"):
            shutil.rmtree(journal)
