from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from escoita.cards.benchmarks import benchmark_files, is_own_benchmark_file
from escoita.errors import PublishError
from escoita.recipe.schema import Recipe
from tests.cards.samples import evaluation, recipe, result, system_result


BENCHMARK = {"corpus": "clips", "dataset": "hf-audio/open-asr-leaderboard", "task": "fleurs"}


def with_benchmarks(*changes: dict[str, Any]) -> Recipe:
    """Return a recipe with two test corpora, of which only `clips` was evaluated."""
    test = [{"name": name, "path": f"{name}.jsonl"} for name in ("clips", "fleurs")]
    return recipe(corpora={"test": test}, hub={"benchmarks": [BENCHMARK | each for each in changes]})


def test_nothing_is_written_by_default() -> None:
    assert benchmark_files(recipe(), evaluation(), "user/adapter") == {}


def test_a_benchmark_gets_the_rate_in_its_unit() -> None:
    chosen = with_benchmarks({}, {"task": "other", "metric": "cer", "percent": False})
    files = benchmark_files(chosen, evaluation(normalizer="basic"), "user/adapter")
    assert list(files) == [".eval_results/clips.yaml"]
    first, second = parse_eval_result_entries(yaml.safe_load(files[".eval_results/clips.yaml"]))
    assert (first.dataset_id, first.task_id, first.value) == ("hf-audio/open-asr-leaderboard", "fleurs", 7.118)
    assert (second.task_id, second.value) == ("other", 0.02342)
    assert first.source_url == "https://huggingface.co/user/adapter/blob/main/eval/results.json"
    assert first.notes == "WER in percent, normaliser basic, 1234 clips"
    assert second.notes == "CER in fractions, normaliser basic, 1234 clips"


@pytest.mark.parametrize(
    "changes",
    [{"corpus": "fleurs"}, {"dataset": "leaderboard"}],
)
def test_invalid_benchmark_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PublishError) as error:
        benchmark_files(with_benchmarks(changes), evaluation(), "user/adapter")
    assert (error.value.key, [error.value.value]) == ("hub.benchmarks", list(changes.values()))


def test_a_benchmark_has_its_name_and_the_day_of_the_evaluation() -> None:
    current = result(systems=[system_result().model_copy(update={"unusable": 0})])
    record = evaluation(current)
    dated = [system.model_copy(update={"evaluated": "2026-02-13"}) for system in record.systems]
    files = benchmark_files(with_benchmarks({}), record.model_copy(update={"systems": dated}), "user/adapter")
    assert list(files) == [".eval_results/open-asr-leaderboard.yaml"]
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/open-asr-leaderboard.yaml"]))
    assert (entry.date, entry.value) == ("2026-02-13", 7.118)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- [",
        b"\xff",
        b"value: 1",
        b"- 1",
        b"- {value: 1, source: escoita}",
        b"- {value: 1, source: {name: escoita, url: 'https://example.org'}}",
        b"- {value: 1, source: {name: other, url: 'https://huggingface.co/a/b/blob/main/eval/results.json'}}",
    ],
)
def test_only_files_with_escoita_as_the_source_are_its_own(content: bytes) -> None:
    (written,) = benchmark_files(with_benchmarks({}, {"task": "other"}), evaluation(), "user/adapter").values()
    assert is_own_benchmark_file(written)
    assert not is_own_benchmark_file(content) and not is_own_benchmark_file(written + content + b"\n- value: 1\n")
