from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.evaluation.systems import baseline_systems, check_system
from escoita.recipe.schema import Baseline
from escoita.records.training import AdapterRecord, Prompt
from tests.models.samples import write_ctc


SETTINGS = AdapterRecord(language="uz", prompt=Prompt(user=""))


@pytest.mark.parametrize(
    "model, name",
    [
        ("openai/whisper-small", "whisper-small"),
        ("models/whisper/", "whisper"),
        ("./.hidden", "hidden"),
        ("a b(c)", "a-b-c-"),
        ("..", "baseline"),
        ("models/" + 300 * "w", 200 * "w"),
    ],
)
def test_baselines_are_named_by_the_last_part(model: str, name: str) -> None:
    assert [system.name for system in baseline_systems([Baseline(model=model)], SETTINGS)] == [name]


@pytest.mark.parametrize("models", [["a/whisper", "b/whisper"], ["user/base"], ["user/adapter"], ["user/earlier"]])
def test_names_of_systems_must_be_unique(models: list[str]) -> None:
    with pytest.raises(EscoitaError) as refusal:
        baseline_systems([Baseline(model=model) for model in models], SETTINGS)
    assert (refusal.value.key, refusal.value.value) == ("eval.baselines", models[0].split("/")[1])


def test_baselines_have_the_beams_of_the_evaluation_or_their_own() -> None:
    baselines = [Baseline(model="a/one"), Baseline(model="a/two", num_beams=2)]
    assert [system.num_beams for system in baseline_systems(baselines, SETTINGS, 5)] == [5, 2]


@pytest.mark.parametrize("key", ["max_new_tokens", "num_beams"])
def test_settings_without_effect_on_a_baseline_are_refused(tmp_path: Path, key: str) -> None:
    ctc = write_ctc(tmp_path / "ctc")
    baseline = Baseline.model_validate({"model": ctc, key: 2})
    with pytest.raises(EscoitaError) as refusal:
        check_system(baseline_systems([baseline], SETTINGS)[0], [baseline])
    assert (refusal.value.key, refusal.value.value) == ("eval.baselines", ctc)
