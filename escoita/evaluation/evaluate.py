"""
Measures an adapter on test corpora, beside its base and whatever else it is to be compared with.

    python eval/run.py --run runs/quickstart-uzbek
    python eval/run.py --run runs/quickstart-uzbek --baseline openai/whisper-small --against user/adapter@v1
    python eval/run.py --base quickstart/gemma4 --adapter user/adapter --corpus test.jsonl --out results
    torchrun --nproc_per_node 2 -- eval/run.py --run runs/quickstart-uzbek

Writes the predictions of each corpus and system and, from these alone, `results.json` and `report.html`. A run that
was killed goes on from what was heard when the command is given again. Several processes, on one machine or on several
that share the folder, share the batches and hear the same as one.
"""

import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.data.report import write_survey
from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.compare import take_earlier
from escoita.evaluation.counts import write_counts
from escoita.evaluation.predict import JOURNAL, hear_all, located
from escoita.evaluation.predictions import predictions_path
from escoita.evaluation.report.render import write_report
from escoita.evaluation.request import (
    Asked,
    Candidate,
    Material,
    asked_of_manifests,
    asked_of_run,
    corpus_test,
    probe_test,
)
from escoita.evaluation.shards import Shard
from escoita.hub.files import adapter_record, file_at_hand
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
Hear = Callable[[list[Candidate], dict[str, Material], Path, float, "PartialState"], None]


