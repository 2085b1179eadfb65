"""Collect the files of a publication."""

import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from escoita import __version__
from escoita.cards.anonymize import anonymized_data, anonymized_evaluation, anonymized_predictions, anonymized_training
from escoita.cards.benchmarks import benchmark_files
from escoita.cards.build import build_card
from escoita.cards.published_base import base_revision
from escoita.cards.template import PUBLISHED_TEMPLATE, template_digest, template_files
from escoita.errors import PublishError, RecordError
from escoita.evaluation.predictions import open_references
from escoita.recipe.schema import Recipe
from escoita.records.data import DataRecord
from escoita.records.evaluation import PROBES, EvaluationRecord
from escoita.records.plots import duration_plot, training_plot
from escoita.records.training import TrainingRecord
from escoita.run_directory import UNCHANGED_FILES, RunDirectory
from escoita.utils.files import public_name, write_atomically


# Published files of the folder of an adapter; other files, such as pickles, are left out.
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json", *UNCHANGED_FILES)
CARD = "README.md"
# In the format of `sha256sum -c`; without the card, which authors edit.
CHECKSUMS = "SHA256SUMS"


def publication(run: RunDirectory, recipe: Recipe, repo: str, base: str) -> dict[str, bytes]:
    """
    Collect adapter, processor, card, records and predictions, laid out as a run directory.

    They contain no private transcripts and no names of speakers (see `escoita/cards/anonymize.py`). The card is built
    from the other published files, so that it can be reproduced.

    Args:
        run ([`RunDirectory`]): Run that is trained and evaluated.
        recipe ([`Recipe`]): Recipe of the run.
        repo (`str`): Target repository, `user/name`.
        base (`str`): Repository of the base, which is written to all files that name the base.

    Returns:
        `dict[str, bytes]`: Content by path in the repository.

    Raises:
        PublishError: The run has no adapter.
        RecordError: The run is not evaluated, another adapter was evaluated, or private transcripts have no counts.
    """
    if not (run.adapter / "adapter_model.safetensors").is_file():
        raise PublishError("no adapter_model.safetensors", path=run.adapter, hint="run `escoita train` first")
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    files = {name: (run.adapter / name).read_bytes() for name in ADAPTER_FILES if (run.adapter / name).is_file()}
    config = {"base_model_name_or_path": base, "revision": base_revision(recipe, training)}
    config = json.loads(files["adapter_config.json"]) | config
    files["adapter_config.json"] = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
    files["recipe.yaml"] = public_recipe(recipe, base).encode()
    files |= template_files(recipe, run)
    versions = {
        "card_version": __version__,
        "card_template_sha256": template_digest(),
        "matplotlib_version": importlib.metadata.version("matplotlib"),
    }
    published_training = anonymized_training(training, recipe, base).model_copy(update=versions)
    files["training.json"] = published_training.to_json().encode()
    if curve := training_plot(training):
        files[run.curve.name] = curve.encode()
    if run.data.is_file():
        data = anonymized_data(DataRecord.read(run.data), recipe)
        files["data.json"] = data.to_json().encode()
        durations = duration_plot(data.duration_edges, data.histograms)
        files[run.durations.relative_to(run.path).as_posix()] = durations.encode()
    speakers = {}
    for corpus in [*(result.name for result in [*evaluation.corpora, *evaluation.retention]), PROBES]:
        predictions, speakers[corpus] = anonymized_predictions(run.eval, corpus, recipe, base, training.base_sha256)
        files |= {f"eval/{corpus}/{name}": content for name, content in predictions.items()}
    evaluation = anonymized_evaluation(evaluation, speakers, base, training.base_sha256)
    files["eval/results.json"] = evaluation.to_json().encode()
    files |= {f"eval/{plot.name}": plot.read_bytes() for plot in sorted(run.eval.glob("*.svg"))}
    files |= benchmark_files(recipe, evaluation, repo)
    files[CARD] = card_of(files, run, base, repo).encode()
    files[CHECKSUMS] = checksums(files)
    return files


def public_transcripts(files: Mapping[str, bytes]) -> dict[str, int]:
    """
    Return the number of test transcripts that the files of [`publication`] make public, by corpus.

    Args:
        files (`Mapping[str, bytes]`): Content by path in the repository.
    """
    counts: dict[str, int] = {}
    for name, content in files.items():
        if name.startswith("eval/") and name.endswith(".parquet") and "/predictions" in name:
            corpus, rows = open_references(content)
            if corpus != PROBES:  # silence and noise have no transcripts
                counts[corpus] = max(rows, counts.get(corpus, 0))
    return counts


def transcripts_line(counts: Mapping[str, int]) -> str:
    """Return how many test transcripts become public, for people who publish."""
    corpora = ", ".join(f"{corpus}: {count:,}" for corpus, count in counts.items())
    return f"{sum(counts.values()):,} transcripts of the test would become public ({corpora}; publish_references)"


def card_of(files: Mapping[str, bytes], run: RunDirectory, base: str, repo: str) -> str:
    """Build the card from the published files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            if not name.endswith(".safetensors"):  # not needed for a card, and possibly large
                write_atomically(Path(folder) / name, content)
        copy = RunDirectory(Path(folder))
        try:
            template = files[PUBLISHED_TEMPLATE].decode() if PUBLISHED_TEMPLATE in files else None
            return build_card(copy, copy.load_recipe(search=False), base, repo, template)
        except RecordError as error:  # name the file of the run, not its copy
            error.problem = error.problem.replace(folder, str(run.path))
            if error.path is not None:
                error.path = str(error.path).replace(folder, str(run.path))
            raise


def checksums(files: Mapping[str, bytes]) -> bytes:
    """Return the lines of `SHA256SUMS`: digests of all files except the card and `SHA256SUMS`, sorted by name."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in sorted(files.items())
        if name not in (CARD, CHECKSUMS)
    ]
    return "".join(lines).encode()


def public_recipe(recipe: Recipe, base: str) -> str:
    """Return the recipe for publication: with the published base, and without folders of this machine."""
    document = yaml.safe_load(recipe.to_yaml()) | {"base": base}
    document.pop("run_dir", None)
    corpora = [corpus for split in ("train", "validation", "test") for corpus in document["corpora"][split]]
    for corpus in [*corpora, *document["eval"]["retention"]]:
        corpus["path"] = public_name(corpus["path"])
        if corpus["audio_root"]:
            corpus["audio_root"] = public_name(corpus["audio_root"])
    document["eval"]["baselines"] = [
        public_name(each) if isinstance(each, str) else each | {"model": public_name(each["model"])}
        for each in document["eval"]["baselines"]
    ]
    if recipe.eval.against:
        document["eval"]["against"] = public_name(recipe.eval.against)
    if recipe.card.template:
        document["card"]["template"] = public_name(recipe.card.template)
    document["space"]["examples"] = [public_name(example) for example in recipe.space.examples]
    document["space"]["example_texts"] = {}  # sentences of a corpus that may not be public
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
