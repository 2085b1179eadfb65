"""Write the rates of an adapter for the leaderboards of the Hub."""

import re

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from escoita.cards.metadata import results_url, rounded
from escoita.errors import PublishError
from escoita.hub.files import is_repo_id
from escoita.recipe.schema import Benchmark, Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.utils.untrusted import read_yaml


FOLDER = ".eval_results"
# Name and address of the source of each entry that escoita writes; the repository may have been renamed since.
SOURCE_NAME, SOURCE_URL = "escoita", re.compile(r"https://[^/]+/[^/]+/[^/]+/blob/main/eval/results\.json")


def benchmark_files(recipe: Recipe, evaluation: EvaluationRecord, repo: str) -> dict[str, bytes]:
    """
    Return the files that leaderboards of the Hub read, for `hub.benchmarks` of the recipe.

    Args:
        recipe ([`Recipe`]): Recipe with the benchmarks: test corpus, dataset, task and unit.
        evaluation ([`EvaluationRecord`]): Evaluation with the rates.
        repo (`str`): Repository of the adapter, `user/name`.

    Returns:
        `dict[str, bytes]`: Content of `.eval_results/<name of the benchmark>.yaml`, by path. Records of escoita 0.1.0
        give `.eval_results/<corpus>.yaml`.

    Raises:
        PublishError: A corpus was not evaluated, or a benchmark is not a repository.
    """
    require_benchmarks(recipe)
    files: dict[str, list[EvalResultEntry]] = {}
    for benchmark in recipe.hub.benchmarks:
        name = benchmark.corpus if evaluation.is_of_0_1 else benchmark.dataset.rpartition("/")[2]
        path = f"{FOLDER}/{name}.yaml"
        files.setdefault(path, []).append(_entry(benchmark, evaluation, repo))
    return {
        path: yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True).encode()
        for path, entries in files.items()
    }


def is_benchmark_path(path: str) -> bool:
    """Return whether a path of a repository may be that of a file from [`benchmark_files`]."""
    return path.startswith(f"{FOLDER}/") and path.endswith(".yaml")


def is_own_benchmark_file(content: bytes) -> bool:
    """
    Return whether escoita wrote a file for leaderboards, which is the source of all its entries.

    Args:
        content (`bytes`): Content of the file, which may have been written by anyone.
    """
    try:
        entries, _ = read_yaml(content)
    except yaml.YAMLError:
        return False
    return isinstance(entries, list) and bool(entries) and all(map(_is_own, entries))


def _is_own(entry: object) -> bool:
    source = entry.get("source") if isinstance(entry, dict) else None
    if not isinstance(source, dict) or source.get("name") != SOURCE_NAME:
        return False
    return SOURCE_URL.fullmatch(str(source.get("url"))) is not None


def require_benchmarks(recipe: Recipe) -> None:
    """
    Check that the benchmarks of a recipe have valid names of repositories.

    Raises:
        PublishError: A name is not valid.
    """
    for benchmark in recipe.hub.benchmarks:
        if not is_repo_id(benchmark.dataset):
            raise PublishError(
                "not the name of a repository", key="hub.benchmarks", value=benchmark.dataset, hint="use user/name"
            )


def _entry(benchmark: Benchmark, evaluation: EvaluationRecord, repo: str) -> EvalResultEntry:
    tested = {result.name: result for result in evaluation.corpora}
    if benchmark.corpus not in tested:
        problem = f"not an evaluated corpus; evaluated: {', '.join(tested)}"
        raise PublishError(problem, key="hub.benchmarks", value=benchmark.corpus)
    result = tested[benchmark.corpus]
    rates = result.main_system.normalized
    unit = "percent" if benchmark.percent else "fractions"
    # Published files have this spelling, and `escoita verify` compares them.
    texts = "raw texts" if not evaluation.normalizes else f"normaliser {evaluation.normalizer}"
    return EvalResultEntry(
        dataset_id=benchmark.dataset,
        task_id=benchmark.task,
        value=rounded(rates, benchmark.metric, benchmark.percent),
        date=evaluation.main_system.evaluated,
        source_url=results_url(repo),
        source_name=SOURCE_NAME,
        notes=f"{benchmark.metric.upper()} in {unit}, {texts}, {result.n} clips",
    )
