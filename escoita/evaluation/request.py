"""Define what an evaluation measures: systems, corpora and settings, and the clips of each corpus."""

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
from escoita.models import family_for_evaluation
from escoita.models.base_model import Base
from escoita.recipe.schema import Corpus, Evaluation
from escoita.records.evaluation import ADAPTER_SYSTEM, BASE, PROBES
from escoita.records.training import AdapterRecord, Prompt, TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.languages import check_language
from escoita.utils.processes import say_once


@dataclass(frozen=True)
class EvaluationData:
    """
    Hold the clips that every system transcribes.

    Args:
        clips ([`~escoita.data.rows.Utterances`]): References and durations.
        load (`Callable[[int], np.ndarray]`): Function from the index of a clip to its samples.
        rejected (`int`, *optional*, defaults to 0): Number of rows of the corpus that could not be used.
        retention (`bool`, *optional*, defaults to `False`): Whether the corpus measures forgetting, so that only
            adapter and base transcribe it.
        prompt ([`Prompt`], *optional*): Prompt of this corpus. Defaults to that of the system.
    """

    clips: Utterances
    load: Callable[[int], np.ndarray]
    rejected: int = 0
    retention: bool = False
    prompt: Prompt | None = None


def corpus_test(corpus: Corpus, language: str, max_rejected_share: float) -> EvaluationData:
    """
    Read and check a corpus. Of recordings longer than the input of a model, the stretches of speech are transcribed.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): Corpus of the recipe.
        language (`str`): Language of clips without one of their own.
        max_rejected_share (`float`): Largest fraction of rows that may be unusable.

    Raises:
        CorpusError: The corpus cannot be read, or too many rows are unusable.
    """
    ((clips, rejected),) = gather([corpus], language, None, max_rejected_share).values()
    return EvaluationData(clips, lambda index: read_clip(clips[index]), len(rejected))


def probe_test(language: str) -> EvaluationData:
    """Return the probes of `escoita/evaluation/probes.py`."""
    found = probes()
    rows = [
        Utterance(probe.name, probe.name, "", PROBES, language, PROBES, row, audio_seconds=seconds(probe.samples))
        for row, probe in enumerate(found, start=1)
    ]
    return EvaluationData(Utterances.of(rows), lambda index: found[index].samples)


