"""Find the baselines of an evaluation, and refuse systems that cannot transcribe its clips."""

import re
from collections.abc import Collection
from dataclasses import replace

from escoita.errors import EscoitaError
from escoita.evaluation.request import EvaluationData, SystemSpec
from escoita.hub.files import adapter_record, cached_file
from escoita.models import family_for_evaluation
from escoita.models.trained_prompt import check_prompt, trained_processor
from escoita.recipe.schema import Baseline
from escoita.records.evaluation import ADAPTER_SYSTEM, BASE, EARLIER
from escoita.records.training import LONGEST_NAME, AdapterRecord


def check_system(system: SystemSpec, baselines: list[Baseline]) -> None:
    """Refuse an adapter, or a merged model, with another prompt than in training, and settings without effect."""
    family = family_for_evaluation(system.base, system.revision)
    own = next((each for each in baselines if each.model == system.base), None)
    for key, possible in (("max_new_tokens", family.token_limit), ("num_beams", family.beam_search)):
        if own is not None and getattr(own, key) is not None and not possible:
            raise EscoitaError(f"this model has no {key}", key="eval.baselines", value=system.base)
    if system.adapter is None and not cached_file(system.base, "escoita.json", system.revision):
        return
    processor = family.load_processor(system.base, system.revision)
    if system.adapter is not None:
        trained_processor(family, processor, system.adapter, system.generation_settings)
    else:
        check_prompt(f"model {system.base}", family, processor, adapter_record(system.base, system.revision))


def with_own_prompt(system: SystemSpec) -> SystemSpec:
    """Return a baseline with the prompt of its own family, if that has one."""
    if not system.own_limit and system.name in (BASE, ADAPTER_SYSTEM):
        return system
    settings = system.generation_settings
    prompt = family_for_evaluation(system.base, system.revision).baseline_prompt(settings.language)
    if prompt is None:
        return system
    return replace(system, generation_settings=settings.model_copy(update={"prompt": prompt}))


def refuse_unsupported_languages(systems: list[SystemSpec], tests: dict[str, EvaluationData]) -> None:
    """
    Refuse a model that does not know the language of a clip, before anything is transcribed.

    Args:
        systems (`list[SystemSpec]`): The systems.
        tests (`dict[str, EvaluationData]`): The clips of each corpus, by name.

    Raises:
        EscoitaError: A model would transcribe clips as another language.
    """
    from escoita.models.base import Family

    languages = sorted(
        {language for test in tests.values() if not test.retention for language in test.clips.column("language")}
    )
    for system in systems:
        if system.adapter is not None:
            continue
        family = family_for_evaluation(system.base, system.revision)
        if type(family).unsupported is Family.unsupported:  # its processor is not needed
            continue
        processor = family.load_processor(system.base, system.revision)
        if wrong := family.unsupported(processor, languages):
            hint = "leave out this model"
            raise EscoitaError("not supported", path=system.base, key="language", value=", ".join(wrong), hint=hint)


def baseline_systems(
    baselines: list[Baseline], generation_settings: AdapterRecord, num_beams: int = 1, taken: Collection[str] = ()
) -> list[SystemSpec]:
    """
    Return the baselines, named by the last part of their repository or folder, which is shortened if it is too long.

    Args:
        baselines (`list[Baseline]`): The baselines of the settings.
        generation_settings ([`AdapterRecord`]): The settings of the main system, with the language.
        num_beams (`int`, *optional*, defaults to 1): The number of beams of baselines without their own.
        taken (`Collection[str]`, *optional*): Names of other systems.
    """
    models = [each.model for each in baselines]
    names = [re.sub(r"[^A-Za-z0-9._-]", "-", model.rstrip("/").rpartition("/")[2]) for model in models]
    names = [name.lstrip("._-")[:LONGEST_NAME] or "baseline" for name in names]
    for name in names:
        if names.count(name) > 1 or name in (BASE, ADAPTER_SYSTEM, EARLIER, *taken):
            raise EscoitaError(
                "two systems would have this name", key="eval.baselines", value=name, hint="remove one of them"
            )
    generation_settings = generation_settings.model_copy(update={"load_in_4bit": False})
    systems = []
    for name, each in zip(names, baselines, strict=True):
        limit = each.max_new_tokens
        settings = (
            generation_settings if limit is None else generation_settings.model_copy(update={"max_new_tokens": limit})
        )
        beams = each.num_beams or num_beams
        systems.append(SystemSpec(name, each.model, settings, own_limit=limit is None, num_beams=beams))
    return systems
