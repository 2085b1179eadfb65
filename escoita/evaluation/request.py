"""Define what an evaluation measures: systems, corpora and settings, and the clips of each corpus."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from escoita.audio.loading import seconds
from escoita.data.clips import read_clip
from escoita.data.loading import gather
from escoita.data.rows import Utterance, Utterances
from escoita.errors import CorpusError, EscoitaError
from escoita.evaluation.probes import probes
from escoita.hub.files import adapter_record, file_if_any
from escoita.metrics.normalizers import NORMALIZERS, default_normalizer
from escoita.models import listener_of
from escoita.models.base_model import Base
from escoita.recipe.schema import Corpus, Evaluation
from escoita.records.evaluation import BASE, PROBES, SUBJECT
from escoita.records.training import AdapterRecord, Prompt
from escoita.run_directory import RunDirectory


@dataclass(frozen=True)
class EvaluationData:
    """
    Clips that every candidate hears.

    Args:
        clips ([`~escoita.data.rows.Utterances`]): What is said, and how long it is.
        load (`Callable[[int], np.ndarray]`): Gives the samples of a clip.
        rejected (`int`, *optional*, defaults to 0): Rows of the corpus that could not be used.
    """

    clips: Utterances
    load: Callable[[int], np.ndarray]
    rejected: int = 0


def corpus_test(corpus: Corpus, language: str, max_rejected_share: float) -> EvaluationData:
    """
    Reads and checks a corpus. Recordings that are longer than a model hears at once are cut for it where it is quiet.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): As the recipe says.
        language (`str`): Of clips that name none.
        max_rejected_share (`float`): Largest fraction of its rows that may be unusable.

    Raises:
        CorpusError: It cannot be read, or too much of it cannot be used.
    """
    ((clips, rejected),) = gather([corpus], language, None, max_rejected_share).values()
    return EvaluationData(clips, lambda index: read_clip(clips[index]), len(rejected))


def probe_test(language: str) -> EvaluationData:
    """Silence, noise and hum; see `escoita/evaluation/probes.py`."""
    found = probes()
    rows = [
        Utterance(probe.name, probe.name, "", PROBES, language, PROBES, row, audio_seconds=seconds(probe.samples))
        for row, probe in enumerate(found, start=1)
    ]
    return EvaluationData(Utterances.of(rows), lambda index: found[index].samples)


@dataclass(frozen=True)
class Candidate:
    """
    A model that is to be heard.

    Args:
        name (`str`): What records call it: `adapter`, `base`, or the name of a baseline.
        base (`str`): Folder or repository of the model.
        generation_settings ([`AdapterRecord`]): Prompt, language and limit of tokens.
        revision (`str`, *optional*): Of the base; its commit once [`located`] has found it.
        adapter (`str`, *optional*): Folder or repository of the adapter.
        adapter_name (`str`, *optional*): What records call its folder or repository; as it is unless given.
        dtype (`str`, *optional*, defaults to `"auto"`): Precision of the weights.
        trained (`str`, *optional*): Adapter whose record the base must fit; also of a base that is measured next to
            its adapter.
        allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base that does not fit it.
        recipe_revision (`str`, *optional*): Revision of the base that the recipe names.
        resolved ([`~escoita.models.base_model.Base`], *optional*): The base, once it is found.
        own_limit (`bool`, *optional*, defaults to `False`): The model's own limit of tokens holds instead of that of
            `generation_settings`.
    """

    name: str
    base: str
    generation_settings: AdapterRecord
    revision: str | None = None
    adapter: str | None = None
    adapter_name: str | None = None
    dtype: str = "auto"
    trained: str | None = None
    allow_other_base: bool = False
    recipe_revision: str | None = None
    resolved: Base | None = None
    own_limit: bool = False

    def carries(self, other: "Candidate") -> bool:
        """Whether the other is this model, once its adapter is merged into it."""
        return self.adapter is None and all(
            getattr(self, key) == getattr(other, key) for key in ("base", "revision", "dtype", "generation_settings")
        )


class EvaluationRequest(NamedTuple):
    """
    What [`~escoita.evaluation.evaluate.evaluate`] is to measure; its arguments.

    Args:
        candidates (`list[Candidate]`): The base and its adapter.
        corpora (`list[Corpus]`): What to test on.
        out (`Path`): Where predictions, results and report go.
        settings ([`Evaluation`]): Baselines, batches, normaliser, intervals, probes.
        max_rejected_share (`float`, *optional*, defaults to 1): Largest fraction of a corpus that may be unusable.
        title (`str`, *optional*): Heads the report.
    """

    candidates: list[Candidate]
    corpora: list[Corpus]
    out: Path
    settings: Evaluation
    max_rejected_share: float = 1.0
    title: str | None = None


def request_for_run(
    path: Path,
    overrides: list[str] | None = None,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> EvaluationRequest:
    """What is to be measured of a run, as [`~escoita.evaluation.evaluate.evaluate_run`] does."""
    run = RunDirectory(path)
    recipe, adapter = run.load_recipe(overrides), run.trained_adapter()
    generation_settings = adapter_record(adapter).model_copy(update={"max_new_tokens": recipe.eval.max_new_tokens})
    if recipe.base_revision != run.load_recipe().base_revision:  # --set base_revision=… is meant as --base-revision
        base_revision = base_revision or recipe.base_revision
    base = Candidate(
        BASE,
        recipe.base,
        generation_settings,
        base_revision,
        dtype=recipe.dtype,
        trained=adapter,
        allow_other_base=allow_other_base,
        recipe_revision=recipe.base_revision,
    )
    # `adapter` is the folder beside `eval`: the record stays true wherever the run is moved.
    main_system = replace(base, name=SUBJECT, adapter=adapter, adapter_name="adapter")
    candidates = [*([base] if recipe.eval.base else []), main_system]
    share = recipe.corpora.max_rejected_share
    return EvaluationRequest(candidates, recipe.corpora.test, run.eval, recipe.eval, share, recipe.card.title)


def request_for_manifests(
    base: str,
    adapter: str | None,
    manifests: list[Path],
    out: Path,
    language: str | None = None,
    baselines: list[str] | None = None,
    normalizer: str | None = None,
    generation_settings: AdapterRecord | None = None,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> EvaluationRequest:
    """What is to be measured on manifests, as [`~escoita.evaluation.evaluate.evaluate_manifests`] does."""
    from escoita.models.chat import ChatFamily

    corpora = _named_by_file(manifests)
    if language and not re.fullmatch("[a-z]{2,3}", language):
        raise EscoitaError(f"--language {language}: write its code, such as gl")
    if normalizer is not None and normalizer not in NORMALIZERS:
        raise EscoitaError(f"--normalizer {normalizer}: there are {', '.join(NORMALIZERS)}")
    settings = Evaluation.model_validate({"baselines": baselines or []})
    if adapter is not None:
        generation_settings = generation_settings or adapter_record(adapter)
        alone = Candidate(
            BASE, base, generation_settings, base_revision, trained=adapter, allow_other_base=allow_other_base
        )
        candidates = [alone, replace(alone, name=SUBJECT, adapter=adapter)]
    elif isinstance(listener_of(base, base_revision), ChatFamily):
        if not file_if_any(base, "escoita.json", base_revision):
            raise EscoitaError(f"{base}: answers to a prompt, which an adapter tells; give --adapter")
        candidates = [
            Candidate(BASE, base, adapter_record(base, base_revision), base_revision)
        ]  # both in one, as `escoita merge` writes them
    elif language is None:
        raise EscoitaError(f"{base}: no adapter tells the language; say it with --language")
    else:
        generation_settings = AdapterRecord(
            language=language, prompt=Prompt(user=""), max_new_tokens=settings.max_new_tokens
        )
        candidates = [Candidate(BASE, base, generation_settings, base_revision, own_limit=True)]
    chosen = normalizer or default_normalizer(candidates[0].generation_settings.language)
    return EvaluationRequest(candidates, corpora, out, settings.model_copy(update={"normalizer": chosen}))


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
