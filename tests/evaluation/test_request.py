from pathlib import Path
from typing import Any

import pytest

from escoita.errors import CorpusError, EscoitaError
from escoita.evaluation.evaluate import evaluate_manifests
from escoita.evaluation.request import SystemSpec, _named_by_file, request_for_manifests
from escoita.models import family_of
from escoita.records.training import AdapterRecord, Prompt
from tests.models.samples import write_whisper


SETTINGS = AdapterRecord(language="uz", prompt=Prompt(user=""))


@pytest.mark.parametrize("names", [("gl/test.jsonl", "gl/test.csv"), ("test (1).jsonl",), ("pooled.jsonl",)])
def test_the_names_of_manifests_must_be_unique_and_valid(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(CorpusError) as refusal:
        evaluate_manifests("base", "adapter", [tmp_path / name for name in names], tmp_path)
    assert refusal.value.key == "--corpus" and "\n" not in str(refusal.value)


def test_manifests_of_the_same_name_are_distinguished_by_their_folders(tmp_path: Path) -> None:
    manifests = [tmp_path / name for name in ("uz/test.jsonl", "gl/test.jsonl", "gl/hard.jsonl")]
    assert [corpus.name for corpus in _named_by_file(manifests)] == ["uz-test", "gl-test", "hard"]


@pytest.mark.parametrize(
    "option, value, key", [("language", "Galician", "--language"), ("normalizer", "spanish", "--normalizer")]
)
def test_invalid_options_are_refused_before_anything_is_read(
    tmp_path: Path, option: str, value: str, key: str
) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(EscoitaError) as refusal:
        evaluate_manifests("base", None, [tmp_path / "test.jsonl"], tmp_path, **options)
    assert (refusal.value.key, refusal.value.value) == (key, value)


def test_the_language_is_required_without_an_adapter(tmp_path: Path) -> None:
    base = write_whisper(tmp_path / "whisper")
    with pytest.raises(EscoitaError) as refusal:
        evaluate_manifests(base, None, [tmp_path / "test.jsonl"], tmp_path)
    assert (refusal.value.path, refusal.value.key) == (base, "--language")


def test_a_chat_model_needs_the_prompt_of_an_adapter(tmp_path: Path) -> None:
    with pytest.raises(EscoitaError) as refusal:
        evaluate_manifests("quickstart/gemma4", None, [tmp_path / "test.jsonl"], tmp_path)
    assert (refusal.value.path, refusal.value.key) == ("quickstart/gemma4", "--adapter")


def test_a_merged_model_of_the_hub_contains_its_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SETTINGS.write(tmp_path / "escoita.json")
    monkeypatch.setattr(
        "escoita.evaluation.request.family_for_evaluation", lambda model, revision: family_of("quickstart/gemma4")
    )
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, name, **_: str(tmp_path / name))
    request = request_for_manifests("user/merged", None, [tmp_path / "test.jsonl"], tmp_path)
    assert request.systems == [SystemSpec("base", "user/merged", SETTINGS)]


@pytest.mark.parametrize(
    "change, expected",
    [({}, True), ({"revision": "v2"}, False), ({"base": "b"}, False), ({"dtype": "float16"}, False)],
)
def test_a_base_is_loaded_once_for_its_adapter(change: dict[str, str], expected: bool) -> None:
    known: dict[str, Any] = {"name": "adapter", "base": "a", "generation_settings": SETTINGS, "adapter": "x"}
    adapter = SystemSpec(**known | change)
    assert SystemSpec("base", "a", SETTINGS).is_base_of(adapter) is expected
    assert not adapter.is_base_of(adapter)  # an adapter cannot be merged into an adapter
    assert not SystemSpec("base", "a", SETTINGS.model_copy(update={"max_new_tokens": 9})).is_base_of(adapter)
