from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.evaluation.evaluate import baseline_systems, evaluate_manifests
from escoita.recipe.schema import Baseline
from escoita.records.training import AdapterRecord, Prompt
from tests.conftest import write_manifest


SETTINGS = AdapterRecord(language="uz", prompt=Prompt(user=""))


@pytest.mark.parametrize(
    "model, name",
    [
        ("openai/whisper-small", "whisper-small"),
        ("models/whisper/", "whisper"),
        ("./.hidden", "hidden"),
        ("a b(c)", "a-b-c-"),
        ("..", "baseline"),
    ],
)
def test_baselines_are_named_by_the_last_part(model: str, name: str) -> None:
    assert [system.name for system in baseline_systems([Baseline(model=model)], SETTINGS)] == [name]


@pytest.mark.parametrize("models", [["a/whisper", "b/whisper"], ["user/base"], ["user/adapter"], ["user/earlier"]])
def test_names_of_systems_must_be_unique(models: list[str]) -> None:
    with pytest.raises(EscoitaError) as refusal:
        baseline_systems([Baseline(model=model) for model in models], SETTINGS)
    assert (refusal.value.key, refusal.value.value) == ("eval.baselines", models[0].split("/")[1])


def test_an_adapter_with_another_prompt_is_refused_before_anything_is_transcribed(
    tmp_path: Path,
) -> None:
    base, prompt = "quickstart/gemma4", Prompt(user="Transcribe.")
    AdapterRecord(language="uz", prompt=prompt, rendered_prompt="<bos>old").write(tmp_path / "adapter/escoita.json")
    manifest = write_manifest(tmp_path / "test.jsonl", "test", 2)
    with pytest.raises(EscoitaError):
        evaluate_manifests(base, str(tmp_path / "adapter"), [manifest], tmp_path / "out")
    assert not list(tmp_path.glob("out/**/*.parquet"))
