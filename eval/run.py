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
from datetime import timedelta
from pathlib import Path

from pydantic import ValidationError

from escoita.corpora.survey import write_survey
from escoita.errors import CorpusError, EscoitaError
from escoita.evaluation import BASE, PROBES, SUBJECT, EvaluationRecord
from escoita.families import listener_of
from escoita.predictions import predictions_path
from escoita.processes import main_first
from escoita.progress import is_main_process
from escoita.recipe import Corpus, Evaluation
from escoita.records import AdapterRecord, Prompt
from escoita.resolve import adapter_record, file_if_any
from escoita.rundir import RunDirectory
from escoita.text import NORMALIZERS
from eval.counts import write_counts
from eval.earlier import EARLIER, take_earlier
from eval.material import Material, corpus_test, probe_test
from eval.report import write_report
from eval.results import score
from eval.systems import JOURNAL, Candidate, hear_all


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
    spoken = adapter_record(adapter).model_copy(update={"max_new_tokens": recipe.eval.max_new_tokens})
    base = Candidate(BASE, recipe.base, spoken, recipe.base_revision, dtype=recipe.dtype)
    # `adapter` is the folder beside `eval`: the record stays true wherever the run is moved.
    judged = Candidate(SUBJECT, recipe.base, spoken, recipe.base_revision, adapter, "adapter", recipe.dtype)
    candidates = [*([base] if recipe.eval.base else []), judged]
    share, title = recipe.corpora.max_rejected_share, recipe.card.title
    record = evaluate(candidates, recipe.corpora.test, run.eval, recipe.eval, share, title)
    if is_main_process():
        write_survey(recipe, run, missing_ok=True)  # how far train and test are apart; training may be elsewhere
    return record


def evaluate_manifests(
    base: str,
    adapter: str | None,
    manifests: list[Path],
    out: Path,
    language: str | None = None,
    baselines: list[str] | None = None,
    normalizer: str = "raw",
    spoken: AdapterRecord | None = None,
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
        normalizer (`str`, *optional*, defaults to `"raw"`): One of `NORMALIZERS`.
        spoken ([`AdapterRecord`], *optional*): How the adapter is spoken to; as it says itself unless given.

    Raises:
        EscoitaError: As [`evaluate_run`], or the language is no code, or there is no such normaliser.
    """
    from escoita.families.chat import ChatFamily

    corpora = _named_by_file(manifests)
    if language and not re.fullmatch("[a-z]{2,3}", language):
        raise EscoitaError(f"--language {language}: write its code, such as gl")
    if normalizer not in NORMALIZERS:
        raise EscoitaError(f"--normalizer {normalizer}: there are {', '.join(NORMALIZERS)}")
    settings = Evaluation.model_validate({"baselines": baselines or [], "normalizer": normalizer})
    if adapter is not None:
        spoken = spoken or adapter_record(adapter)
        candidates = [Candidate(BASE, base, spoken), Candidate(SUBJECT, base, spoken, adapter=adapter)]
    elif isinstance(listener_of(base), ChatFamily):
        if not file_if_any(base, "escoita.json"):
            raise EscoitaError(f"{base}: answers to a prompt, which an adapter tells; give --adapter")
        candidates = [Candidate(BASE, base, adapter_record(base))]  # both in one, as `escoita merge` writes them
    elif language is None:
        raise EscoitaError(f"{base}: no adapter tells the language; say it with --language")
    else:
        spoken = AdapterRecord(language=language, prompt=Prompt(user=""), max_new_tokens=settings.max_new_tokens)
        candidates = [Candidate(BASE, base, spoken)]
    return evaluate(candidates, corpora, out, settings)


def _named_by_file(manifests: list[Path]) -> list[Corpus]:
    """Corpora by the names of their files, `test`; where several have one, with those of their folders, `gl-test`."""
    stems = [path.stem for path in manifests]
    folders = [f"{path.resolve().parent.name}-" if stems.count(path.stem) > 1 else "" for path in manifests]
    names = [folder + stem for folder, stem in zip(folders, stems, strict=True)]
    if len(set(names)) < len(names):
        raise CorpusError("two manifests and their folders have the same names, which name their corpora; rename one")
    try:
        return [Corpus(name=name, path=str(path)) for name, path in zip(names, manifests, strict=True)]
    except ValidationError as error:
        raise CorpusError("a manifest's file name names its corpus: use letters, digits, '.', '_' and '-'") from error


def evaluate(
    candidates: list[Candidate],
    corpora: list[Corpus],
    out: Path,
    settings: Evaluation,
    max_rejected_share: float = 1.0,
    title: str | None = None,
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

    Raises:
        EscoitaError: A corpus or a model cannot be had, or earlier predictions are of other clips.
    """
    import torch
    from accelerate import PartialState

    # The others wait while the first decodes whole corpora, which takes longer than what torch allows by itself.
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))
    spoken = candidates[0].spoken
    candidates = [*candidates, *_baselines(settings.baselines, spoken)]
    for candidate in candidates:  # before anything is decoded: a mistyped name is found at once
        listener_of(candidate.base, candidate.revision)

    def gather_material() -> dict[str, Material]:
        found = {corpus.name: corpus_test(corpus, spoken.language, max_rejected_share) for corpus in corpora}
        if settings.against and state.is_main_process:
            take_earlier(settings.against, {name: material.clips for name, material in found.items()}, out)
        return found | ({PROBES: probe_test(spoken.language)} if settings.probes else {})

    tests = main_first(gather_material, state)
    hear_all(candidates, tests, out, settings.batch_seconds, state)

    def finish() -> EvaluationRecord:
        if state.is_main_process:
            _finish(candidates, corpora, tests, out, settings, title)
        return EvaluationRecord.read(out / "results.json")

    return main_first(finish, state)


def _baselines(models: list[str], spoken: AdapterRecord) -> list[Candidate]:
    """Baselines under the last part of their names."""
    names = [re.sub(r"[^A-Za-z0-9._-]", "-", model.rstrip("/").rpartition("/")[2]) for model in models]
    names = [name.lstrip("._-") or "baseline" for name in names]
    for name in names:
        if names.count(name) > 1 or name in (BASE, SUBJECT, EARLIER):
            raise EscoitaError(f"eval.baselines: two systems would be called {name}; leave out one")
    spoken = spoken.model_copy(update={"load_in_4bit": False})
    return [Candidate(name, model, spoken) for name, model in zip(names, models, strict=True)]


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


if __name__ == "__main__":
    from escoita.cli import evaluate as command
    from escoita.cli import script

    script(command)
