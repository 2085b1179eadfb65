"""Test the comparison of an evaluation with the settings of its recipe."""

from typing import Any

import pytest

from escoita.cards.verify.evaluation_settings import evaluation_differences
from escoita.records.evaluation import Decoding
from tests.cards.samples import evaluation, recipe, result, system, system_result


@pytest.mark.parametrize(
    "limit, recorded, holds",
    [(None, 444, True), (200, 200, True), (600, 444, True), (200, 444, False), (200, None, False), (None, None, True)],
)
def test_a_baseline_has_the_token_limit_that_the_recipe_sets(
    limit: int | None, recorded: int | None, holds: bool
) -> None:
    changed_recipe = recipe(eval={"baselines": [{"model": "a/whisper", "max_new_tokens": limit}]})
    record = evaluation(result(systems=[system_result(), system_result("base"), system_result("whisper")]))
    systems = [*record.systems[:2], system("whisper", base="a/whisper", max_new_tokens=recorded)]
    found = list(evaluation_differences(changed_recipe, record.model_copy(update={"systems": systems})))
    assert any("max_new_tokens of whisper" in line for line in found) is not holds


@pytest.mark.parametrize(
    "settings, beams, holds",
    [
        ({}, (1, 1), True),
        ({"num_beams": 5}, (5, 5), True),
        ({"num_beams": 5}, (5, 1), True),  # such as a CTC model
        ({"num_beams": 5}, (1, 5), False),
        ({}, (1, 5), False),
        ({"baselines": [{"model": "a/whisper", "num_beams": 5}]}, (1, 5), True),
    ],
)
def test_systems_have_the_beams_that_the_recipe_sets(
    settings: dict[str, Any], beams: tuple[int, int], holds: bool
) -> None:
    changed_recipe = recipe(eval={"baselines": ["a/whisper"]} | settings)
    record = evaluation(result(systems=[system_result(), system_result("whisper")]))
    adapter, whisper = (Decoding(num_beams=count) for count in beams)
    systems = [
        record.systems[0].model_copy(update={"decoding": adapter}),
        system("whisper", base="a/whisper", decoding=whisper),
    ]
    found = list(evaluation_differences(changed_recipe, record.model_copy(update={"systems": systems})))
    assert any("num_beams" in line for line in found) is not holds


def test_a_record_of_version_0_1_0_has_no_other_primary_metric() -> None:
    record = evaluation()
    assert record.is_of_0_1 and not [line for line in evaluation_differences(recipe(), record) if "primary" in line]
    forged = record.model_copy(update={"primary": "cer"})
    assert [line for line in evaluation_differences(recipe(), forged) if line.startswith("primary: ")]