@dataclass(frozen=True)
class SystemSpec:
    """
    Describe a system that is evaluated.

    Args:
        name (`str`): Name in records: `adapter`, `base`, or the name of a baseline.
        base (`str`): Folder or repository of the model.
        generation_settings ([`AdapterRecord`]): Prompt, language and token limit.
        revision (`str`, *optional*): Revision of the base; its commit after
            [`~escoita.evaluation.predict.resolve_bases`].
        adapter (`str`, *optional*): Folder or repository of the adapter.
        adapter_name (`str`, *optional*): Name of the adapter's folder or repository in records. Defaults to `adapter`.
        dtype (`str`, *optional*, defaults to `"auto"`): Precision of the weights.
        trained (`str`, *optional*): Adapter whose record names the digest of the base; also given for a base that is
            evaluated next to its adapter.
        allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with another digest.
        recipe_revision (`str`, *optional*): Revision of the base in the recipe.
        resolved ([`~escoita.models.base_model.Base`], *optional*): The base, after it was found.
        own_limit (`bool`, *optional*, defaults to `False`): Whether to use the token limit of the model instead of
            that of `generation_settings`.
        num_beams (`int`, *optional*, defaults to 1): Number of beams.
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
    num_beams: int = 1

    def is_base_of(self, other: "SystemSpec") -> bool:
        """Return whether the other system is this model with an adapter, so that the loaded model can be used."""
        return self.adapter is None and all(
            getattr(self, key) == getattr(other, key) for key in ("base", "revision", "dtype", "generation_settings")
        )


def transcribes(system: SystemSpec, test: EvaluationData) -> bool:
    """Return whether a system transcribes a corpus; only adapter and base transcribe those that measure forgetting."""
    return not test.retention or system.name in (ADAPTER_SYSTEM, BASE)


class EvaluationRequest(NamedTuple):
    """
    Hold the arguments of [`~escoita.evaluation.evaluate.evaluate`].

    Args:
        systems (`list[SystemSpec]`): The base and its adapter.
        corpora (`list[Corpus]`): Test corpora.
        out (`Path`): Folder for predictions, results and report.
        settings ([`Evaluation`]): Baselines, batches, normalizer, intervals, probes.
        max_rejected_share (`float`, *optional*, defaults to 1): Largest fraction of a corpus that may be unusable.
        title (`str`, *optional*): Title of the report.
    """

    systems: list[SystemSpec]
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
    """Return the request for a run; the arguments are those of [`~escoita.evaluation.evaluate.evaluate_run`]."""
    run = RunDirectory(path)
    recipe, adapter = run.load_recipe(overrides), run.trained_adapter()
    generation_settings = adapter_record(adapter).model_copy(update={"max_new_tokens": recipe.eval.max_new_tokens})
    if recipe.base_revision != run.load_recipe().base_revision:  # --set base_revision=… acts as --base-revision
        base_revision = base_revision or recipe.base_revision
    base = SystemSpec(
        BASE,
        recipe.base,
        generation_settings,
        base_revision,
        dtype=recipe.dtype,
        trained=adapter,
        allow_other_base=allow_other_base,
        recipe_revision=recipe.base_revision,
        num_beams=recipe.eval.num_beams,
    )
    # The name of the folder next to `eval`, so that the record stays valid if the run is moved.
    main_system = replace(base, name=ADAPTER_SYSTEM, adapter=adapter, adapter_name="adapter")
    compared = recipe.eval.base
    if compared and run.training.is_file() and not TrainingRecord.read(run.training).base_transcribes:
        say_once(f"{recipe.base}: not evaluated, because it cannot transcribe without an adapter")
        compared = False
    systems = [*([base] if compared else []), main_system]
    share = recipe.corpora.max_rejected_share
    return EvaluationRequest(systems, recipe.corpora.test, run.eval, recipe.eval, share, recipe.card.title)


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
    num_beams: int = 1,
) -> EvaluationRequest:
    """Return the request for manifests; for the arguments see [`~escoita.evaluation.evaluate.evaluate_manifests`]."""
    corpora = _named_by_file(manifests)
    if language is not None:
        language = check_language(language)
    if normalizer is not None and normalizer not in NORMALIZERS:
        raise EscoitaError(
            "unknown normalizer", key="--normalizer", value=normalizer, hint=f"use one of {', '.join(NORMALIZERS)}"
        )
    settings = Evaluation.model_validate({"baselines": baselines or [], "num_beams": num_beams})
    if adapter is not None:
        generation_settings = generation_settings or adapter_record(adapter)
        base_system = SystemSpec(
            BASE, base, generation_settings, base_revision, trained=adapter, allow_other_base=allow_other_base
        )
        systems = [base_system, replace(base_system, name=ADAPTER_SYSTEM, adapter=adapter)]
    elif file_if_any(base, "escoita.json", base_revision):
        # A model with a merged adapter, as `escoita merge` writes it.
        systems = [SystemSpec(BASE, base, adapter_record(base, base_revision), base_revision)]
    elif family_for_evaluation(base, base_revision).needs_prompt:
        raise EscoitaError("required, because the model needs the prompt of an adapter", path=base, key="--adapter")
    elif language is None:
        raise EscoitaError("required without an adapter", path=base, key="--language")
    else:
        generation_settings = AdapterRecord(
            language=language, prompt=Prompt(user=""), max_new_tokens=settings.max_new_tokens
        )
        systems = [SystemSpec(BASE, base, generation_settings, base_revision, own_limit=True)]
    systems = [replace(system, num_beams=num_beams) for system in systems]
    chosen = normalizer or default_normalizer(systems[0].generation_settings.language)
    return EvaluationRequest(systems, corpora, out, settings.model_copy(update={"normalizer": chosen}))


def _named_by_file(manifests: list[Path]) -> list[Corpus]:
    """Return corpora named by their files (`test`), or, if that is ambiguous, also by their folders (`gl-test`)."""
    stems = [path.stem for path in manifests]
    folders = [f"{path.resolve().parent.name}-" if stems.count(path.stem) > 1 else "" for path in manifests]
    names = [folder + stem for folder, stem in zip(folders, stems, strict=True)]
    if len(set(names)) < len(names):
        raise CorpusError(
            "two manifests have the same name and the same name of their folder, which name their corpora",
            key="--corpus",
            hint="rename one",
        )
    try:
        return [Corpus(name=name, path=str(path)) for name, path in zip(names, manifests, strict=True)]
    except ValidationError as error:
        raise CorpusError(
            "the name of a manifest must be valid as the name of a corpus",
            key="--corpus",
            hint="use letters, digits, '.', '_' and '-'",
        ) from error