def evaluate_run(
    path: Path,
    overrides: list[str] | None = None,
    hear: Hear = hear_all,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> EvaluationRecord:
    """
    Evaluates the adapter of a run on the test corpora of its recipe.

    Args:
        path (`Path`): The run directory.
        overrides (`list[str]`, *optional*): `section.key=value`, as for training.
        hear (`Callable`, *optional*): [`~escoita.evaluation.shards.merge_all`] takes what shards heard.
        base_revision (`str`, *optional*): Revision of the base; the commit that was trained on unless given.
        allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights, which the record
            then says.

    Raises:
        EscoitaError: The run is not finished, a corpus cannot be read, or the models cannot be loaded.
    """
    record = evaluate(*asked_of_run(path, overrides, base_revision, allow_other_base), hear=hear)
    if is_main_process():
        run = RunDirectory(path)
        # How far train and test are apart; training may be elsewhere.
        write_survey(run.load_recipe(overrides), run, missing_ok=True)
    return record


def evaluate_manifests(
    base: str,
    adapter: str | None,
    manifests: list[Path],
    out: Path,
    language: str | None = None,
    baselines: list[str] | None = None,
    normalizer: str | None = None,
    spoken: AdapterRecord | None = None,
    hear: Hear = hear_all,
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
        spoken ([`AdapterRecord`], *optional*): How the adapter is spoken to; as it says itself unless given.
        hear (`Callable`, *optional*): See [`evaluate_run`].
        base_revision (`str`, *optional*): See [`evaluate_run`].
        allow_other_base (`bool`, *optional*, defaults to `False`): See [`evaluate_run`].

    Raises:
        EscoitaError: As [`evaluate_run`], or the language is no code, or there is no such normaliser.
    """
    asked = asked_of_manifests(
        base, adapter, manifests, out, language, baselines, normalizer, spoken, base_revision, allow_other_base
    )
    return evaluate(*asked, hear=hear)


def evaluate(
    candidates: list[Candidate],
    corpora: list[Corpus],
    out: Path,
    settings: Evaluation,
    max_rejected_share: float = 1.0,
    title: str | None = None,
    *,
    hear: Hear = hear_all,
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
        hear (`Callable`, *optional*): See [`evaluate_run`].

    Raises:
        EscoitaError: A corpus or a model cannot be had, or earlier predictions are of other clips.
    """
    state = _processes()
    candidates, tests = _prepared(candidates, corpora, out, settings, max_rejected_share, state, hear is hear_all)

    def finish() -> EvaluationRecord:
        if state.is_main_process:
            _finish(candidates, corpora, tests, out, settings, title)
        return EvaluationRecord.read(out / "results.json")

    with locked(out / LOCK, _busy(out), state):
        hear(candidates, tests, out, settings.batch_seconds, state)
        return main_first(finish, state)


def hear_shard(asked: Asked, shard: Shard) -> Path:
    """
    Transcribe a part of the corpora, which `escoita/evaluation/shards.py` merges with the others, and score nothing.

    Args:
        asked ([`Asked`]): What is to be measured, the same for all parts.
        shard ([`~escoita.evaluation.shards.Shard`]): Which part.

    Returns:
        `Path`: The folder of what it heard.

    Raises:
        EscoitaError: As [`evaluate`].
    """
    state = _processes()
    settings = asked.settings.model_copy(update={"against": None})  # asked for where the parts are put together
    candidates, tests = _prepared(*asked[:3], settings, asked.max_rejected_share, state)
    folder = shard.folder(asked.out)
    with locked(folder / LOCK, _busy(folder), state):
        hear_all(candidates, tests, asked.out, settings.batch_seconds, state, shard)
        if state.is_main_process:
            for journal in folder.glob(f"*/{JOURNAL}*"):
                shutil.rmtree(journal)
    return folder


def _busy(folder: Path) -> EscoitaError:
    return EscoitaError(f"{folder}: another command evaluates into this folder; wait until it has finished")


def _processes() -> "PartialState":
    import torch
    from accelerate import PartialState

    # The others wait while the first decodes whole corpora, which takes longer than what torch allows by itself.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))


def _prepared(
    candidates: list[Candidate],
    corpora: list[Corpus],
    out: Path,
    settings: Evaluation,
    max_rejected_share: float,
    state: "PartialState",
    loaded: bool = True,
) -> tuple[list[Candidate], dict[str, Material]]:
    """The candidates with the baselines, their bases located if they will be loaded, and what all of them hear."""
    spoken = candidates[0].spoken
    candidates = [*candidates, *_baselines(settings.baselines, spoken)]
    if loaded:
        candidates = main_only(lambda: located(candidates), state)
    for candidate in candidates:  # before anything is decoded: a mistyped name is found at once
        _check_candidate(candidate, settings.baselines)

    def gather_material() -> dict[str, Material]:
        found = {corpus.name: corpus_test(corpus, spoken.language, max_rejected_share) for corpus in corpora}
        if settings.against and state.is_main_process:
            take_earlier(settings.against, {name: material.clips for name, material in found.items()}, out)
        return found | ({PROBES: probe_test(spoken.language)} if settings.probes else {})

    return candidates, main_first(gather_material, state)


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
    if candidate.adapter is None and not file_at_hand(candidate.base, "escoita.json", candidate.revision):
        return
    processor = family.load_processor(candidate.base, candidate.revision)
    if candidate.adapter is not None:
        trained_processor(family, processor, candidate.adapter, candidate.spoken.prompt)
    else:
        check_prompt(f"model {candidate.base}", family, processor, adapter_record(candidate.base, candidate.revision))


def _baselines(baselines: list[Baseline], spoken: AdapterRecord) -> list[Candidate]:
    """Baselines under the last part of their names."""
    models = [each.model for each in baselines]
    names = [re.sub(r"[^A-Za-z0-9._-]", "-", model.rstrip("/").rpartition("/")[2]) for model in models]
    names = [name.lstrip("._-") or "baseline" for name in names]
    for name in names:
        if names.count(name) > 1 or name in (BASE, SUBJECT, EARLIER):
            raise EscoitaError(f"eval.baselines: two systems would be called {name}; leave out one")
    spoken = spoken.model_copy(update={"load_in_4bit": False})
    candidates = []
    for name, each in zip(names, baselines, strict=True):
        limit = each.max_new_tokens
        told = spoken if limit is None else spoken.model_copy(update={"max_new_tokens": limit})
        candidates.append(Candidate(name, each.model, told, own_limit=limit is None))
    return candidates


def _finish(
    candidates: list[Candidate],
    corpora: list[Corpus],
    tests: dict[str, Material],
    out: Path,
    settings: Evaluation,
    title: str | None,
) -> None:
    """Scores what was heard, shows it, and leaves nothing behind of systems that were not asked for now."""
    systems = [candidate.name for candidate in candidates] + ([EARLIER] if settings.against else [])
    if PROBES not in tests:
        shutil.rmtree(out / PROBES, ignore_errors=True)
    for corpus in tests:
        wanted = {predictions_path(out, corpus, system) for system in systems}
        for path in set((out / corpus).glob("predictions*.parquet")) - wanted:
            path.unlink()
    record = score(out, settings.normalizer, settings.resamples, list(tests))
    record.write(out / "results.json")
    write_counts(out, corpora, settings.normalizer)
    clips = {name: material.clips for name, material in tests.items()}
    write_report(out, record, clips, [corpus.name for corpus in corpora if corpus.publish_audio], title)
    for journal in out.glob(f"*/{JOURNAL}*"):
        shutil.rmtree(journal)
