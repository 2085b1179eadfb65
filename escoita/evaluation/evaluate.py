"""
Evaluate an adapter on test corpora, next to its base and other systems.

[`evaluate_run`] and [`evaluate_manifests`] take all steps; `eval/run.py` calls them one by one: [`prepare`],
[`predict`] or [`merge_predictions`], [`score_predictions`], [`write_results`] and [`write_page`]. Every step is called
on every process of several that share the work.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.data.report import write_survey
from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.compare import take_earlier
from escoita.evaluation.counts import write_counts
from escoita.evaluation.predict import JOURNAL, located, transcribe_all
from escoita.evaluation.predictions import predictions_path
from escoita.evaluation.report.render import write_report
from escoita.evaluation.request import (
    Candidate,
    EvaluationData,
    EvaluationRequest,
    corpus_test,
    probe_test,
    request_for_manifests,
    request_for_run,
)
from escoita.evaluation.shards import WHOLE, Shard, merge_all
from escoita.hub.files import adapter_record, cached_file
from escoita.models import listener_of
from escoita.models.trained_prompt import check_prompt, trained_processor
from escoita.recipe.schema import Baseline, Corpus, Evaluation
from escoita.records.evaluation import BASE, EARLIER, PROBES, SUBJECT, EvaluationRecord
from escoita.records.training import AdapterRecord
from escoita.run_directory import RunDirectory
from escoita.utils.processes import is_main_process, locked, main_first, main_only


if TYPE_CHECKING:
    from accelerate import PartialState

# Held while an evaluation writes into its folder.
LOCK = ".lock"
# How all candidates come to have heard all corpora: by hearing them, or out of the shards that did.
Hear = Callable[[list[Candidate], dict[str, EvaluationData], Path, float, "PartialState"], None]


def evaluate_run(
    path: Path,
    overrides: list[str] | None = None,
    predict: Hear = transcribe_all,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> EvaluationRecord:
    """
    Evaluates the adapter of a run on the test corpora of its recipe.

    Args:
        path (`Path`): The run directory.
        overrides (`list[str]`, *optional*): `section.key=value`, as for training.
        predict (`Callable`, *optional*): [`~escoita.evaluation.shards.merge_all`] takes what shards heard.
        base_revision (`str`, *optional*): Revision of the base; the commit that was trained on unless given.
        allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights, which the record
            then says.

    Raises:
        EscoitaError: The run is not finished, a corpus cannot be read, or the models cannot be loaded.
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
    predict: Hear = transcribe_all,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> EvaluationRecord:
    """
    Evaluates any adapter, or any baseline alone, on any manifests.

    Args:
        base (`str`): Folder or repository of the base model, or, without an adapter, of a baseline, or a merged model.
        adapter (`str`, *optional*): The same of the adapter.
        manifests (`list[Path]`): Manifests; each file's name is the corpus' name, behind that of its folder where
            several have the same.
        out (`Path`): Where predictions and results go.
        language (`str`, *optional*): ISO code of the clips; needed where no adapter tells it.
        baselines (`list[str]`, *optional*): Models to stand beside.
        normalizer (`str`, *optional*): One of `NORMALIZERS`; that of the language unless given.
        generation_settings ([`AdapterRecord`], *optional*): Prompt, language and token limit (default: the
            adapter's).
        predict (`Callable`, *optional*): See [`evaluate_run`].
        base_revision (`str`, *optional*): See [`evaluate_run`].
        allow_other_base (`bool`, *optional*, defaults to `False`): See [`evaluate_run`].

    Raises:
        EscoitaError: As [`evaluate_run`], or the language is no code, or there is no such normaliser.
    """
    asked = request_for_manifests(
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
    )
    return evaluate(*asked, predict=predict)


def evaluate(
    candidates: list[Candidate],
    corpora: list[Corpus],
    out: Path,
    settings: Evaluation,
    max_rejected_share: float = 1.0,
    title: str | None = None,
    *,
    predict: Hear = transcribe_all,
) -> EvaluationRecord:
    """
    Lets base, adapter and baselines hear the corpora, writes the predictions, and scores what was written.

    Args:
        candidates (`list[Candidate]`): The base and its adapter.
        corpora (`list[Corpus]`): What to test on.
        out (`Path`): Where predictions, results and report go.
        settings ([`Evaluation`]): Baselines, batches, normaliser, intervals, probes.
        max_rejected_share (`float`, *optional*, defaults to 1): Largest fraction of a corpus that may be unusable.
        title (`str`, *optional*): Heads the report.
        predict (`Callable`, *optional*): See [`evaluate_run`].

    Raises:
        EscoitaError: A corpus or a model cannot be had, or earlier predictions are of other clips.
    """
    asked = EvaluationRequest(candidates, corpora, out, settings, max_rejected_share, title)
    setup = prepare(asked, merge=predict is not transcribe_all)
    with evaluation_lock(setup):
        predict(setup.candidates, setup.tests, out, settings.batch_seconds, setup.state)
        record = score_predictions(setup)
        write_results(setup, record)
        write_page(setup, record)
    return record


