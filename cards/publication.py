"""What is published: each file by its path in the repository, with the bytes it will have there."""

import json

import yaml

from cards.build import build_card
from escoita.errors import PublishError
from escoita.evaluation import PROBES, EvaluationRecord
from escoita.files import public_name
from escoita.plots import training_plot
from escoita.recipe import Recipe
from escoita.records import TrainingRecord
from escoita.rundir import RunDirectory


# Of an adapter's folder; a pickle or a README of a trainer among them would not be published.
ADAPTER_FILES = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "escoita.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def publication(run: RunDirectory, recipe: Recipe, repo: str, base: str) -> dict[str, bytes]:
    """
    Collects adapter, processor, card, records, and what the figures were made from.

    Args:
        run ([`RunDirectory`]): Trained and evaluated.
        recipe ([`Recipe`]): Of the run.
        repo (`str`): Where it goes, `user/name`.
        base (`str`): Repository of the base, written wherever the adapter names it.

    Returns:
        `dict[str, bytes]`: Content by path in the repository.

    Raises:
        PublishError: The run holds no adapter.
        RecordError: It is not evaluated yet, or something else was evaluated.
    """
    if not (run.adapter / "adapter_model.safetensors").is_file():
        raise PublishError(f"{run.adapter}: holds no adapter_model.safetensors; train first")
    card = build_card(run, recipe, base, repo)
    files = {name: (run.adapter / name).read_bytes() for name in ADAPTER_FILES if (run.adapter / name).is_file()}
    config = {"base_model_name_or_path": base, "revision": recipe.base_revision}
    config = json.loads(files["adapter_config.json"]) | config
    files["adapter_config.json"] = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
    files["recipe.yaml"] = public_recipe(recipe, base).encode()
    files["training.json"] = run.training.read_bytes()
    if curve := training_plot(TrainingRecord.read(run.training)):
        files[run.curve.name] = curve.encode()
    files["eval/results.json"] = run.results.read_bytes()
    if run.data.is_file():
        files["data.json"] = run.data.read_bytes()
    corpora = [*(result.name for result in EvaluationRecord.read(run.results).corpora), PROBES]
    measured = [path for name in corpora for path in sorted((run.eval / name).glob("predictions*.parquet"))]
    for path in [*sorted(run.eval.glob("*.svg")), *measured]:
        files[f"eval/{path.relative_to(run.eval).as_posix()}"] = path.read_bytes()
    files["README.md"] = card.encode()
    return files


def public_recipe(recipe: Recipe, base: str) -> str:
    """The recipe as a stranger reads it: with the published base, and without folders of this machine."""
    document = yaml.safe_load(recipe.to_yaml()) | {"base": base}
    document.pop("run_dir", None)
    for split in ("train", "validation", "test"):
        for corpus in document["corpora"][split]:
            corpus["path"] = public_name(corpus["path"])
    document["eval"]["baselines"] = [public_name(baseline) for baseline in recipe.eval.baselines]
    if recipe.eval.against:
        document["eval"]["against"] = public_name(recipe.eval.against)
    document["space"]["examples"] = [public_name(example) for example in recipe.space.examples]
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
