"""What is published: each file by its path in the repository, with the bytes it will have there."""

import json
from pathlib import Path

import yaml

from cards.build import build_card
from escoita.errors import PublishError
from escoita.recipe import Recipe
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
    Collects adapter, processor, card and records.

    Args:
        run ([`RunDirectory`]): Trained and evaluated.
        recipe ([`Recipe`]): Of the run.
        repo (`str`): Where it goes, `user/name`.
        base (`str`): Repository of the base, written wherever the adapter names it.

    Returns:
        `dict[str, bytes]`: Content by path in the repository.

    Raises:
        PublishError: The run holds no adapter.
    """
    if not (run.adapter / "adapter_model.safetensors").is_file():
        raise PublishError(f"{run.adapter}: holds no adapter_model.safetensors; train first")
    files = {name: (run.adapter / name).read_bytes() for name in ADAPTER_FILES if (run.adapter / name).is_file()}
    config = json.loads(files["adapter_config.json"]) | {"base_model_name_or_path": base}
    files["adapter_config.json"] = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
    files["recipe.yaml"] = recipe_yaml(recipe, base)
    files["training.json"] = run.training.read_bytes()
    files["eval/results.json"] = run.results.read_bytes()
    for path in sorted(run.eval.glob("*/predictions.parquet")):
        files[f"eval/{path.parent.name}/{path.name}"] = path.read_bytes()
    files["README.md"] = build_card(run, recipe, base, repo).encode()
    return files


def recipe_yaml(recipe: Recipe, base: str) -> bytes:
    """The recipe as a stranger can run it: with the published base instead of a folder."""
    document = recipe.model_copy(update={"base": base, "run_dir": None}).model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()


def base_files(folder: Path) -> dict[str, bytes]:
    """
    Collects a base that is a local folder: configuration, tokenizer, processor, weights as safetensors, its README.

    Raises:
        PublishError: It holds no safetensors.
    """
    allowed = {".json", ".jinja", ".md", ".model", ".safetensors"}
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in allowed}
    if not any(name.endswith(".safetensors") for name in files):
        raise PublishError(f"{folder}: holds no safetensors, so it cannot be published as a base")
    return files
