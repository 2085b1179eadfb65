"""Collect the files of a publication, with rates for the leaderboards of the Hub."""

import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from escoita import __version__
from escoita.cards.anonymize import redacted_data, redacted_evaluation, redacted_predictions, redacted_training
from escoita.cards.build import build_card
from escoita.cards.metadata import results_url
from escoita.cards.published_base import base_revision
from escoita.cards.template import KEPT, template_digest, template_files
from escoita.errors import PublishError, RecordError
from escoita.hub.files import is_repo_id
from escoita.recipe.schema import Benchmark, Recipe
from escoita.records.data import DataRecord
from escoita.records.evaluation import PROBES, EvaluationRecord
from escoita.records.plots import duration_plot, training_plot
from escoita.records.training import TrainingRecord
from escoita.run_directory import UNCHANGED_FILES, RunDirectory
from escoita.utils.files import public_name, write_atomically


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
    rates = result.main_system.normalized
    rate, decimals = getattr(rates, benchmark.metric), len(str(rates.tokens(benchmark.metric))) + 1
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


# Of an adapter's folder; a pickle or a README of a trainer among them would not be published.
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json", *UNCHANGED_FILES)
CARD = "README.md"
# In the format of `sha256sum -c`; of everything but the card, which people edit.
CHECKSUMS = "SHA256SUMS"


def publication(run: RunDirectory, recipe: Recipe, repo: str, base: str) -> dict[str, bytes]:
    """
    Collects adapter, processor, card, records, and what the figures were made from, laid out as a run directory is.

    Transcripts that may not be published, and the names of speakers, are in none of them (see
    `escoita/cards/anonymize.py`). The card is made from the other files as they are published, so that everybody can
    make it again.

    Args:
        run ([`RunDirectory`]): Trained and evaluated.
        recipe ([`Recipe`]): Of the run.
        repo (`str`): Where it goes, `user/name`.
        base (`str`): Repository of the base, written wherever a file names it.

    Returns:
        `dict[str, bytes]`: Content by path in the repository.

    Raises:
        PublishError: The run holds no adapter.
        RecordError: It is not evaluated yet, or something else was evaluated, or transcripts may not be published and
            were not counted.
    """
    if not (run.adapter / "adapter_model.safetensors").is_file():
        raise PublishError(f"{run.adapter}: holds no adapter_model.safetensors; train first")
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    files = {name: (run.adapter / name).read_bytes() for name in ADAPTER_FILES if (run.adapter / name).is_file()}
    config = {"base_model_name_or_path": base, "revision": base_revision(recipe, training)}
    config = json.loads(files["adapter_config.json"]) | config
    files["adapter_config.json"] = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
    files["recipe.yaml"] = public_recipe(recipe, base).encode()
    files |= template_files(recipe, run)
    written_by = {
        "card_version": __version__,
        "card_template_sha256": template_digest(),
        "matplotlib_version": importlib.metadata.version("matplotlib"),
    }
    published_training = redacted_training(training, recipe, base).model_copy(update=written_by)
    files["training.json"] = published_training.to_json().encode()
    if curve := training_plot(training):
        files[run.curve.name] = curve.encode()
    if run.data.is_file():
        data = redacted_data(DataRecord.read(run.data), recipe)
        files["data.json"] = data.to_json().encode()
        durations = duration_plot(data.duration_edges, data.histograms)
        files[run.durations.relative_to(run.path).as_posix()] = durations.encode()
    speakers = {}
    for corpus in [*(result.name for result in evaluation.corpora), PROBES]:
        heard, speakers[corpus] = redacted_predictions(run.eval, corpus, recipe, base, training.base_sha256)
        files |= {f"eval/{corpus}/{name}": content for name, content in heard.items()}
    evaluation = redacted_evaluation(evaluation, speakers, base, training.base_sha256)
    files["eval/results.json"] = evaluation.to_json().encode()
    files |= {f"eval/{plot.name}": plot.read_bytes() for plot in sorted(run.eval.glob("*.svg"))}
    files |= benchmark_files(recipe, evaluation, repo)
    files[CARD] = card_of(files, run, base, repo).encode()
    files[CHECKSUMS] = checksums(files)
    return files


def card_of(files: Mapping[str, bytes], run: RunDirectory, base: str, repo: str) -> str:
    """The card as whoever has the published files makes it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            if not name.endswith(".safetensors"):  # no card needs them, and they may be large
                write_atomically(Path(folder) / name, content)
        there = RunDirectory(Path(folder))
        try:
            template = files[KEPT].decode() if KEPT in files else None
            return build_card(there, there.load_recipe(), base, repo, template)
        except RecordError as error:
            raise RecordError(str(error).replace(folder, str(run.path))) from error


def checksums(files: Mapping[str, bytes]) -> bytes:
    """Digests of all files but the card and this one, a line each, by name."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in sorted(files.items())
        if name not in (CARD, CHECKSUMS)
    ]
    return "".join(lines).encode()


def public_recipe(recipe: Recipe, base: str) -> str:
    """The recipe as a stranger reads it: with the published base, and without folders of this machine."""
    document = yaml.safe_load(recipe.to_yaml()) | {"base": base}
    document.pop("run_dir", None)
    for split in ("train", "validation", "test"):
        for corpus in document["corpora"][split]:
            corpus["path"] = public_name(corpus["path"])
    document["eval"]["baselines"] = [
        public_name(each) if isinstance(each, str) else each | {"model": public_name(each["model"])}
        for each in document["eval"]["baselines"]
    ]
    if recipe.eval.against:
        document["eval"]["against"] = public_name(recipe.eval.against)
    if recipe.card.template:
        document["card"]["template"] = public_name(recipe.card.template)
    document["space"]["examples"] = [public_name(example) for example in recipe.space.examples]
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
