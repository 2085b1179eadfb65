"""Rates for the leaderboards of the Hub: `.eval_results/`, for the test corpora that are registered benchmarks."""

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from escoita.cards.metadata import results_url
from escoita.errors import PublishError
from escoita.records.evaluation import EvaluationRecord
from escoita.recipe.recipe import Benchmark, Recipe
from escoita.hub.files import is_repo_id


def benchmark_files(recipe: Recipe, evaluation: EvaluationRecord, repo: str) -> dict[str, bytes]:
    """
    What a leaderboard of the Hub reads of an adapter, for `hub.benchmarks` of the recipe alone.

    Args:
        recipe ([`Recipe`]): Says which test corpus is which task of which benchmark, and what that counts in.
        evaluation ([`EvaluationRecord`]): Holds the rates, under the recipe's normaliser.
        repo (`str`): Where the adapter is published, `user/name`.

    Returns:
        `dict[str, bytes]`: Content of `.eval_results/<corpus>.yaml`, by path.

    Raises:
        PublishError: A corpus was not tested, or a benchmark is no repository.
    """
    require_benchmarks(recipe)
    files: dict[str, list[EvalResultEntry]] = {}
    for benchmark in recipe.hub.benchmarks:
        path = f".eval_results/{benchmark.corpus}.yaml"
        files.setdefault(path, []).append(_entry(benchmark, evaluation, repo))
    return {
        path: yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True).encode()
        for path, entries in files.items()
    }


def require_benchmarks(recipe: Recipe) -> None:
    """
    Check that the benchmarks of a recipe can be repositories. That their corpora are tested, a recipe checks itself.

    Raises:
        PublishError: One cannot.
    """
    for benchmark in recipe.hub.benchmarks:
        if not is_repo_id(benchmark.dataset):
            raise PublishError(f"hub.benchmarks: {benchmark.dataset}: not the name of a repository; write user/name")


def _entry(benchmark: Benchmark, evaluation: EvaluationRecord, repo: str) -> EvalResultEntry:
    tested = {result.name: result for result in evaluation.corpora}
    if benchmark.corpus not in tested:
        raise PublishError(f"hub.benchmarks: {benchmark.corpus} was not tested; tested were {', '.join(tested)}")
    result = tested[benchmark.corpus]
    rates = result.judged.normalized
    rate, units = {
        "wer": (rates.wer, rates.reference_words),
        "cer": (rates.cer, rates.reference_characters),
    }[benchmark.metric]
    decimals = len(str(units)) + 1
    unit = "percent" if benchmark.percent else "fractions"
    texts = "raw texts" if evaluation.normalizer == "raw" else f"normaliser {evaluation.normalizer}"
    return EvalResultEntry(
        dataset_id=benchmark.dataset,
        task_id=benchmark.task,
        value=round(100 * rate, decimals - 2) if benchmark.percent else round(rate, decimals),
        source_url=results_url(repo),
        source_name="escoita",
        notes=f"{benchmark.metric.upper()} in {unit}, {texts}, {result.n} clips",
    )
