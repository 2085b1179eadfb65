"""Compare what the published files say of the base: its name, its commit, and the digest of its weights."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from escoita.cards.verify.rates import Differences, differing
from escoita.records.evaluation import BASE, SUBJECT, EvaluationRecord, System
from escoita.evaluation.predictions import Provenance
from escoita.recipe.recipe import Recipe
from escoita.records.training import BaseRecord, TrainingRecord


def base_differences(recipe: Recipe, training: TrainingRecord, base: BaseRecord | None) -> Differences:
    """
    Yield a line for each difference between recipe, `training.json` and `escoita.json`.

    Args:
        recipe ([`Recipe`]): `recipe.yaml`.
        training ([`TrainingRecord`]): `training.json`.
        base ([`BaseRecord`], *optional*): From `escoita.json`; none in what escoita 0.1.0 wrote.
    """
    asked = recipe.base_revision or ""
    if training.base_commit and re.fullmatch("[0-9a-f]{40}", asked):
        yield from differing({"commit of the base": (asked, training.base_commit)}, "recipe.yaml", "training.json")
    if base is None:
        if training.base_commit:
            yield "base: training.json names its commit, escoita.json does not"
        return
    pairs: dict[str, tuple[Any, Any]] = {
        "commit of the base": (training.base_commit, base.commit),
        "digest of the base": (training.base_sha256, base.sha256),
        "other base": (None, base.expected_sha256),
    }
    if training.base_commit:  # a base that was a folder is published under another name
        pairs["base"] = (training.base, base.name)
    yield from differing(pairs, "training.json", "escoita.json")


def system_differences(training: TrainingRecord, files: Iterable[tuple[Path, Any, Provenance]]) -> Differences:
    """
    Yield a line for each system that was measured on another base than `training.json` names. If its record says so,
    the card says it too, and it is no difference.

    Args:
        training ([`TrainingRecord`]): `training.json`.
        files (`Iterable[tuple[Path, Table, Provenance]]`): The published predictions.
    """
    for path, _, provenance in files:
        name, system = f"{path.parent.name}/{path.name}", provenance.system
        if system.name in (SUBJECT, BASE):
            yield from (f"{name}: {line}" for line in _digests(training, system))


def apart(evaluation: EvaluationRecord) -> Differences:
    """
    Yield a line if adapter and base were measured on different bases. The card says on which base the adapter was.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): `eval/results.json`.
    """
    ours = evaluation.judged
    for system in evaluation.systems[1:]:
        same = (system.base_sha256, system.expected_base_sha256) == (ours.base_sha256, ours.expected_base_sha256)
        if system.name == BASE and not same:
            yield "the adapter was measured on another base than the base that it is compared with"


def _digests(training: TrainingRecord, system: System) -> Differences:
    other = system.expected_base_sha256 is not None
    pairs = {
        "base": (training.base, training.base if other else system.base),
        "digest of the base": (training.base_sha256, system.expected_base_sha256 or system.base_sha256),
        "digest of the adapter": (training.adapter_sha256 if system.name == SUBJECT else None, system.adapter_sha256),
    }
    yield from differing(pairs, "training.json", "the predictions")