def transcribe_shard(asked: EvaluationRequest, shard: Shard) -> Path:
    """
    Transcribe a part of the corpora, which `escoita/evaluation/shards.py` merges with the others, and score nothing.

    Args:
        asked ([`EvaluationRequest`]): What is to be measured, the same for all parts.
        shard ([`~escoita.evaluation.shards.Shard`]): Which part.

    Returns:
        `Path`: The folder of what it heard.

    Raises:
        EscoitaError: As [`evaluate`].
    """
    setup = prepare(asked, shard)
    with evaluation_lock(setup):
        predict(setup)
    return setup.folder


@dataclass(frozen=True)
class Setup:
    """
    An evaluation that is ready to begin.

    Args:
        asked ([`~escoita.evaluation.request.EvaluationRequest`]): What is to be measured.
        candidates (`list[Candidate]`): All systems, baselines included.
        tests (`dict[str, Material]`): The clips of each corpus, and of the probes.
        state (`PartialState`): The processes that share the work, of accelerate.
        shard ([`~escoita.evaluation.shards.Shard`], *optional*): The part that is transcribed here; everything unless
            given.
    """

    asked: EvaluationRequest
    candidates: list[Candidate]
    tests: dict[str, EvaluationData]
    state: "PartialState"
    shard: Shard | None = None

    @property
    def folder(self) -> Path:
        """The folder that is written into."""
        return self.shard.folder(self.asked.out) if self.shard else self.asked.out


def prepare(asked: EvaluationRequest, shard: Shard | None = None, merge: bool = False) -> Setup:
    """
    Find all models and read the test corpora, before anything is transcribed.

    Args:
        asked ([`~escoita.evaluation.request.EvaluationRequest`]): From
            [`~escoita.evaluation.request.request_for_run`] or [`~escoita.evaluation.request.request_for_manifests`].
        shard ([`~escoita.evaluation.shards.Shard`], *optional*): The part to transcribe; everything unless given.
        merge (`bool`, *optional*, defaults to `False`): No model will be loaded, because shards were transcribed.

    Raises:
        EscoitaError: A corpus or a model cannot be read, or an adapter does not fit its base.
    """
    import torch
    from accelerate import PartialState

    # The others wait while the first decodes whole corpora, which takes longer than what torch allows by itself.
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))
    settings, generation_settings = asked.settings, asked.candidates[0].generation_settings
    against = None if shard else settings.against  # asked for where the parts are put together
    candidates = [*asked.candidates, *_baselines(settings.baselines, generation_settings)]
    if not merge:
        candidates = main_only(lambda: located(candidates), state)
    for candidate in candidates:  # before anything is decoded: a mistyped name is found at once
        _check_candidate(candidate, settings.baselines)

    def gather_material() -> dict[str, EvaluationData]:
        found = {
            corpus.name: corpus_test(corpus, generation_settings.language, asked.max_rejected_share)
            for corpus in asked.corpora
        }
        if against and state.is_main_process:
            take_earlier(against, {name: material.clips for name, material in found.items()}, asked.out)
        return found | ({PROBES: probe_test(generation_settings.language)} if settings.probes else {})

    return Setup(asked, candidates, main_first(gather_material, state), state, shard)


@contextmanager
def evaluation_lock(setup: Setup) -> Iterator[None]:
    """
    Hold the lock of the folder of an evaluation.

    Raises:
        EscoitaError: Another command evaluates into the folder.
    """
    folder = setup.folder
    refusal = EscoitaError(f"{folder}: another command evaluates into this folder; wait until it has finished")
    with locked(folder / LOCK, refusal, setup.state):
        yield


def predict(setup: Setup) -> None:
    """
    Transcribe all corpora, or the shard of them, with all systems, and write the predictions.

    An evaluation that was interrupted resumes after its last batch.

    Raises:
        EscoitaError: A model cannot be loaded, or the disk is full.
    """
    batch_seconds = setup.asked.settings.batch_seconds
    transcribe_all(setup.candidates, setup.tests, setup.asked.out, batch_seconds, setup.state, setup.shard or WHOLE)
    if setup.shard:
        _remove_journals(setup)


