"""Test the cards that the double refuses, with the real client, and results for benchmarks."""

from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, EvalResultEntry, HfApi, ModelCardData, eval_result_entries_to_yaml

from tests.hub_double import HubDouble

from .card_check import check_card
from .conftest import REPO


RESULT = {
    "task": {"type": "automatic-speech-recognition"},
    "dataset": {"type": "google/fleurs", "name": "FLEURS", "config": "gl_es", "split": "test"},
    "metrics": [{"type": "wer", "value": 0.5}],
}


def errors(**metadata: Any) -> list[str]:
    return check_card(f"---\n{yaml.safe_dump(metadata)}---\n# Title\n", "model").errors


def with_result(**changes: Any) -> list[str]:
    return errors(**{"model-index": [{"name": "adapter", "results": [RESULT | changes]}]})


def test_a_card_of_the_client_is_accepted() -> None:
    card = ModelCardData(
        language=["gl", "uzn"],
        license="other",
        license_name="gemma-terms",
        license_link="https://ai.google.dev/gemma/terms",
        base_model="google/gemma-4-E4B-it",
        base_model_relation="adapter",
        datasets=["google/fleurs"],
        library_name="peft",
        pipeline_tag="automatic-speech-recognition",
        tags=["lora"],
        metrics=["wer", "cer"],
        model_name="adapter",
        eval_results=[
            EvalResult("automatic-speech-recognition", "google/fleurs", "FLEURS", "wer", 0.5, dataset_split="test")
        ],
    )
    check = check_card(f"---\n{card.to_yaml()}\n---\n", "model")
    assert (check.errors, check.warnings) == ([], []) and check.metadata["license"] == "other"


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"language": "gl-ES"}, '"language[0]" must only contain lowercase characters'),
        ({"language": ["gl", "galego"]}, '"language[1]" with value "galego"'),
        ({"language": [False]}, '"language[0]" must be a string'),
        ({"language": None}, '"language" must not be empty'),
        ({"license": "Apache 2.0"}, '"license" with value "Apache 2.0"'),
        ({"license": "other", "license_name": "Gemma Terms"}, '"license_name" with value'),
        ({"license": "other", "license_link": "the web"}, '"license_link" with value'),
        ({"datasets": ["common voice 23"]}, '"datasets[0]" with value "common voice 23"'),
        ({"datasets": [None]}, '"datasets[0]" with value "None"'),
        ({"base_model": ""}, '"base_model[0]" with value ""'),
        ({"base_model": "runs/base/final"}, '"base_model[0]" with value "runs/base/final"'),
        ({"base_model_relation": "lora"}, '"base_model_relation" must be one of'),
        ({"tags": "lora"}, '"tags" must be an array of strings'),
        ({"pipeline_tag": ["asr"]}, '"pipeline_tag" must be a string'),
        ({"model-index": {}}, '"model-index" must be an array'),
        ({"model-index": [{"results": []}]}, '"model-index[0].name" is required'),
        ({"model-index": [{"name": "a"}]}, '"model-index[0].results" must be an array'),
    ],
)
def test_invalid_metadata_is_refused(metadata: dict[str, Any], error: str) -> None:
    (found,) = errors(**metadata)
    assert found.startswith(error)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"task": {}}, 'task.type" is required'),
        ({"dataset": {"type": "google/fleurs"}}, 'dataset.name" is required'),
        ({"dataset": {"type": "private", "name": 5}}, 'dataset.name" must be a string'),
        ({"dataset": {"type": "private", "name": "own", "config": 5}}, 'dataset.config" must be a string'),
        ({"metrics": []}, 'metrics" must be an array'),
        ({"metrics": [{"value": 0.5}]}, 'metrics[0].type" is required'),
        ({"metrics": [{"type": "wer", "value": float("nan")}]}, 'metrics[0].value" is required'),
        ({"source": {"name": "run"}}, 'source.url" must be a URL'),
    ],
)
def test_invalid_results_are_refused(changes: dict[str, Any], error: str) -> None:
    assert not with_result()
    (found,) = with_result(**changes)
    assert found.startswith(f'"model-index[0].results[0].{error}')


def test_values_that_the_hub_ignores_give_warnings(api: HfApi) -> None:
    card = b"---\npipeline_tag: transcription\nlicense: other\n---\n"
    with pytest.warns(UserWarning, match="not in the official list") as warnings:
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=REPO)
    assert "license_name" in str(warnings[0].message)


def test_the_client_shows_every_error_of_a_card(api: HfApi) -> None:
    card = b"---\nlanguage: Galician\nlicense: free\n---\n"
    with pytest.raises(ValueError, match=r"(?s)Invalid metadata in README.md.*language\[0\].*license"):
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=REPO)


def test_results_for_benchmarks_are_read_from_their_files(api: HfApi, hub: HubDouble) -> None:
    entry = EvalResultEntry(
        dataset_id="hf-audio/open-asr-leaderboard", task_id="fleurs", value=12.5, source_url=f"{hub.url}/{REPO}"
    )
    good = yaml.safe_dump(eval_result_entries_to_yaml([entry])).encode()
    files = {".eval_results/good.yaml": good, ".eval_results/deep/er.yaml": b"not: read"}
    for number, bad in enumerate(
        (b"value: 1", b"- value: 1", b"- {dataset: {id: a/b}, value: 1}", b"- {dataset: {id: a/b, task_id: c}}", b"[")
    ):
        files[f".eval_results/bad{number}.yaml"] = bad
    hub.commit(REPO, files, "Add results")
    info = api.model_info(REPO, expand=["evalResults"])
    (found,) = info.eval_results or []
    assert found == entry and info.siblings is None
