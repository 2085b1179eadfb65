"""Whether a job would find what a recipe names: files of this machine do not reach it."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError
from escoita.recipe.recipe import Recipe
from escoita.hub.files import is_repo_id


if TYPE_CHECKING:
    from huggingface_hub import HfApi

_REPOSITORY = "hf upload user/name FOLDER . --repo-type dataset --private"


def require_reachable(api: "HfApi", recipe: Recipe, data: str | None) -> None:
    """
    Refuses what only this machine has.

    Args:
        api (`HfApi`): Client with the user's token.
        recipe ([`Recipe`]): What would be trained or evaluated.
        data (`str`, *optional*): Dataset repository that the job has its corpora from.

    Raises:
        EscoitaError: A path is of this machine, or not in the repository; or the repository cannot be read.
    """
    from escoita.hub.auth import clear_refusals

    wanted = dict(_paths(recipe))
    for where, path in wanted.items():
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise EscoitaError(
                f"{where}: {path} is of this machine, which a job does not see: write it relative to the root of a"
                " dataset repository, and give that with --data user/name"
            )
    if not data:
        for where, path in wanted.items():
            raise EscoitaError(
                f"{where}: {path} is of this machine, which a job does not see: put it into a dataset repository"
                f" ({_REPOSITORY}) under the same path, and give --data user/name"
            )
        return
    if not is_repo_id(data):
        raise EscoitaError(f"--data {data}: not the name of a dataset repository; write user/name")
    clean = {where: str(PurePosixPath(path)) for where, path in wanted.items()}
    with clear_refusals(data, "dataset"):
        there = {found.path for found in api.get_paths_info(data, sorted(set(clean.values())), repo_type="dataset")}
    for where, path in clean.items():
        if path not in there:
            raise EscoitaError(
                f"{where}: {path} is not in datasets/{data}; upload it there under that path ({_REPOSITORY})"
            )


def _paths(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Files and folders that a recipe names, by where it names them."""
    if not is_repo_id(recipe.base) or Path(recipe.base).exists():
        yield "base", recipe.base
    for use in ("train", "validation", "test"):
        for corpus in getattr(recipe.corpora, use):
            if corpus.reader != "hub":
                yield f"corpora.{use}: {corpus.name}", corpus.path
