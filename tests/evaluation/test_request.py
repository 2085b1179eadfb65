from pathlib import Path

import pytest

from escoita.errors import CorpusError, EscoitaError
from escoita.evaluation.evaluate import _baselines, evaluate_manifests
from escoita.evaluation.request import Candidate, _named_by_file, request_for_manifests
from escoita.models import family_of
from escoita.recipe.schema import Baseline
from escoita.records.training import AdapterRecord, Prompt
from tests.conftest import write_manifest
from tests.models.samples import write_whisper


SPOKEN = AdapterRecord(language="uz", prompt=Prompt(user=""))


@pytest.mark.parametrize(
    "names, said",
    [
        (("gl/test.jsonl", "gl/test.csv"), "two manifests and their folders have the same names"),
        (("test (1).jsonl",), "a manifest's file name names its corpus"),
        (("pooled.jsonl",), "a manifest's file name names its corpus"),
    ],
)
def test_manifests_must_name_their_corpora(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(CorpusError) as refusal:
        evaluate_manifests("base", "adapter", [tmp_path / name for name in names], tmp_path)
    assert str(refusal.value).startswith(said) and "\n" not in str(refusal.value)


def test_manifests_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    manifests = [tmp_path / name for name in ("uz/test.jsonl", "gl/test.jsonl", "gl/hard.jsonl")]
    assert [corpus.name for corpus in _named_by_file(manifests)] == ["uz-test", "gl-test", "hard"]


@pytest.mark.parametrize(
    "asked, said",
    [
        ({"language": "Galician"}, "--language Galician: write its code, such as gl"),
        ({"normalizer": "spanish"}, "--normalizer spanish: there are raw, basic, uzbek, uzbek-latin, galician"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(tmp_path: Path, asked: dict, said: str) -> None:
    with pytest.raises(EscoitaError, match=f"^{said}$"):
        evaluate_manifests("base", None, [tmp_path / "test.jsonl"], tmp_path, **asked)


def test_without_an_adapter_the_language_is_to_be_said(tmp_path: Path) -> None:
    base = write_whisper(tmp_path / "whisper")
    with pytest.raises(EscoitaError, match=r"whisper: no adapter tells the language; say it with --language$"):
        evaluate_manifests(base, None, [tmp_path / "test.jsonl"], tmp_path)


def test_a_base_is_not_heard_without_its_prompt(tmp_path: Path) -> None:
    with pytest.raises(EscoitaError, match=r"^quickstart/gemma4: answers to a prompt, which an adapter tells"):
        evaluate_manifests("quickstart/gemma4", None, [tmp_path / "test.jsonl"], tmp_path)


def test_a_merged_model_of_the_hub_has_its_prompt_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SPOKEN.write(tmp_path / "escoita.json")
    monkeypatch.setattr(
        "escoita.evaluation.request.listener_of", lambda model, revision: family_of("quickstart/gemma4")
    )
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, name, **_: str(tmp_path / name))
    asked = request_for_manifests("user/merged", None, [tmp_path / "test.jsonl"], tmp_path)
    assert asked.systems == [Candidate("base", "user/merged", SPOKEN)]


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
def test_baselines_are_called_by_their_last_part(model: str, name: str) -> None:
    assert [candidate.name for candidate in _baselines([Baseline(model=model)], SPOKEN)] == [name]


@pytest.mark.parametrize("models", [["a/whisper", "b/whisper"], ["user/base"], ["user/adapter"], ["user/earlier"]])
def test_no_two_systems_have_one_name(models: list[str]) -> None:
    with pytest.raises(EscoitaError, match="two systems would be called"):
        _baselines([Baseline(model=model) for model in models], SPOKEN)


def test_an_adapter_that_would_be_told_another_prompt_is_refused_before_anything_is_transcribed(
    tmp_path: Path,
) -> None:
    base, prompt = "quickstart/gemma4", Prompt(user="Transcribe.")
    AdapterRecord(language="uz", prompt=prompt, rendered_prompt="<bos>old").write(tmp_path / "adapter/escoita.json")
    manifest = write_manifest(tmp_path / "test.jsonl", "test", 2)
    with pytest.raises(EscoitaError, match=r"^adapter .*: was trained with the prompt '<bos>old', but its chat"):
        evaluate_manifests(base, str(tmp_path / "adapter"), [manifest], tmp_path / "out")
    assert not list(tmp_path.glob("out/**/*.parquet"))