def merge_predictions(setup: Setup) -> None:
    """
    Write the predictions of all corpora from those of their shards.

    Raises:
        EscoitaError: A shard is missing, or is of another evaluation.
    """
    merge_all(setup.candidates, setup.tests, setup.asked.out, setup.asked.settings.batch_seconds, setup.state)


def score_predictions(setup: Setup) -> EvaluationRecord:
    """
    Remove predictions of systems that are not asked for, and compute all rates and intervals of the others.

    Raises:
        RecordError: Predictions do not fit together, or too many resamples are asked for.
    """
    out, settings = setup.asked.out, setup.asked.settings

    def made() -> EvaluationRecord:
        systems = [candidate.name for candidate in setup.candidates] + ([EARLIER] if settings.against else [])
        if PROBES not in setup.tests:
            shutil.rmtree(out / PROBES, ignore_errors=True)
        for corpus in setup.tests:
            wanted = {predictions_path(out, corpus, system) for system in systems}
            for path in set((out / corpus).glob("predictions*.parquet")) - wanted:
                path.unlink()
        return score(out, settings.normalizer, settings.resamples, list(setup.tests))

    return main_only(made, setup.state)


def write_results(setup: Setup, record: EvaluationRecord) -> None:
    """
    Write `results.json`, and the counts of corpora whose references may not be published.

    Args:
        setup ([`Setup`]): The evaluation.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): From [`score_predictions`].
    """
    out = setup.asked.out

    def write() -> None:
        record.write(out / "results.json")
        write_counts(out, setup.asked.corpora, record.normalizer)

    main_only(write, setup.state)


def write_page(setup: Setup, record: EvaluationRecord) -> None:
    """
    Write `report.html` with its plots, and remove what an interrupted evaluation would resume from.

    Args:
        setup ([`Setup`]): The evaluation.
        record ([`~escoita.records.evaluation.EvaluationRecord`]): From [`score_predictions`].
    """
    asked = setup.asked
    clips = {name: material.clips for name, material in setup.tests.items()}
    playable = [corpus.name for corpus in asked.corpora if corpus.publish_audio]
    main_only(lambda: write_report(asked.out, record, clips, playable, asked.title), setup.state)
    _remove_journals(setup)


def write_overlap(path: Path, overrides: list[str] | None = None) -> None:
    """
    Write `data.json` of a run, which says what training and test corpora share, if its training was elsewhere.

    Args:
        path (`Path`): The run directory.
        overrides (`list[str]`, *optional*): `section.key=value`, as for training.
    """
    if is_main_process():
        run = RunDirectory(path)
        write_survey(run.load_recipe(overrides), run, missing_ok=True)


def _remove_journals(setup: Setup) -> None:
    if setup.state.is_main_process:
        for journal in setup.folder.glob(f"*/{JOURNAL}*"):
            shutil.rmtree(journal)


def _check_candidate(candidate: Candidate, baselines: list[Baseline]) -> None:
    """
    Refuse an adapter, or a merged model, that would be told another prompt than in training, and a limit of tokens for
    a model that has none.
    """
    from escoita.models.whisper_ctc import CtcFamily

    family = listener_of(candidate.base, candidate.revision)
    limit = next((each.max_new_tokens for each in baselines if each.model == candidate.base), None)
    if limit is not None and isinstance(family, CtcFamily):
        raise EscoitaError(f"eval.baselines: {candidate.base} is a CTC model, which has no max_new_tokens")
    if candidate.adapter is None and not cached_file(candidate.base, "escoita.json", candidate.revision):
        return
    processor = family.load_processor(candidate.base, candidate.revision)
    if candidate.adapter is not None:
        trained_processor(family, processor, candidate.adapter, candidate.generation_settings.prompt)
    else:
        check_prompt(f"model {candidate.base}", family, processor, adapter_record(candidate.base, candidate.revision))


def _baselines(baselines: list[Baseline], generation_settings: AdapterRecord) -> list[Candidate]:
    """Baselines under the last part of their names."""
    models = [each.model for each in baselines]
    names = [re.sub(r"[^A-Za-z0-9._-]", "-", model.rstrip("/").rpartition("/")[2]) for model in models]
    names = [name.lstrip("._-") or "baseline" for name in names]
    for name in names:
        if names.count(name) > 1 or name in (BASE, SUBJECT, EARLIER):
            raise EscoitaError(f"eval.baselines: two systems would be called {name}; leave out one")
    generation_settings = generation_settings.model_copy(update={"load_in_4bit": False})
    candidates = []
    for name, each in zip(names, baselines, strict=True):
        limit = each.max_new_tokens
        told = (
            generation_settings if limit is None else generation_settings.model_copy(update={"max_new_tokens": limit})
        )
        candidates.append(Candidate(name, each.model, told, own_limit=limit is None))
    return candidates
