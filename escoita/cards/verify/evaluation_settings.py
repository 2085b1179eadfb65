"""Compare an evaluation with the settings of its recipe."""

from escoita.cards.verify.recompute import Differences, differing
from escoita.models.families import BY_MODEL_TYPE, HEAD
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import ADAPTER_SYSTEM, BASE, EvaluationRecord
from escoita.records.training import TrainingRecord
from escoita.utils.files import public_name


# With fewer bootstrap resamples, the bounds of an interval are noise.
FEWEST_RESAMPLES = 100


def too_few_resamples(evaluation: EvaluationRecord) -> Differences:
    """Yield a line if the number of bootstrap resamples is too small for an interval."""
    if evaluation.resamples < FEWEST_RESAMPLES:
        yield f"resamples: {evaluation.resamples} in results.json; an interval needs at least {FEWEST_RESAMPLES}"


def evaluation_differences(
    recipe: Recipe, evaluation: EvaluationRecord, training: TrainingRecord | None = None
) -> Differences:
    """Yield a line for each setting of the recipe that differs from the evaluation."""
    main_system = evaluation.main_system
    first = evaluation.rescored or evaluation  # the card states a later scoring with other settings
    pairs: dict[str, tuple[object, object]] = {
        "normalizer": (recipe.eval.normalizer, first.normalizer),
        "resamples": (recipe.eval.resamples, first.resamples),
        "max_new_tokens": (None if _is_ctc(training) else recipe.eval.max_new_tokens, main_system.max_new_tokens),
        "batch_seconds": (recipe.eval.batch_seconds, main_system.batch_seconds),
        "num_beams": (1 if _is_ctc(training) else recipe.eval.num_beams, main_system.decoding.num_beams),
    }
    if evaluation.rows[0].main_system.unusable is not None:  # escoita 0.1.0 had one metric
        # An evaluation by escoita 0.1.0 had the WER, and its later scoring the metric of the recipe.
        metrics = first.primary, evaluation.primary
        pairs["primary"] = (recipe.primary, recipe.primary if recipe.primary in metrics else evaluation.primary)
    elif evaluation.primary != "wer":
        yield f"primary: {evaluation.primary} in results.json, but escoita 0.1.0 had the WER only"
    yield from differing(pairs, "recipe.yaml", "results.json")
    yield from _token_limits(recipe, evaluation, _is_ctc(training))
    yield from _beams(recipe, evaluation, _is_ctc(training))
    yield from too_few_resamples(evaluation)
    expected_corpora = [corpus.name for corpus in recipe.corpora.test]
    evaluated = {result.name for result in evaluation.corpora}
    missing = [name for name in expected_corpora if name not in evaluated]
    yield from (f"corpus {name}: in recipe.yaml, not in results.json" for name in missing)
    others = sorted(evaluated - set(expected_corpora))
    yield from (f"corpus {name}: in results.json, not in recipe.yaml" for name in others)
    retained = {corpus.name for corpus in recipe.eval.retention}
    measured = {result.name for result in evaluation.retention}
    for name in sorted(retained ^ measured):
        where = "results.json, not in recipe.yaml" if name in measured else "recipe.yaml, not in results.json"
        yield f"retention {name}: in {where}"
    used = evaluation.retention_normalizers
    normalizers = {
        f"normalizer of {corpus.name}": (corpus.normalizer, used.get(corpus.name))
        for corpus in recipe.eval.retention
        if corpus.name in measured
    }
    yield from differing(normalizers, "recipe.yaml", "results.json")
    systems = [system.name for system in evaluation.systems]
    if main_system.name != ADAPTER_SYSTEM:
        yield f"system: {main_system.name} in results.json, expected the adapter"
    without_head = training is not None and not training.base_transcribes and _is_ctc(training)
    if recipe.eval.base and BASE not in systems and not without_head:
        yield "system base: in recipe.yaml, not in results.json"
    found = len(set(systems) - {ADAPTER_SYSTEM, BASE})
    expected = len(recipe.eval.baselines) + bool(recipe.eval.against)
    if found < expected:
        yield f"systems: {expected} others in recipe.yaml, {found} in results.json"
    if recipe.eval.probes and {probe.system for probe in evaluation.probes} != set(systems):
        yield "probes: in recipe.yaml, but not for each system in results.json"


def _is_ctc(training: TrainingRecord | None) -> bool:
    """Return whether the family has no token limit, and trains a head, which its bases may lack."""
    info = BY_MODEL_TYPE.get(training.family) if training else None
    return info is not None and HEAD in info.saved_modules


def _token_limits(recipe: Recipe, evaluation: EvaluationRecord, ctc: bool) -> Differences:
    """Compare the token limits of the base, unless it is a CTC model, and of baselines whose limit the recipe sets."""
    limits = {public_name(each.model): each.max_new_tokens for each in recipe.eval.baselines}
    for system in evaluation.systems[1:]:
        of_base = None if ctc else recipe.eval.max_new_tokens
        limit = of_base if system.name == BASE else limits.get(system.base)
        if limit is None or system.adapter is not None:
            continue
        # The decoder of a baseline may have a lower limit.
        lower = system.name != BASE and 0 < (system.max_new_tokens or 0) < limit
        if system.max_new_tokens != limit and not lower:
            found = "nothing" if system.max_new_tokens is None else str(system.max_new_tokens)
            yield f"max_new_tokens of {system.name}: {limit} in recipe.yaml, {found} in results.json"


def _beams(recipe: Recipe, evaluation: EvaluationRecord, ctc: bool) -> Differences:
    """Compare the number of beams of the base and of baselines."""
    beams = {public_name(each.model): each.num_beams or recipe.eval.num_beams for each in recipe.eval.baselines}
    for system in evaluation.systems[1:]:
        of_base = 1 if ctc else recipe.eval.num_beams
        expected = of_base if system.name == BASE else beams.get(system.base)
        # Some baselines, such as CTC models, decode greedily in any case.
        greedy = system.name != BASE and system.decoding.num_beams == 1
        if expected is not None and system.adapter is None and system.decoding.num_beams != expected and not greedy:
            yield (
                f"num_beams of {system.name}: {expected} in recipe.yaml, {system.decoding.num_beams} in results.json"
            )
